//! What foundry's YAML is to PyYAML, in Python and in C: exactly what went in.

use std::process::Command;

use foundry::yaml::node::{Mapping, Node, read_documents};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{python, run};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/python/same_yaml.py");

/// Words that YAML 1.1 or 1.2 takes for something other than strings, or that break a careless emitter.
const NASTY: &[&str] = &[
    "",
    " ",
    "~",
    "null",
    "Null",
    "y",
    "n",
    "Y",
    "yes",
    "no",
    "on",
    "off",
    "On",
    "TRUE",
    "False",
    "0",
    "-1",
    "+1",
    "0755",
    "0o17",
    "0x1F",
    "0b1",
    "1_000",
    "1e3",
    "1.5",
    ".5",
    "-.inf",
    ".NaN",
    "1:30",
    "12:30:45",
    "1:2:3.5",
    "52:54:00:12:34:56",
    "2024-01-01",
    "2001-12-14 21:59:43.10 -5",
    "=",
    "<<",
    "-",
    "--",
    "---",
    "--- a",
    "...",
    "... b",
    "- a",
    "? a",
    ": a",
    "a: b",
    "a:",
    "a #b",
    "#a",
    "%YAML 1.1",
    "@a",
    "`a",
    "&a",
    "*a",
    "!a",
    "!!str a",
    "| a",
    "> a",
    "[a]",
    "{a: b}",
    "a,b",
    "'a'",
    "\"a\"",
    "it's",
    "\\",
    "\\n",
    "a\\",
    " a",
    "a ",
    "\ta",
    "a\t",
    "a\tb",
    "\n",
    "\n\n",
    "a\n",
    "a\nb",
    "a\n\nb\n",
    "a\nb\n\n",
    "\na",
    " a\nb",
    "\ta\nb",
    "a\n b\n  c\n",
    "a\n\tb",
    "a \nb ",
    "a\n   \nb",
    "a\n  ",
    "a\r\nb",
    "a\rb",
    "\0",
    "\u{7}",
    "\u{1b}[0m",
    "\u{7f}",
    "\u{80}",
    "\u{85}",
    "a\u{85}b",
    "\u{a0}",
    "\u{ad}",
    "\u{2028}",
    "a\u{2028}b\n",
    "\u{2029}",
    "\u{feff}",
    "a\u{feff}",
    "\u{fffd}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{1f600}",
    "\u{10ffff}",
    "\u{202e}abc",
    "é",
    "a\u{e9}\nb",
    "#!/bin/sh\nset -e\necho \"$1\" | tr a-z A-Z\n",
    "MIME-Version: 1.0",
    "x\nmime-version: 1\n",
    "$6$salt$hash/.",
    "{{ jinja }}",
    "key: |\n  text\n",
    "---\na\n...\n",
    "a\n---\nb\n",
];

/// Strings made of pieces that mean something to YAML, and of anything.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => proptest::sample::select(NASTY).prop_map(str::to_owned),
        2 => "[-?:,\\[\\]{}#&*!|>'\"%@` \t\n\r\\\\a-c0-3._~=<]{0,6}",
        1 => any::<char>().prop_map(String::from),
        1 => Just("x".repeat(130)),
    ];
    vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

/// One string in every place where a string can stand.
fn in_all_places(text: &str) -> (Node, Value) {
    let string = || Node::from_string(text);
    let key = Mapping::new().with_entry(text, string()).with_entry("after", Node::from_string("x"));
    let node = Mapping::new()
        .with_entry("value", string())
        .with_entry(
            "list",
            Node::from_nodes(vec![string(), Node::from_nodes(vec![string(), string()]), string()]),
        )
        .with_entry("key", key.clone().into())
        .with_entry("keys", Node::from_nodes(vec![key.into(), string()]))
        .with_entry(
            "deep",
            Mapping::new().with_entry("down", Mapping::new().with_entry("here", string()).into()).into(),
        )
        .with_entry("last", string());
    let key = if text == "after" { json!({"after": "x"}) } else { json!({text: text, "after": "x"}) };
    let value = json!({
        "value": text, "list": [text, [text, text], text], "key": key, "keys": [key, text],
        "deep": {"down": {"here": text}}, "last": text,
    });
    (node.into(), value)
}

