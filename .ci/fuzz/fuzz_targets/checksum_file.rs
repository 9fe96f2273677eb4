#![no_main]

mod support;

libfuzzer_sys::fuzz_target!(|input: (&str, &str)| support::fuzzed::checksum_file(input.0, input.1));
