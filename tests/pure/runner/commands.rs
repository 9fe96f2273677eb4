//! The commands about pools, as a user types them.

use std::path::Path;
use std::process::Stdio;

use foundry::record::{RunnerNote, RunnerState};
use foundry_jobs::{JobDatabase, PoolRow};
use foundry_runner::{JobState, PoolWish};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::{Ran, foundry};
use crate::support::deadline::CommandInTime as _;
use crate::support::http::{Reply, Server};

const POOL: &str = "# mine
apiVersion: foundry.cofront.xyz/v1alpha1
kind: RunnerPool
metadata: {name: linux}
spec:
  forge: {github: {url: https://github.com/acme, tokenFile: /etc/foundry/token}}
  labels: [linux]
  size: {max: 4}
  template:
    vcpus: 2
    memoryGiB: 4
    bootDisk: {sizeGiB: 20, image: runner.qcow2}
    networkInterfaces: [{network: default}]
";

fn run(directory: &TempDir, args: &[&str]) -> Ran {
    let mut command = foundry(args);
    command.env("FOUNDRY_RUNNER_DIRECTORY", directory.path().join("runners"));
    command.env("FOUNDRY_RUNNER_DATABASE", directory.path().join("runner.db"));
    command.current_dir(directory.path());
    Ran::from(command.stdin(Stdio::null()).output_in_time().unwrap())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn apply_puts_a_pool_where_the_controller_reads_it() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("pool.yaml");
    let target = directory.path().join("runners/linux.yaml");
    std::fs::write(&file, POOL).unwrap();
    let apply = |more: &[&str]| run(&directory, &[&["apply", "pool.yaml"], more].concat());
    assert_eq!(apply(&["--dry-run"]).stdout, "runnerpool/linux created (dry run)\n");
    assert!(!target.exists());
    for (text, word) in [
        (POOL.to_owned(), "created"),
        (POOL.to_owned(), "unchanged"),
        (POOL.replace("max: 4", "max: 5"), "configured"),
    ] {
        std::fs::write(&file, &text).unwrap();
        let ran = apply(&[]);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (0, format!("runnerpool/linux {word}\n").as_str()),
            "{}",
            ran.said
        );
        assert_eq!(read(&target), text, "with its comments");
    }
    // A pool has one description.
    let other = directory.path().join("runners/other.yaml");
    std::fs::rename(&target, &other).unwrap();
    let ran = apply(&[]);
    assert!(ran.code != 0 && ran.said.contains("is described by") && !target.exists(), "{}", ran.said);
    std::fs::rename(&other, &target).unwrap();
    let wrong = POOL.replace("max: 4", "max: 0").replace("vcpus: 2", "vcpus: 0");
    std::fs::write(&file, wrong).unwrap();
    let ran = apply(&[]);
    assert_eq!(ran.code, 2);
    for path in ["spec.size.max", "spec.template.vcpus", "nothing was changed"] {
        assert!(ran.said.contains(path), "{}", ran.said);
    }
    assert!(read(&target).contains("max: 5"));
    std::fs::write(&file, format!("{POOL}---\n{}", POOL.replace("linux", "other"))).unwrap();
    assert!(apply(&[]).said.contains("write each pool into a file of its own"));
    // Somebody's link is not followed.
    std::fs::remove_file(&target).unwrap();
    std::os::unix::fs::symlink("/nowhere/else", &target).unwrap();
    std::fs::write(&file, POOL).unwrap();
    let ran = apply(&[]);
    assert!(ran.code != 0 && ran.said.contains("not a regular file"), "{}", ran.said);
}

#[test]
fn fields_of_a_pool_are_explained() {
    let directory = TempDir::new().unwrap();
    let explain = |path: &str| run(&directory, &["explain", path]);
    let whole = explain("runnerpool");
    assert!(whole.stdout.starts_with("KIND:       RunnerPool\n"), "{}", whole.stdout);
    let size = explain("RunnerPool.spec.size").stdout;
    assert!(
        size.contains("FIELD:      spec.size <Object> -required-") && size.contains("maxConcurrentStarts"),
        "{size}"
    );
    assert!(explain("runnerpool.spec.sizes").said.contains("spec.size"));
}

#[test]
fn a_user_sees_and_asks_without_a_controller() {
    let directory = TempDir::new().unwrap();
    let without = run(&directory, &["runner", "pools"]);
    assert!(without.code == 1 && without.said.contains("there is no database"), "{}", without.said);
    let mut database = JobDatabase::open(&directory.path().join("runner.db")).unwrap();
    let pool = PoolRow {
        name: "linux".into(),
        mode: PoolWish::Serve,
        min_idle: 1,
        max: 4,
        labels: vec!["linux".into(), "x64".into()],
        trouble: Some("no \u{1b}[31mred".into()),
        forge_answered: None,
        seen: 1_700_000_000,
    };
    database.record_pool(&pool).unwrap();
    let note = RunnerNote::new("linux", "t", 1_700_000_000).moved(RunnerState::Busy, 1_700_000_050);
    database.record_runners("linux", &[("linux-aaaaaaaa".into(), note)], 1_700_000_060).unwrap();
    let hostile = super::database::job("7", JobState::Queued);
    let hostile = foundry_runner::JobEvent { name: "a\u{1b}]0;title\u{7}\nb".into(), ..hostile };
    database.record_event(&hostile, Some("linux"), 1_700_000_000).unwrap();
    for args in
        [&["runner", "pools", "-o", "wide"][..], &["runner", "jobs"], &["runner", "get", "linux-aaaaaaaa"]]
    {
        let ran = run(&directory, args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.said);
        assert!(!ran.stdout.contains(['\u{1b}', '\u{7}']), "{args:?}: {:?}", ran.stdout);
    }
    let json = |args: &[&str]| -> Value {
        serde_json::from_str(&run(&directory, &[args, &["-o", "json"]].concat()).stdout).unwrap()
    };
    assert_eq!(json(&["runner", "pools"])[0]["runners"]["busy"], 1);
    assert_eq!(json(&["runner", "get", "linux-aaaaaaaa"])["busy"], "2023-11-14T22:14:10Z");
    assert_eq!(json(&["runner", "jobs", "linux", "--state", "queued"])[0]["repository"], "acme/shop");
    for (args, code) in [
        (&["runner", "scale", "linux"][..], 64),
        (&["runner", "scale", "linux", "--max", "0"], 2),
        (&["runner", "scale", "linux", "--min-idle", "9"], 2),
        (&["runner", "pause", "other"], 1),
        (&["runner", "delete", "linux-bbbbbbbb"], 1),
        (&["runner", "get", "linux-bbbbbbbb"], 1),
        (&["runner", "jobs", "other"], 1),
        (&["runner", "drain", "linux", "--wait", "0s"], 6),
    ] {
        let ran = run(&directory, args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.said);
    }
    for args in [
        &["runner", "scale", "linux", "--max", "2"][..],
        &["runner", "pause", "linux"],
        &["runner", "rotate", "linux"],
        &["runner", "delete", "linux-aaaaaaaa", "--force"],
    ] {
        let ran = run(&directory, args);
        assert!(ran.code == 0 && ran.said.contains("no controller is at work"), "{args:?}: {}", ran.said);
    }
    let noted = database.pool_override("linux").unwrap();
    assert_eq!((noted.mode, noted.max, noted.min_idle), (Some(PoolWish::Pause), Some(2), None));
    assert_eq!(database.runner_wishes().unwrap()["linux-aaaaaaaa"].as_str(), "kill");
}

#[test]
fn a_controller_that_nobody_could_reach_is_refused() {
    let directory = TempDir::new().unwrap();
    let secret = directory.path().join("hook");
    let webhook = format!("  demand: {{webhook: {{secretFile: {}}}}}\n  labels:", secret.display());
    std::fs::write(directory.path().join("pool.yaml"), POOL.replace("  labels:", &webhook)).unwrap();
    let serve = |more: &[&str]| {
        let base = ["-c", "test:///default", "runner", "serve", "pool.yaml", "--once"];
        run(&directory, &[&base[..], more].concat())
    };
    let listen = ["--listen", "127.0.0.1:0"];
    assert!(serve(&[]).said.contains("nothing listens for it"));
    assert!(
        serve(&listen).said.contains("the webhook's secret of pool 'linux' cannot be taken: cannot read")
    );
    for (text, mode, said) in [
        ("short", 0o600, "fewer than 16 characters"),
        ("long enough to be a secret", 0o644, "other users can read"),
    ] {
        std::fs::write(&secret, text).unwrap();
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let ran = serve(&listen);
        assert!(ran.code == 1 && ran.said.contains(said) && !ran.said.contains(text), "{}", ran.said);
    }
}

/// On libvirt's test driver, which can run no VM of the pool: its forge and its secrets are looked at all the same.
#[test]
fn doctor_asks_the_forge_and_looks_for_the_secrets() {
    let directory = TempDir::new().unwrap();
    let (token, secret) = (directory.path().join("token"), directory.path().join("hook"));
    for (file, text) in [(&token, "ghp_a-token-of-the-test"), (&secret, "short")] {
        std::fs::write(file, text).unwrap();
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let server = Server::start(|_| Reply::new(200, r#"{"total_count": 0, "runners": []}"#));
    let webhook = format!("  demand: {{webhook: {{secretFile: {}}}}}\n  labels:", secret.display());
    let examine = |url: &str| -> Vec<Value> {
        let text = POOL.replace("https://github.com/acme", &format!("{url}/acme"));
        let text = text.replace("/etc/foundry/token", &token.display().to_string());
        std::fs::write(directory.path().join("pool.yaml"), text.replace("  labels:", &webhook)).unwrap();
        let ran = run(&directory, &["-c", "test:///default", "doctor", "pool.yaml", "-o", "json"]);
        assert!(ran.code != 0 && !ran.said.contains("ghp_"), "{}", ran.said);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        report["checks"].as_array().unwrap().clone()
    };
    let check = |checks: &[Value], name: &str| checks.iter().find(|one| one["name"] == name).unwrap().clone();
    let checks = examine(&server.url(""));
    assert_eq!(
        (&check(&checks, "forge")["state"], &check(&checks, "forge")["object"]),
        (&"ok".into(), &"linux".into())
    );
    let webhook = check(&checks, "webhook");
    assert_eq!((&webhook["state"], &webhook["code"]), (&"problem".into(), &"FND-1424".into()), "{webhook}");
    // Port 1 is nobody's.
    let forge = check(&examine("http://127.0.0.1:1"), "forge");
    assert_eq!((&forge["state"], &forge["code"]), (&"problem".into(), &"FND-3008".into()), "{forge}");
}

/// A pipe can be read once only, and a VM needs no directory of pools.
#[test]
fn apply_reads_a_pipe_once_and_needs_no_home() {
    let command = "printf 'kind: nothing\\n' | \"$FOUNDRY\" -c test:///default apply /dev/stdin";
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", command]).env_clear().env("FOUNDRY", env!("CARGO_BIN_EXE_foundry"));
    shell.env("PATH", std::env::var("PATH").unwrap());
    let ran = Ran::from(shell.stdin(Stdio::null()).output_in_time().unwrap());
    assert!(ran.said.contains("nothing"), "{}", ran.said);
}
