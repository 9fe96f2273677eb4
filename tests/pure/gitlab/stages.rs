//! The stages as GitLab Runner runs them: libvirt's test driver has the VM of a job, and an ssh runs the guest's side.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::{CONFIG, config, job};
use crate::support::bench::Bench;
use crate::support::command::{Ran, foundry};
use crate::support::deadline::CommandInTime as _;
use crate::support::manifests::KEY;
use foundry::gitlab::job_vm::JobVm;
use foundry::gitlab::vms::{create_job_vm, plan_job_vm};
use foundry::host::Domains;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Takes the last argument for the guest's command and runs it here, with the guest's `/run` in a directory.
const SSH: &str = r#"
printf '%s\n' "$@" >>"$TMPDIR/arguments"
for command; do :; done
command=$(printf '%s' "$command" | sed "s,/run/,$TMPDIR/,g")
exec sh -c "$command"
"#;

/// The directory of a job, and a host with the VM of job 7.
struct Runner {
    directory: TempDir,
    /// What foundry gets besides.
    variables: Vec<(&'static str, String)>,
}

impl Runner {
    fn new() -> Self {
        let bench = Bench::new();
        let (context, job) = (bench.context(), job(7));
        let vm = JobVm::of_job(&config(), &job);
        let plan = plan_job_vm(&context, &config(), (&job, &vm), KEY).unwrap();
        create_job_vm(&context, &job, &plan).unwrap();
        let domain = bench.host.domain(&vm.name).unwrap().unwrap();
        let mut record: Value = serde_json::from_str(&domain.record.unwrap()).unwrap();
        // The test driver has no leases.
        record["manifest"]["spec"]["networkInterfaces"][0]["ip"] = json!("10.0.0.1/24");
        let record = record.to_string().replace('&', "&amp;").replace('<', "&lt;");
        let runner = Self { directory: tempfile::tempdir().unwrap(), variables: Vec::new() };
        let node = format!(
            "<node><domain type='test'><name>{}</name><uuid>{}</uuid><memory>8192</memory><vcpu>1</vcpu>\
             <os><type>hvm</type></os><metadata><foundry:vm xmlns:foundry='http://foundry.cofront.xyz/v1alpha1'>\
             {record}</foundry:vm></metadata></domain></node>",
            vm.name, domain.uuid
        );
        fs::create_dir(runner.at("bin")).unwrap();
        runner.write("node.xml", &node);
        runner.write("executor.yaml", &format!("{CONFIG}shell: sh\n"));
        runner.ssh(SSH);
        runner
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    fn at(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    fn ssh(&self, script: &str) {
        let file = self.at("bin/ssh");
        fs::write(&file, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, stage: &[&str]) -> Command {
        let config = self.at("executor.yaml");
        let mut command = foundry(&[&["gitlab-executor"], stage, &["--executor-config", &config]].concat());
        command
            .env("FOUNDRY_CONNECT", format!("test://{}", self.at("node.xml")))
            .env("PATH", format!("{}:/usr/bin:/bin", self.at("bin")))
            .env("TMPDIR", self.directory.path())
            .env("BUILD_FAILURE_EXIT_CODE", "11")
            .env("SYSTEM_FAILURE_EXIT_CODE", "12")
            .env("BUILD_EXIT_CODE_FILE", self.at("code"))
            .env("CUSTOM_ENV_CI_JOB_ID", "7")
            .env("CUSTOM_ENV_CI_SERVER_HOST", "gitlab.example.com")
            .env("CUSTOM_ENV_SECRET", "hunter2")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    fn runs(&self, stage: &[&str]) -> Ran {
        let ran = Ran::from(self.command(stage).output_in_time().unwrap());
        assert!(!ran.said.contains("hunter2"), "{}", ran.said);
        ran
    }

    /// Runs a script, and returns the noted exit code besides.
    fn script(&self, script: &str) -> (Ran, Option<String>) {
        self.write("script.sh", script);
        let ran = self.runs(&["run", &self.at("script.sh"), "build_script"]);
        (ran, fs::read_to_string(self.at("code")).ok())
    }
}

#[test]
fn config_is_one_json_object() {
    let ran = Runner::new().runs(&["config"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        answer,
        json!({
            "driver": {"name": "foundry", "version": env!("CARGO_PKG_VERSION")},
            "hostname": "gitlab-7",
            "builds_dir": "/builds",
            "cache_dir": "/cache",
            "builds_dir_is_shared": false,
            "shell": "sh",
        })
    );
}

#[test]
fn failures_of_the_executor_are_system_failures() {
    let refuses = |runner: Runner, stage: &[&str], code: &str| {
        let ran = runner.runs(stage);
        assert_eq!(ran.code, 12, "{stage:?}: {}", ran.said);
        assert_eq!((ran.code_of_error.as_deref(), ran.stdout.as_str()), (Some(code), ""), "{}", ran.said);
    };
    let damaged = |text: &str| {
        let runner = Runner::new();
        runner.write("executor.yaml", text);
        runner
    };
    for stage in [&["config"][..], &["prepare"], &["run", "x.sh", "x"], &["cleanup"]] {
        refuses(Runner::new().with("CUSTOM_ENV_CI_JOB_ID", "seven"), stage, "FND-1411");
        refuses(Runner::new().with("JOB_RESPONSE_FILE", "/missing"), stage, "FND-1411");
        refuses(damaged("usr: ci\n"), stage, "FND-1004");
        refuses(damaged("user: ci\n"), stage, "FND-2001");
        refuses(Runner::new().with("FOUNDRY_CONFIG", "/missing.yaml"), stage, "FND-1001");
    }
    for stage in [&["prepare"][..], &["run", "x.sh", "x"], &["cleanup"]] {
        refuses(Runner::new().with("FOUNDRY_CONNECT", "test:///missing"), stage, "FND-3000");
    }
    refuses(Runner::new().with("TMPDIR", "relative"), &["prepare"], "FND-1411");
    refuses(Runner::new(), &["run", "/missing.sh", "x"], "FND-1001");
    for (variable, other) in
        [("CUSTOM_ENV_CI_JOB_ID", "8"), ("CUSTOM_ENV_CI_SERVER_HOST", "gitlab.example.org")]
    {
        refuses(Runner::new().with(variable, other), &["run", "x.sh", "x"], "FND-4002");
    }
    let runner = Runner::new();
    fs::set_permissions(runner.at("executor.yaml"), fs::Permissions::from_mode(0o666)).unwrap();
    refuses(runner, &["config"], "FND-1001");
}

#[test]
fn image_that_is_not_allowed_fails_the_job() {
    let ran = Runner::new().with("CUSTOM_ENV_CI_JOB_IMAGE", "ruby:3.3").runs(&["prepare"]);
    assert_eq!((ran.code, ran.code_of_error.as_deref()), (11, Some("FND-1412")), "{}", ran.said);
}

#[test]
fn script_ends_a_stage_as_it_ends_itself() {
    let runner = Runner::new();
    let (ran, noted) = runner.script("echo out; echo err >&2; echo $0 >>\"$TMPDIR/scripts\"");
    assert_eq!((ran.code, ran.stdout.as_str(), ran.said.as_str()), (0, "out\n", "err\n"));
    assert_eq!(noted, None);
    for code in [7, 254, 255] {
        let (ran, noted) = runner.script(&format!("echo out; exit {code}"));
        assert_eq!((ran.code, ran.stdout.as_str(), ran.said.as_str()), (11, "out\n", ""), "{code}");
        assert_eq!(noted, Some(format!("{code}\n")));
    }
}

#[test]
fn failure_of_ssh_is_no_failure_of_the_script() {
    for ssh in ["echo lost >&2; exit 255", "kill -KILL $$"] {
        let runner = Runner::new();
        runner.ssh(&format!("{ssh}\n"));
        let (ran, noted) = runner.script("exit 0");
        assert_eq!(
            (ran.code, ran.code_of_error.as_deref(), noted),
            (12, Some("FND-1414"), None),
            "{}",
            ran.said
        );
    }
    let runner = Runner::new();
    fs::remove_file(runner.at("bin/ssh")).unwrap();
    let runner = runner.with("PATH", "/missing");
    assert_eq!(runner.script("exit 0").0.code, 12);
}

#[test]
fn ssh_uses_the_jobs_key_and_the_vms_host_key_only() {
    let runner = Runner::new();
    runner.script("exit 0");
    let arguments = fs::read_to_string(runner.at("arguments")).unwrap();
    let (key, known) = (runner.at("foundry-job-7-key"), runner.at("foundry-job-7-known-hosts"));
    for line in [
        "HostName=10.0.0.1",
        "User=root",
        "HostKeyAlias=gitlab-7",
        "StrictHostKeyChecking=yes",
        &format!("UserKnownHostsFile={known}"),
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        "ControlMaster=no",
        "ControlPath=none",
        &key,
    ] {
        assert!(arguments.lines().any(|argument| argument == line), "{line}\n{arguments}");
    }
    assert_eq!(fs::metadata(&known).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(known).unwrap().starts_with("gitlab-7 ssh-ed25519 "));
    assert!(!arguments.contains("hunter2"));
}

#[test]
fn cleanup_without_a_vm_has_nothing_to_do() {
    let ran = Runner::new().with("CUSTOM_ENV_CI_JOB_ID", "8").runs(&["cleanup"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.said.as_str()), (0, "", ""));
}
