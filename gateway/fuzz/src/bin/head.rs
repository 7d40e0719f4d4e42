//! The head of a caller's request, under LLVM's fuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway_fuzz::head::check(data));
