//! What foundry reads from a host may be anybody's: records in metadata, names of domains. Whatever they hold, every
//! command ends in good order, and no terminal obeys them.

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use crate::support::bench::Bench;
use crate::support::command::run;
use crate::support::stray::is_stray;
use crate::support::{cpu, words};
use foundry::host::Domains;
use foundry::record::{Owner, Record};
use proptest::prelude::*;
use serde_json::Value;

/// A terminal would clear its screen, change its title, turn the line around and go back to its beginning.
/// It begins lines as foundry does, and holds what nobody sees.
const EVIL: &str = "a\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\r\u{85}b\nFORGED: a hint\n\u{200b}\u{feff}\u{2028}\u{61c}\u{e0041}\u{7f}";
/// The same as far as XML can carry it.
const EVIL_NAME: &str = "evil\u{9b}31m\u{202e}\u{85}\u{200b}\u{feff}\u{2028}\u{2060}b";

/// The record of a VM as foundry writes it.
fn record() -> Value {
    static MADE: LazyLock<Value> = LazyLock::new(|| {
        let bench = Bench::with_web();
        serde_json::from_str(&bench.host.domain("web").unwrap().unwrap().record.unwrap()).unwrap()
    });
    MADE.clone()
}

/// Pointers to all texts in a value.
fn leaves(value: &Value, at: &str) -> Vec<String> {
    match value {
        Value::String(_) => vec![at.to_owned()],
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(i, item)| leaves(item, &format!("{at}/{i}"))).collect()
        }
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| leaves(value, &format!("{at}/{}", key.replace('/', "~1"))))
            .collect(),
        _ => Vec::new(),
    }
}

fn with(record: &Value, leaf: &str, text: &str) -> Value {
    let mut record = record.clone();
    *record.pointer_mut(leaf).unwrap() = text.into();
    record
}

/// A record that is read is written as it was; one that is not says why in words for a terminal.
fn judged(text: &str) {
    let ((), took) = cpu::time(|| match Owner::parse_metadata(Some(text)) {
        Owner::Foundry(record) => {
            let written = Record::to_text(&record).unwrap();
            assert_eq!(Owner::parse_metadata(Some(&written)), Owner::Foundry(record));
        }
        Owner::Unreadable(why) => assert!(!why.contains(is_stray), "{why:?}"),
        Owner::Foreign => panic!("{text:?} bears foundry's mark"),
        Owner::FirstFoundry(_) | Owner::Newer(_) => {}
    });
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn records_of_any_size_and_depth_are_read_or_not() {
    let deep = |open: &str, close: &str| {
        format!("{{\"manifest\": {}{}}}", open.repeat(100_000), close.repeat(100_000))
    };
    judged(&deep("[", "]"));
    judged(&deep("{\"a\":", "}"));
    judged(&deep("[", ""));
    judged(&with(&record(), "/image", &"x".repeat(4 << 20)).to_string());
    judged(&format!("{{{}\"version\": 1}}", "\"a\": 1, ".repeat(100_000)));
    judged(&"- ".repeat(100_000));
    judged("{\"version\": 1e308}");
    judged("{\"version\": 18446744073709551616, \"state\": \"\\ud800\"}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_record_or_none(text in ".{0,200}", json in "[{}\\[\\]\":,a-z0-9\\\\ ]{0,80}") {
        judged(&text);
        judged(&format!("{{{json}"));
    }

    #[test]
    fn hostile_words_in_a_record_stay_words(leaf in any::<prop::sample::Index>(), word in words::hostile()) {
        let record = record();
        let leaves = leaves(&record, "");
        judged(&with(&record, leaf.get::<String>(&leaves), &word).to_string());
    }
}

/// A host of libvirt's test driver: a domain for each text in a record, with evil in its place.
fn evil_host(file: &std::path::Path) -> usize {
    let record = record();
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    let mut xml = "<node>".to_owned();
    let leaves = leaves(&record, "");
    for (number, leaf) in leaves.iter().enumerate() {
        let mut record = with(&record, leaf, EVIL);
        let uuid = format!("00000000-0000-4000-8000-{number:012}");
        if leaf != "/domain" {
            record["domain"] = uuid.clone().into();
        }
        let text = escaped(&record.to_string());
        write!(
            xml,
            "<domain type='test'><name>{EVIL_NAME}{number}</name><uuid>{uuid}</uuid><metadata>\
             <foundry:vm xmlns:foundry='http://foundry.cofront.xyz/v1alpha1'>{text}</foundry:vm></metadata>\
             <memory>8192</memory><os><type>hvm</type></os></domain>"
        )
        .unwrap();
    }
    xml += "</node>";
    std::fs::write(file, xml).unwrap();
    leaves.len()
}

#[test]
fn no_command_shows_a_terminal_what_a_record_holds() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let count = evil_host(file.path());
    assert!(count > 30, "{count}");
    let uri = format!("test://{}", file.path().display());
    let evil = |c: char| is_stray(c) && c != '\n';
    let name = |number| format!("{EVIL_NAME}{number}");
    let mut all: Vec<Vec<String>> = [
        "list --all",
        "list --all -o wide",
        "list --all -o json",
        "list --all -o yaml",
        "list --all --progress json",
        "disk list",
        "storage status",
        "pool list",
        "image list",
        "gc --dry-run",
        "gc --dry-run -o wide",
        "doctor",
    ]
    .map(|line| line.split(' ').map(str::to_owned).collect())
    .to_vec();
    for number in 0..count {
        all.push(vec!["get".into(), name(number)]);
        all.push(vec!["destroy".into(), name(number), "--force".into()]);
        // The others read the same record in the same way: of them a part is enough.
        if number % 6 != 0 {
            continue;
        }
        all.push(vec!["get".into(), name(number), "-o".into(), "json".into()]);
        all.push(vec!["seed".into(), "eject".into(), name(number)]);
        all.push(vec!["disk".into(), "detach".into(), name(number), "vdb".into()]);
        all.push(vec!["disk".into(), "resize".into(), name(number), "boot".into(), "99".into()]);
        all.push(vec!["destroy".into(), name(number)]);
    }
    let name_begin = "evil\\u{9b}".to_owned();
    for line in all {
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let ran = run(&[&["-c", &uri, "-vv"], line.as_slice()].concat());
        assert!((0..=6).contains(&ran.code), "{line:?}: {}", ran.stderr);
        for said in [&ran.stdout, &ran.stderr] {
            let first = said.lines().find(|l| l.contains(evil));
            assert_eq!(first, None, "{line:?}");
            assert!(!said.lines().any(|l| l.trim_start().starts_with("FORGED")), "{line:?}: {said}");
            let is_copied = |l: &str| l.contains(&name_begin) && l.contains("hint: foundry ");
            assert!(!said.lines().any(is_copied), "{line:?}: {said}");
        }
    }
}

#[test]
fn programs_get_the_words_as_they_are() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let count = evil_host(file.path());
    let uri = format!("test://{}", file.path().display());
    let ran = run(&["-c", &uri, "list", "--all", "-o", "json"]);
    let list: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    assert!(list.len() > count / 2 && ran.stdout.contains("\\u001b[2J"), "{}", list.len());
}
