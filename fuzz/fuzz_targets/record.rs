//! Any text in a domain's metadata is a record or something to be left alone; one that is read is written as it was.
#![no_main]

use foundry::record::{Owner, Record};

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Owner::of(Some(text)) {
        Owner::Foundry(record) => {
            let Ok(written) = Record::to_text(&record) else { panic!("{record:?} cannot be written") };
            assert_eq!(Owner::of(Some(&written)), Owner::Foundry(record));
        }
        Owner::Unreadable(why) => assert!(!why.contains('\u{1b}'), "{why:?}"),
        Owner::Foreign => panic!("what bears foundry's mark is not foreign"),
        Owner::FirstFoundry(_) | Owner::Newer(_) => {}
    }
});
