//! A provider's stream of events, under LLVM's fuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway_fuzz::events::check(data));
