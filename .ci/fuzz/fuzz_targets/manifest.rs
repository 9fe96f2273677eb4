#![no_main]

mod support;

libfuzzer_sys::fuzz_target!(|text: &str| support::fuzzed::manifest(text));