/// Many texts whose failure is told by the assertion, not by a listing of all of them.
#[derive(Clone)]
struct Batch(Vec<String>);

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} texts", self.0.len())
    }
}

fn batch(of: impl Strategy<Value = String>, size: usize) -> impl Strategy<Value = Batch> {
    vec(of, size).prop_map(Batch)
}

/// What PyYAML says of each pair.
fn verdicts(pairs: &[Value]) -> Option<Vec<String>> {
    let input = serde_json::to_vec(pairs).unwrap();
    let output = run(Command::new(python()?).arg(SCRIPT), &input);
    Some(serde_json::from_slice(&output).unwrap())
}

fn assert_all_same(pairs: &[Value]) {
    for (pair, verdict) in pairs.iter().zip(verdicts(pairs).into_iter().flatten()) {
        assert_eq!(verdict, "same", "{:#}", pair);
    }
}

fn emitted(text: &str) -> Value {
    let (node, value) = in_all_places(text);
    json!({"yaml": node.to_yaml(), "value": value})
}

#[test]
fn nasty_words_stay_strings() {
    let mut pairs: Vec<Value> = NASTY.iter().map(|text| emitted(text)).collect();
    pairs.extend(NASTY.iter().map(|text| json!({"yaml": Node::from_string(*text).to_yaml(), "value": text})));
    assert_all_same(&pairs);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_strings_stay_what_they_are(Batch(texts) in batch(hostile(), 150)) {
        let pairs: Vec<Value> = texts.iter().map(|text| emitted(text)).collect();
        assert_all_same(&pairs);
    }
}

/// Texts that use much of YAML 1.1, to be read as they are and with small damage.
const TEXTS: &[&str] = &[
    include_str!("../../data/cloud-config.yaml"),
    include_str!("../../data/scalars.yaml"),
    include_str!("../../data/styles.yaml"),
    include_str!("../../data/anchors.yaml"),
];

/// A text with a few characters inserted, removed or doubled, often in a place that matters.
fn damaged() -> impl Strategy<Value = String> {
    let signs: Vec<char> =
        "-?:,[]{}#&*!|>'\"\\%@`~=<  \n\n\r\tab01.é\u{85}\u{2028}\u{feff}\u{7f}".chars().collect();
    let change = (any::<proptest::sample::Index>(), 0..3u8, proptest::sample::select(signs));
    (proptest::sample::select(TEXTS), vec(change, 0..4)).prop_map(|(text, changes)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (place, what, sign) in changes {
            let at = place.index(chars.len());
            match what {
                0 => chars.insert(at, sign),
                1 => drop(chars.remove(at)),
                _ => chars[at] = sign,
            }
        }
        chars.into_iter().collect()
    })
}

/// What we make of a text, to compare with the text itself; `None` where we refuse it.
fn rewritten(text: &str) -> Option<Value> {
    let documents = read_documents(text).ok()?;
    let [only] = documents.as_slice() else { return None };
    Some(json!({"yaml": only.to_yaml(), "original": text}))
}

#[test]
fn the_texts_are_read_as_pyyaml_reads_them() {
    let pairs: Vec<Value> = TEXTS.iter().filter_map(|text| rewritten(text)).collect();
    assert_eq!(pairs.len(), TEXTS.len());
    assert_all_same(&pairs);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_at_all_is_read_as_pyyaml_reads_it(Batch(texts) in batch(damaged(), 80)) {
        let pairs: Vec<Value> = texts.iter().filter_map(|text| rewritten(text)).collect();
        let Some(verdicts) = verdicts(&pairs) else { return Ok(()) };
        for (pair, verdict) in pairs.iter().zip(&verdicts) {
            prop_assert!(verdict == "same" || verdict == "original unreadable", "{verdict}\n{pair:#}");
        }
        // Enough of the texts survive their damage for the comparison to mean something.
        prop_assert!(verdicts.iter().filter(|v| *v == "same").count() > 15);
    }
}
