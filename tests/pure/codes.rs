//! The codes of errors: what was promised of them, what `explain` says, and where they are shown.

use std::collections::BTreeSet;

use crate::support::command::{on_test, run, run_with};
use crate::support::manifests::SMALL;
use crate::support::sources::{files_below, is_at};
use clap::Parser;
use foundry::{Cli, Code};

/// Ids that were ever given, each with its name. Lines are only ever added.
const GIVEN: &str = include_str!("../data/codes.txt");

#[test]
fn a_code_is_what_it_always_was() {
    let given: BTreeSet<&str> = GIVEN.lines().collect();
    let now: Vec<String> = Code::ALL.iter().map(|code| format!("{code} {code:?}")).collect();
    let now: BTreeSet<&str> = now.iter().map(String::as_str).collect();
    let lost: Vec<_> = given.difference(&now).collect();
    assert!(lost.is_empty(), "renamed, renumbered or removed, which breaks who looks them up: {lost:?}");
    let new: Vec<_> = now.difference(&given).collect();
    assert!(new.is_empty(), "add them to tests/data/codes.txt, which keeps them from now on: {new:?}");
    let numbers: BTreeSet<u16> = Code::ALL.iter().map(|code| code.number()).collect();
    assert_eq!(numbers.len(), Code::ALL.len(), "an id is given twice");
}

/// A script that knows the id knows the exit code.
#[test]
fn the_thousands_are_the_exit_code() {
    for code in Code::ALL {
        let (class, exit) = (code.number() / 1000, u16::from(code.kind().exit_code()));
        assert_eq!(if class == 9 { 130 } else { class }, exit, "{code}");
        assert!((1000..=9999).contains(&code.number()), "{code}");
    }
}

/// What is promised in the list happens somewhere.
#[test]
fn every_code_but_the_general_ones_is_given() {
    let mut sources = files_below(concat!(env!("CARGO_MANIFEST_DIR"), "/src").as_ref(), "rs");
    sources.retain(|path| !is_at(path, &["error"]));
    let text: String = sources.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let words: BTreeSet<&str> = text.split(|c: char| !c.is_alphanumeric() && c != ':').collect();
    let never = Code::ALL.iter().filter(|code| !code.is_general());
    let never: Vec<_> = never.filter(|code| !words.contains(format!("Code::{code:?}").as_str())).collect();
    assert!(never.is_empty(), "no error has {never:?}");
}

#[test]
fn a_code_is_read_as_it_is_written() {
    for code in Code::ALL {
        for text in [code.to_string(), code.to_string().to_lowercase(), code.number().to_string()] {
            assert_eq!(Code::parse(&text), Some(*code), "{text}");
        }
    }
    for text in ["", "FND-", "FND", "FND-42", "FND-42010", "4201x", "FND-é201", "é4201"] {
        assert_eq!(Code::parse(text), None, "{text}");
    }
}

/// Each of foundry's own commands in a text: in an indented line, or between backticks.
fn commands(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    quoted.chain(lines).filter_map(|words| words.find("foundry ").map(|at| &words[at..])).collect()
}

