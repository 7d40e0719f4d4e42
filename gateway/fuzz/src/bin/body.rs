//! The body of a caller's request, under LLVM's fuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway_fuzz::body::check(data));
