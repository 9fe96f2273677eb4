//! Any text is a checksum file with some digests or none, and a name that is looked up is found or an error.
#![no_main]

use foundry::transfer::checksum_file::{ChecksumFile, Wanted};

libfuzzer_sys::fuzz_target!(|input: (&str, &str)| {
    let (text, name) = input;
    let file = ChecksumFile::parse(text, "SUMS");
    let wanted = Wanted { below: Some(name), path: name };
    for found in [file.digest_of(name), file.digest_for(wanted), file.digest_beside(wanted)].into_iter().flatten() {
        assert!(text.to_ascii_lowercase().contains(found.hex()), "a digest that is not in the text");
    }
});
