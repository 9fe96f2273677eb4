//! The forms of results: the same for all that lists, and nothing in a pipe that a reader must take away again.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::support::command::{Ran, TEST_DRIVER, foundry, on_test, skip_without};
use crate::support::deadline::{ChildInTime as _, CommandInTime as _, within};
use serde_json::Value;

/// All that lists something on libvirt's test driver.
const LISTINGS: [&[&str]; 9] = [
    &["top"],
    &["network", "list"],
    &["list", "--all"],
    &["pool", "list"],
    &["disk", "list"],
    &["image", "catalog", "list"],
    &["config", "view", "--origin"],
    &["config", "get-contexts", "--config", "examples/config/config.yaml"],
    &["image", "list", "--pool", "default-pool"],
];

fn says(args: &[&str], form: &[&str]) -> String {
    let ran = on_test(&[args, form].concat());
    assert_eq!(ran.code, 0, "{args:?} {form:?}: {}", ran.stderr);
    ran.stdout
}

#[test]
fn every_listing_knows_every_form() {
    for listing in LISTINGS {
        let json: Value = serde_json::from_str(&says(listing, &["-o", "json"])).unwrap();
        let objects = json.as_array().unwrap();
        let names = says(listing, &["-o", "name"]);
        assert_eq!(names.lines().count(), objects.len(), "{listing:?}: {names}");
        let yaml = says(listing, &["-o", "yaml"]);
        assert_eq!(yaml.split("---\n").filter(|d| !d.is_empty()).count(), objects.len(), "{listing:?}");
        let columns = says(listing, &["-o", "custom-columns=A:.nosuch,B:."]);
        let wanted = objects.len() + usize::from(!objects.is_empty() || columns.starts_with("A   B"));
        assert_eq!(columns.lines().count(), wanted, "{listing:?}: {columns}");
        let path = says(listing, &["-o", "jsonpath={range .items[*]}x{end}"]);
        assert_eq!(path.trim_end(), "x".repeat(objects.len()), "{listing:?}");
        let (table, bare) = (says(listing, &[]), says(listing, &["--no-headers"]));
        assert_eq!(table.lines().skip(1).count(), bare.lines().count(), "{listing:?}");
        assert_eq!(bare.lines().count(), objects.len(), "{listing:?}");
    }
}

