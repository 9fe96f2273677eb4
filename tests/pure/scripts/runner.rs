//! The test runner: signals, lanes, times and stages.

use super::Machine;
use crate::support::deadline;
use std::process::Command;

/// Under nohup, or behind `&` of a script, signals are ignored, and all that is started inherits that.
#[test]
fn what_the_runner_starts_can_be_interrupted() {
    let machine = Machine::new();
    let script = machine.path().join("script.sh");
    let text = ". scripts/lib/signals.sh\nsignals_default \"$@\"\nkill -HUP $$\necho \"$1:$(grep SigIgn /proc/self/status)\"\n";
    std::fs::write(&script, text).unwrap();
    for ignored in ["HUP", "INT QUIT", "HUP INT QUIT TERM"] {
        let line = format!("trap '' {ignored}; bash {} 'a b'", script.display());
        let (well, said) = machine.runs(&[], &line);
        if !ignored.contains("HUP") {
            assert!(!well, "a hangup that nobody ignored ends it: {said}");
            continue;
        }
        let mask = said.trim().rsplit(['\t', ' ']).next().map(|mask| u64::from_str_radix(mask, 16));
        assert!(
            well && said.starts_with("a b:") && mask.is_some_and(|m| m.is_ok_and(|m| m & 0x4007 == 0)),
            "{said}"
        );
    }
}

/// The live tests run in two lanes, and in one where no namespaces can be made: each module in one lane, none is forgotten.
#[test]
fn each_live_test_is_in_one_lane() {
    let sorted = |said: &str| -> Vec<String> {
        let mut words: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
        words.sort();
        words
    };
    let machine = Machine::new();
    let lanes = |which: &str| {
        let (well, said) =
            machine.runs(&["checks"], &format!("for lane in {which}; do live_lane $lane; done"));
        assert!(well, "{said}");
        sorted(&said)
    };
    // As `cargo test` filters: by a part of the name. The names end, so that none is a part of another.
    let filters = |modules: Vec<String>| -> Vec<String> {
        modules.iter().map(|module| format!("live::{module}::")).collect()
    };
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live")).unwrap();
    let names = files.filter_map(|file| {
        file.unwrap().file_name().to_str().and_then(|name| name.strip_suffix(".rs")).map(str::to_owned)
    });
    let all = filters(sorted(&names.collect::<Vec<_>>().join(" ")));
    assert!(all.len() > 20, "{all:?}");
    machine.program("unshare", "exit 0");
    assert_eq!(lanes("machine own"), all);
    let (_, own) = machine.runs(&["checks"], "echo $LIVE_OWN_HOST");
    assert_eq!(lanes("own"), filters(sorted(&own)));
    machine.program("unshare", "exit 1");
    assert_eq!((lanes("machine"), lanes("own")), (all, vec![]));
}

/// How long each test took follows from when the tests end: they begin in the order of their names, as many at once as
/// there are threads.
#[test]
fn the_slowest_tests_are_told() {
    let machine = Machine::new();
    let said = "(echo 'running 3 tests'; sleep 0.1; echo 'test b::x ... ok'; sleep 0.6; echo 'test a ... FAILED'; \
        echo 'test c ... ok'; echo; echo 'test result: FAILED. 2 passed; 1 failed;')";
    let script = format!(
        "STAGE_DIR=$(mktemp -d) STAGE=unit TEST_THREADS=2; {said} | tests_timed quietly; tests_slowest 2; rm -r $STAGE_DIR"
    );
    let (well, said) = machine.runs(&["log", "stages", "test_times"], &script);
    let lines: Vec<&str> = said.lines().collect();
    assert!(well && lines[..2] == ["running 3 tests", "test a ... FAILED"], "{said}");
    // It began as the first one ended, so it is not the third.
    let slowest: Vec<&str> =
        lines[lines.len() - 2..].iter().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(slowest, ["a", "c"], "{said}");
}

/// What is in a full run alone says when that was, and a run of that stage alone does not count.
#[test]
fn a_stage_of_a_full_run_says_when_it_last_went_well() {
    let machine = Machine::new();
    let head = format!(
        "shopt -s inherit_errexit; cache_dir() {{ echo {}; }}; STAGE_DIR=$(mktemp -d); one() {{ echo done; }};",
        machine.path().display()
    );
    let run = |script: &str| {
        let (_, said) = machine.runs(
            &["log", "stages", "test_times"],
            &format!("{head} {script}; stage_table; rm -r $STAGE_DIR"),
        );
        said.lines().find(|line| line.starts_with("one ")).unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    assert!(run("stage_full one one").contains("last success: not known"));
    assert!(run("ONLY=one stage_full one one").contains("ok"));
    assert!(run("stage_full one one").contains("last success: not known"));
    assert!(run("FULL=yes stage_full one one").contains("ok"));
    let left_out = run("stage_full one one");
    assert!(left_out.contains("skipped") && left_out.contains("last success: 20"), "{left_out}");
}

/// A wait of a test ends, and says what was awaited.
#[test]
fn a_wait_in_vain_fails_with_what_was_awaited() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let short = std::time::Duration::from_millis(200);
    let waited = catch_unwind(AssertUnwindSafe(|| {
        deadline::within_limit("a sleeper", short, || Command::new("sleep").arg("1000").output())
    }));
    let told = *waited.unwrap_err().downcast::<String>().unwrap();
    assert!(told.contains("in vain") && told.contains("a sleeper"), "{told}");
}
