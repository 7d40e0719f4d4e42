//! The messages of the stream of snapshots, under LLVM's fuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway_fuzz::snapshot::check(data));