/// What one thinks of a table's columns must not change with the form: wide only adds.
#[test]
fn wide_adds_columns_and_changes_none() {
    for listing in LISTINGS {
        let header = |form: &[&str]| {
            let text = says(listing, form);
            let line = text.lines().next().unwrap_or_default().to_owned();
            line.split("   ").map(str::trim).filter(|h| !h.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let (narrow, wide) = (header(&[]), header(&["-o", "wide"]));
        assert_eq!(wide[..narrow.len()], narrow, "{listing:?}");
    }
}

#[test]
fn listings_are_sorted_and_have_no_blanks_at_the_end() {
    for listing in LISTINGS {
        for form in ["table", "wide", "custom-columns=N:.name,X:.nosuch"] {
            let text = says(listing, &["-o", form]);
            assert!(text.lines().all(|line| line == line.trim_end()), "{listing:?} {form}: {text:?}");
            assert!(!text.contains('\u{1b}') && !text.contains('\t'), "{listing:?} {form}: {text:?}");
        }
        if !listing.contains(&"view") {
            let names = says(listing, &["-o", "name"]);
            let mut sorted: Vec<&str> = names.lines().collect();
            sorted.sort_unstable();
            assert_eq!(names.lines().collect::<Vec<_>>(), sorted, "{listing:?}");
        }
    }
}

#[test]
fn one_object_knows_the_forms_too() {
    let name = "jsonpath={.metadata.name}/{.status.phase}";
    assert_eq!(says(&["get", "test"], &["-o", name]), "test/Running\n");
    assert_eq!(says(&["get", "test", "-o", "custom-columns=N:.metadata.name"], &[]), "N\ntest\n");
    assert_eq!(says(&["pool", "info", "default-pool"], &["-o", "jsonpath={.type}"]), "dir\n");
    assert_eq!(says(&["storage", "status"], &["-o", "jsonpath={.pools[*].name}"]), "default-pool\n");
    assert_eq!(says(&["list"], &["-o", "jsonpath={.items[0].metadata.name}"]), "test\n");
}

#[test]
fn the_form_can_be_set_and_a_flag_goes_before_it() {
    let run = |args: &[&str]| {
        let mut command = foundry(&[&["-c", TEST_DRIVER, "list"], args].concat());
        Ran::from(command.env("FOUNDRY_OUTPUT", "name").output_in_time().unwrap())
    };
    assert_eq!(run(&[]).stdout, "test\n");
    assert!(run(&["-o", "table"]).stdout.starts_with("NAME "));
}

#[test]
fn forms_that_are_none_are_usage_errors() {
    for (form, told) in [
        ("yml", "did you mean 'yaml'?"),
        ("go-template={{.x}}", "it is not one of table, wide, yaml, json, name, jsonpath=TEMPLATE"),
        ("jsonpath", "it needs a template"),
        ("jsonpath={.items[*]", "a '{' is not closed"),
        ("jsonpath={.items[?(@.a=~\"b\")]}", "is not a valid path"),
        ("custom-columns=NAME", "is not a column; write NAME:.metadata.name"),
    ] {
        let ran = on_test(&["list", "-o", form]);
        assert_eq!((ran.code, ran.stdout.as_str()), (64, ""), "{form}");
        assert!(ran.stderr.contains(told), "{form}: {}", ran.stderr);
    }
}

/// Whoever says always or never means it; else the variables, and then what stderr is.
#[test]
fn colours_are_as_whoever_asked_last_wants_them() {
    let coloured = |flags: &[&str], variables: &[(&str, &str)]| {
        let mut command = foundry(&[&["-c", TEST_DRIVER, "get", "nosuch"], flags].concat());
        let ran = Ran::from(command.envs(variables.iter().copied()).output_in_time().unwrap());
        ran.stderr.contains("\u{1b}[31merror:")
    };
    for (flags, variables, wanted) in [
        (&[][..], &[][..], false),
        (&["--color", "always"], &[], true),
        (&["--color=always"], &[("NO_COLOR", "1")], true),
        (&["--color=never"], &[("CLICOLOR_FORCE", "1")], false),
        (&[], &[("CLICOLOR_FORCE", "1")], true),
        (&[], &[("CLICOLOR_FORCE", "0")], false),
        (&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        (&[], &[("FOUNDRY_COLOR", "always")], true),
        (&["--color=auto"], &[("FOUNDRY_COLOR", "always")], false),
    ] {
        assert_eq!(coloured(flags, variables), wanted, "{flags:?} {variables:?}");
    }
}

/// A reader that has enough ends it, also where nothing changes any more.
#[test]
fn a_watch_ends_with_its_reader() {
    let mut command = foundry(&["-c", TEST_DRIVER, "list", "--watch", "-o", "name"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait_in_time().unwrap().success());
}

/// On a terminal the listing is drawn over itself.
#[test]
fn a_watch_redraws_on_a_terminal_only() {
    let binary = env!("CARGO_BIN_EXE_foundry");
    let watch = |term: &str| {
        let line = format!("{binary} -c {TEST_DRIVER} list --watch");
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env_clear().env("PATH", "/usr/bin:/bin").env("TERM", term);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let mut shown = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        within("the listing on a terminal", || {
            while !text.contains("\ntest ") && shown.read_line(&mut text).unwrap() > 0 {}
        });
        // The terminal goes with script(1), and foundry with the terminal.
        child.kill().unwrap();
        child.wait_in_time().unwrap();
        Some(text)
    };
    let Some(drawn) = watch("xterm") else {
        skip_without("script", "bsdutils");
        return;
    };
    // Over what was there, and never an empty screen; no cursor hidden and no other screen that would have to be left.
    assert!(drawn.starts_with("\u{1b}[HNAME "), "{drawn:?}");
    assert!(drawn.lines().all(|line| line.ends_with("\u{1b}[K")), "{drawn:?}");
    assert!(!drawn.contains("\u{1b}[2J") && !drawn.contains("\u{1b}[?"), "{drawn:?}");
    let plain = watch("dumb").unwrap();
    assert!(plain.starts_with("NAME ") && !plain.contains('\u{1b}'), "{plain:?}");
}

/// Ctrl-C ends it, and the terminal is as it was.
#[test]
fn a_watch_that_is_interrupted_leaves_the_terminal_as_it_was() {
    let watch = format!("{} -c {TEST_DRIVER} list --watch", env!("CARGO_BIN_EXE_foundry"));
    let line = format!("trap : INT; stty -g; {watch}; echo; echo CODE $?; stty -g");
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm");
    let Ok(mut child) = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        skip_without("script", "bsdutils");
        return;
    };
    let (mut keys, mut shown) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut text = String::new();
    within("the listing on a terminal", || {
        while !text.contains("\ntest ") && shown.read_line(&mut text).unwrap() > 0 {}
    });
    keys.write_all(b"\x03").unwrap();
    within("the end of a watch that was interrupted", || while shown.read_line(&mut text).unwrap() > 0 {});
    child.wait_in_time().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains(':'), "{text:?}");
    assert_eq!(lines.last(), lines.first(), "{text:?}");
}