#[test]
fn every_command_of_a_remedy_is_one_that_foundry_takes() {
    let mut count = 0;
    for code in Code::ALL {
        let told = code.explanation();
        for text in [told.meaning, told.causes, told.remedy, told.commands] {
            for line in commands(text) {
                let line = line.split(" > ").next().unwrap();
                match Cli::try_parse_from(line.split_whitespace()) {
                    Ok(_) => count += 1,
                    Err(said) => assert!(!said.use_stderr(), "{code}: {line}: {said}"),
                }
            }
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn explain_says_what_a_code_means_in_every_spelling() {
    let ran = run(&["explain", "FND-4201"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    insta::with_settings!({ snapshot_path => "../data/explain", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("code", ran.stdout);
    });
    for spelling in ["fnd-4201", "4201", " FND-4201"] {
        assert_eq!(run(&["explain", spelling]).stdout, ran.stdout, "{spelling}");
    }
}

#[test]
fn every_explanation_fits_a_terminal() {
    for code in Code::ALL {
        let shown = run(&["explain", &code.to_string()]).stdout;
        // A command is for copying, and in one line whatever its length.
        let prose = shown.trim_end().strip_suffix(code.explanation().commands).unwrap();
        for line in prose.lines() {
            assert!(line.chars().count() <= 80 && !line.contains('`'), "{code}: {line}");
        }
    }
}

#[test]
fn an_unknown_code_leads_to_the_nearest() {
    for (code, hint) in [
        ("FND-4299", "did you mean FND-4209? foundry explain FND-4209"),
        // Two other digits are another code.
        ("FND-9999", "foundry explain --codes lists all"),
        ("fnd-77", "foundry explain --codes lists all"),
        ("12", "foundry explain --codes lists all"),
        ("FND-\u{1b}[J", "foundry explain --codes lists all"),
    ] {
        let ran = run(&["explain", code]);
        assert_eq!((ran.code, ran.code_of_error.as_deref()), (1, Some("FND-1302")), "{code}: {}", ran.stderr);
        assert!(ran.stderr.contains(hint) && !ran.stderr.contains('\u{1b}'), "{code}: {}", ran.stderr);
    }
}

#[test]
fn all_codes_are_listed_with_their_titles() {
    let listed = run(&["explain", "--codes"]).stdout;
    assert_eq!(listed.lines().count(), Code::ALL.len());
    for (line, code) in listed.lines().zip(Code::ALL) {
        assert_eq!(line, format!("{code}  {}", code.title()));
    }
}

/// One cause of each kind, as a user meets it.
#[test]
fn an_error_is_shown_with_its_code() {
    for (args, exit, code) in [
        (&["render", "nosuch.yaml"][..], 1, "FND-1001"),
        (&["--config", "nosuch.yaml", "list"], 1, "FND-1001"),
        (&["config", "use-context", "nosuch"], 1, "FND-1102"),
        (&["explain", "spec.nosuch"], 1, "FND-1301"),
        (&["image", "pull", "nosuch"], 2, "FND-2502"),
        (&["image", "pull", "ftp://h/x"], 2, "FND-2504"),
        (&["pool", "add", "a", "dir", "relative"], 2, "FND-2501"),
        (&["get", "nosuch"], 4, "FND-4002"),
        (&["disk", "resize", "test", "vda", "1"], 4, "FND-4003"),
        (&["pool", "info", "nosuch"], 5, "FND-5001"),
        (&["image", "info", "nosuch", "--pool", "default-pool"], 5, "FND-5101"),
    ] {
        let ran = on_test(args);
        assert_eq!((ran.code, ran.code_of_error.as_deref()), (exit, Some(code)), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn a_line_of_a_configuration_has_its_cause() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    for (text, code) in [
        ("vmPool: a/b\n", "FND-1101"),
        ("nosuch: x\n", "FND-1004"),
        ("vmPool: [a]\n", "FND-1005"),
        ("vmPool: a\nvmPool: b\n", "FND-1006"),
        ("vmPool: {\n", "FND-1003"),
    ] {
        std::fs::write(&file, text).unwrap();
        let ran = run(&["--config", file.to_str().unwrap(), "list"]);
        assert_eq!((ran.code, ran.code_of_error.as_deref()), (1, Some(code)), "{text}: {}", ran.stderr);
    }
}

/// What all lines have stands at the head; where they differ, each has its own.
#[test]
fn several_problems_have_a_code_each() {
    let same = run_with(
        &["render", "-"],
        &SMALL.replace("vcpus: 1", "vcpus: 0").replace("memoryGiB: 0.5", "memoryGiB: 0"),
    );
    assert_eq!(same.code_of_error.as_deref(), Some("FND-2002"), "{}", same.stderr);
    let mixed = run_with(
        &["render", "-"],
        &SMALL.replace("vcpus: 1", "vcpus: 0").replace("name: small", "name: a b"),
    );
    assert_eq!(mixed.code_of_error.as_deref(), Some("FND-2101"), "{}", mixed.stderr);
    assert!(mixed.said.contains("from 1 to 4096 [FND-2002]\n"), "{}", mixed.said);
    assert!(!same.said.contains(" [FND-"), "{}", same.said);
}
