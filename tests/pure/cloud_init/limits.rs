//! Texts that are made to exhaust their reader.

use std::time::Duration;

use crate::support::cpu;
use foundry::cloud_init::{check_network_config, check_raw_user_data, check_user_data};
use foundry::yaml::node::{MAX_DEPTH, read_documents};
use proptest::prelude::*;

/// Every level stands for ten of the one before: 10^9 nodes.
fn bomb() -> String {
    let level = |i: u32| format!("l{i}: &l{i} [{}]\n", vec![format!("*l{}", i - 1); 10].join(", "));
    format!("l0: &l0 [a, b]\n{}", (1..9).map(level).collect::<String>())
}

/// Every level wraps the one before and is as deep as may be written at once: the sum is not.
fn chain() -> String {
    let wrapped = |i: u32| format!("l{i}: &l{i} {}*l{}{}\n", "[".repeat(40), i - 1, "]".repeat(40));
    format!("l0: &l0 a\n{}", (1..2000).map(wrapped).collect::<String>())
}

fn long_text() -> String {
    format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 1000].join(", "))
}

#[test]
fn bombs_are_refused_quickly() {
    for (text, message) in [
        (bomb(), "the aliases expand to too much"),
        (chain(), "nested deeper than 64 levels"),
        (long_text(), "the aliases expand to too much"),
        (format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)), "line 1 column"),
        ("{a: ".repeat(50_000), "line 1 column"),
        ("- ".repeat(50_000), "line 1 column"),
        ((0..5000).map(|i| format!("{}a:\n", " ".repeat(i))).collect(), "line"),
        ("a: &a [*a]\n".to_owned(), "an alias refers to a node that contains it at line 1 column 8"),
        ("? ".repeat(50_000), "line 1 column"),
    ] {
        let ((), took) = cpu::time(|| {
            let told = check_user_data(&text).expect_err("a bomb");
            assert!(told.contains(message), "{told}");
            assert!(check_raw_user_data(&format!("#cloud-config\n{text}")).is_err());
            assert!(check_network_config(&text).is_err());
        });
        assert!(took < Duration::from_secs(20), "{took:?} for {message}");
    }
}

#[test]
fn what_people_write_is_far_from_the_limits() {
    let deepest = MAX_DEPTH - 1;
    let nested = format!("a: {}x{}\n", "[".repeat(deepest - 1), "]".repeat(deepest - 1));
    assert_eq!(check_user_data(&nested), Ok(()));
    let long: String = (0..20_000).map(|i| format!("key{i}: value\n")).collect();
    assert_eq!(check_user_data(&long), Ok(()));
    let aliases: String = (0..1000).map(|i| format!("k{i}: *base\n")).collect();
    assert_eq!(check_user_data(&format!("base: &base {{a: 1, b: [2, 3]}}\n{aliases}")), Ok(()));
}

#[test]
fn the_documents_of_a_text_are_told_apart() {
    let count = |text: &str| read_documents(text).unwrap().len();
    assert_eq!(count(""), 0);
    assert_eq!(count("# nothing\n"), 0);
    assert_eq!(count("a: 1\n"), 1);
    assert_eq!(count("---\na: 1\n---\nb: 2\n"), 2);
    assert_eq!(count("--- 1\n--- 2\n...\n"), 2);
}

#[test]
fn a_part_of_a_document_is_written_as_it_was() {
    let text = "spec:\n  cloudInit:\n    userData:\n      mode: 0755\n      when: '1:30'\n      on: yes\n";
    let documents = read_documents(text).unwrap();
    let part = documents[0].get("spec").and_then(|s| s.get("cloudInit")).and_then(|c| c.get("userData"));
    assert_eq!(part.unwrap().to_yaml(), "mode: 0755\nwhen: \"1:30\"\non: yes\n");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in "[-?:,\\[\\]{}#&*!|>'\"%@`~=<\n\t ab0.\\\\]{0,80}") {
        if let Ok(documents) = read_documents(&text) {
            for document in documents {
                // What is written is read again as the same.
                let again = read_documents(&document.to_yaml()).unwrap();
                prop_assert_eq!(again, vec![document]);
            }
        }
    }
}
