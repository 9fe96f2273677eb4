//! Everything that can go wrong between foundry and libvirtd, at every call of every command that changes a host: nothing
//! is lost, and what is left is told with the command that removes it.
//!
//! It runs on libvirtds of its own, in namespaces of their own, which are killed and started as it takes. A plain run
//! takes a sample of the calls, the same each time; `FOUNDRY_TEST_FULL=1`, as `scripts/test.sh --full` sets it, all of
//! them. `FOUNDRY_FAULTS_ONLY` names the commands, by a part of their names in the table.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::thread;

use crate::support::deadline::{ChildInTime as _, of_a_whole_test};
use crate::support::fault::INSIDE;
use crate::support::fault::judge::Class;
use crate::support::fault::table::{Verdict, table, told};
use crate::support::fault::worker::{Share, work};
use crate::support::{again, private_host};

/// As many as there are processors in the smallest machine that runs the tests.
const HOSTS: usize = 2;
const TEST: &str = "nothing_is_lost_and_nothing_leaks";
const WHICH: &str = "FOUNDRY_FAULTS_SHARE";

#[test]
fn nothing_is_lost_and_nothing_leaks() {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let share = |index| Share {
        index,
        of: HOSTS,
        full: set("FOUNDRY_TEST_FULL").as_deref() == Some("1"),
        only: set("FOUNDRY_FAULTS_ONLY").unwrap_or_default(),
    };
    if let Some(directory) = set(INSIDE) {
        return work(Path::new(&directory), &share(set(WHICH).unwrap().parse().unwrap()));
    }
    if set("FOUNDRY_TEST_URI").is_none() {
        assert_ne!(set("FOUNDRY_TEST_REQUIRE").as_deref(), Some("1"), "FOUNDRY_TEST_URI is not set");
        println!("skipped: FOUNDRY_TEST_URI is not set");
        return;
    }
    let hosts: Vec<_> = (0..HOSTS).map(|index| thread::spawn(move || inside(index))).collect();
    let verdicts: Vec<Verdict> = hosts.into_iter().flat_map(|host| host.join().unwrap()).collect();
    println!("{}", table(&verdicts));
    let revived = verdicts.iter().filter(|v| v.revived).count();
    println!("{revived} times libvirtd hung afterwards");
    assert!(!verdicts.is_empty(), "nothing was run");
    assert!(verdicts.iter().all(|v| v.class < Class::Leaked), "see above");
}

/// Runs one worker in a host of its own.
fn inside(index: usize) -> Vec<Verdict> {
    let directory = private_host::directory("foundry-test-f").unwrap();
    let mut child = private_host::command(directory.path(), &std::env::current_exe().unwrap())
        .args(["--exact", &again::exact(module_path!(), TEST), "--nocapture"])
        .env(INSIDE, directory.path())
        .env(WHICH, index.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _held = child.stdin.take();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut verdicts = Vec::new();
    for line in lines {
        let line = line.unwrap();
        match told(&line) {
            Some(verdict) => {
                if verdict.class >= Class::Leaked {
                    println!("[host {index}] {verdict}");
                }
                verdicts.push(verdict);
            }
            None => println!("[host {index}] {line}"),
        }
    }
    assert!(child.wait_within(of_a_whole_test()).unwrap().success(), "the worker of host {index} failed");
    verdicts
}
