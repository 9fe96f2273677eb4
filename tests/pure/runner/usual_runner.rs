//! The commands that run a forge's own runner in a guest, with a program in its place.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use foundry_runner::{RunnerPoolPlan, load_runner_pools};

use crate::support::manifests;

/// The guest's part of a pool at a forge.
fn guest_of(forge: &str) -> foundry_runner::RunnerGuestPlan {
    let text = format!(
        "
apiVersion: foundry.cofront.xyz/v1alpha1
kind: RunnerPool
metadata: {{name: ci}}
spec:
  forge: {{{forge}: {{url: https://git.example.com, scope: user, tokenFile: /t}}}}
  labels: [linux]
  size: {{max: 1}}
  template:
    {{vcpus: 1, memoryGiB: 1, bootDisk: {{sizeGiB: 4, image: x.qcow2}}, networkInterfaces: [{{network: default}}]}}
"
    );
    let pool = load_runner_pools(&text, "pool.yaml").unwrap().remove(0);
    RunnerPoolPlan::from_manifest(&pool, &manifests::defaults(), "foundry-here").unwrap().guest
}

/// Runs the command as the guest does; returns what the program of this name, a script, wrote into the file `out`.
fn run(command: &str, program: &str, script: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(program);
    std::fs::write(&file, format!("#!/bin/sh\n{script}")).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    let status = Command::new("sh")
        .args(["-c", command])
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", directory.path().display()))
        .env("RUNNER_CONFIGURATION", r#"{"a": "$(touch x) `id` \\ 'q' \"w\""}"#)
        .current_dir(directory.path())
        .stdin(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(!directory.path().join("x").exists(), "the configuration is no command");
    std::fs::read_to_string(directory.path().join("out")).unwrap()
}

#[test]
fn forgejos_runner_gets_its_configuration_by_a_pipe() {
    let guest = guest_of("forgejo");
    let script = r#"{ echo "$@"; cat "$3"; ls; env | grep -c RUNNER_CONFIGURATION; umask; } >out"#;
    let out = run(&guest.run, "forgejo-runner", script);
    assert_eq!(
        out,
        "one-job --config /dev/stdin --wait\n{\"a\": \"$(touch x) `id` \\\\ 'q' \\\"w\\\"\"}\nforgejo-runner\nout\n0\n0022\n"
    );
    assert_eq!(guest.directory, "/home/runner");
}

#[test]
fn giteas_runner_finds_its_file() {
    let guest = guest_of("gitea");
    let script =
        r#"{ echo "$@"; cat .runner; stat -c %a .runner; env | grep -c RUNNER_CONFIGURATION; umask; } >out"#;
    for program in ["gitea-runner", "act_runner"] {
        let out = run(&guest.run, program, script);
        assert_eq!(
            out, "daemon\n{\"a\": \"$(touch x) `id` \\\\ 'q' \\\"w\\\"\"}\n600\n0\n0022\n",
            "{program}"
        );
    }
    assert_eq!(guest.directory, "/home/runner");
}

/// The log of a runner is where the guest's start puts it.
#[test]
fn a_task_in_the_log_is_a_job() {
    for forge in ["forgejo", "gitea"] {
        let busy = guest_of(forge).busy;
        for (log, is_alive, works) in [
            ("level=info msg=\"task 12 repo is acme/shop https://a https://b\"", true, true),
            ("level=info msg=\"task 12 repo is acme/shop https://a https://b\"", false, false),
            ("level=info msg=\"Starting job\"", true, false),
            ("", true, false),
        ] {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("log"), log).unwrap();
            let pid = if is_alive { std::process::id().to_string() } else { "x".into() };
            std::fs::write(directory.path().join("pid"), pid).unwrap();
            let here = busy.replace("/run/foundry-runner", directory.path().to_str().unwrap());
            assert_ne!(here, busy);
            let ended = Command::new("sh").args(["-c", &here]).output().unwrap();
            assert_eq!(ended.status.success(), works, "{log} {is_alive}");
        }
    }
}
