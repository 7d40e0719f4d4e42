//! A provider's answer on the wire, under LLVM's fuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway_fuzz::answer::check(data));
