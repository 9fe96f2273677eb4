//! How progress is shown: to people on a terminal, in a pipe, and to programs.

use std::process::{Command, Stdio};

use crate::support::command::{Ran, TEST_DRIVER, on_test, skip_without};
use crate::support::deadline::CommandInTime as _;
use serde_json::Value;

const DESTROY: [&str; 3] = ["destroy", "test", "--force"];

/// The events on stderr; every line is one.
fn events(ran: &Ran) -> Vec<Value> {
    ran.stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect()
}

fn words<'a>(events: &'a [Value], field: &str) -> Vec<&'a str> {
    events.iter().filter_map(|event| event[field].as_str()).collect()
}

#[test]
fn programs_get_one_object_each_line() {
    let ran = on_test(&[&DESTROY[..], &["nosuch", "--progress=json"]].concat());
    assert_eq!((ran.code, ran.stdout.as_str()), (4, "Successfully destroyed VM 'test'\n"), "{}", ran.stderr);
    let events = events(&ran);
    assert_eq!(events[0], serde_json::json!({"event": "begin", "message": "Destroying VM 'test'..."}));
    let (last, steps) = events.split_last().unwrap();
    assert_eq!(
        (&last["event"], &last["code"], &last["kind"], &last["exitCode"]),
        (&"error".into(), &"FND-4002".into(), &"vm".into(), &4.into())
    );
    assert_eq!(last["message"], "there is no VM 'nosuch'");
    for event in ["done", "warning"] {
        assert!(words(steps, "event").contains(&event), "{event}: {steps:?}");
    }
    let done: Vec<&Value> = steps.iter().filter(|e| e["event"] == "done").collect();
    assert!(done.iter().all(|e| e["seconds"].as_f64().is_some_and(|s| (0.0..60.0).contains(&s))), "{done:?}");
}

/// What is told in the other forms is told in this one, too.
#[test]
fn programs_are_told_the_steps_that_people_are() {
    let people = on_test(&DESTROY).stderr;
    let steps: Vec<&str> = people.lines().filter_map(|line| line.strip_prefix("✓ ")).collect();
    let program = on_test(&[&DESTROY[..], &["--progress=json"]].concat());
    let events = events(&program);
    let done: Vec<Value> = events.into_iter().filter(|e| e["event"] == "done").collect();
    assert_eq!(words(&done, "message"), steps);
    assert!(!steps.is_empty(), "{people}");
}

#[test]
fn calls_are_events_too() {
    let ran = on_test(&["list", "-vv", "-o", "name", "--progress=json"]);
    let events = events(&ran);
    assert!(events.iter().all(|e| e["event"] == "call"), "{}", ran.stderr);
    assert!(words(&events, "function").contains(&"virConnectGetAllDomainStats"), "{}", ran.stderr);
}

#[test]
fn without_progress_there_are_no_steps_but_errors() {
    let ran = on_test(&[&DESTROY[..], &["nosuch", "--progress=none"]].concat());
    assert!(ran.stderr.contains("error: there is no VM 'nosuch'"), "{}", ran.stderr);
    assert!(ran.stderr.contains("warning: "), "{}", ran.stderr);
    assert!(!ran.stderr.contains('✓') && !ran.stderr.contains("Destroying"), "{}", ran.stderr);
    let plain = on_test(&[&DESTROY[..], &["--progress=plain"]].concat());
    assert_eq!(plain.stderr, on_test(&DESTROY).stderr, "plain is what a pipe gets");
    let quiet = on_test(&[&DESTROY[..], &["-q", "--progress=json"]].concat());
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_terminal_gets_the_time_of_each_step() {
    let on_terminal = |flags: &str| {
        let binary = env!("CARGO_BIN_EXE_foundry");
        let line = format!("{binary} -c {TEST_DRIVER} destroy test --force --yes {flags}");
        let mut command = Command::new("script");
        command
            .args(["-qec", &line, "/dev/null"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", "xterm");
        let output = command.stdin(Stdio::null()).output_in_time().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Some(shown) = on_terminal("") else {
        skip_without("script", "bsdutils");
        return;
    };
    let steps = |text: &str| {
        text.lines().filter(|l| l.contains('✓')).map(|l| l.trim_end().to_owned()).collect::<Vec<_>>()
    };
    assert!(!steps(&shown).is_empty(), "{shown:?}");
    for step in steps(&shown) {
        let time = step.rsplit_once('(').and_then(|(_, time)| time.strip_suffix("s)"));
        time.unwrap_or_else(|| panic!("{step:?}")).parse::<f64>().unwrap();
    }
    let plain = on_terminal("--progress=plain").unwrap();
    assert!(steps(&plain).iter().all(|step| !step.ends_with("s)")), "{plain:?}");
}
