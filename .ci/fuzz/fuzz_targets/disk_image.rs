#![no_main]

mod support;

libfuzzer_sys::fuzz_target!(|head: &[u8]| support::fuzzed::disk_image(head));
