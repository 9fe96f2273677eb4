//! The executor's configuration file.

use std::time::Duration;

use super::{CONFIG, config};
use crate::support::manifests::defaults;
use foundry::gitlab::executor_config::{ExecutorConfig, ScriptShell};
use foundry::operations::vm::wait::Goal;

fn refusal(text: &str) -> String {
    ExecutorConfig::parse(text, "executor.yaml", &defaults()).unwrap_err().message().to_owned()
}

#[test]
fn config_without_the_rest_has_the_defaults() {
    let config = config();
    assert_eq!(
        (config.user.as_str(), config.shell, config.name_prefix.as_str()),
        ("root", ScriptShell::Bash, "gitlab")
    );
    assert_eq!((config.builds_dir.as_str(), config.cache_dir.as_str()), ("/builds", "/cache"));
    assert_eq!(config.wait_for, Goal::Ssh);
    assert_eq!(config.start_timeout, Duration::from_secs(300));
    assert_eq!(config.job_timeout, Duration::from_secs(3600));
}

/// The message about an unknown field lists the known ones, so that no list has to be kept here.
#[test]
fn example_is_read_and_shows_every_field() {
    let root = env!("CARGO_MANIFEST_DIR");
    let text = std::fs::read_to_string(format!("{root}/examples/gitlab/gitlab-executor.yaml")).unwrap();
    let config = ExecutorConfig::parse(&text, "executor.yaml", &defaults()).unwrap();
    assert_eq!((config.user.as_str(), config.wait_for), ("ci", Goal::CloudInit));
    let seed = config.template.cloud_init.unwrap();
    assert!(seed.user_data.unwrap().contains("name: ci"), "a mapping becomes text");
    let message = refusal("qqq: 1\n");
    let known = message.split_once("known fields are ").unwrap_or_else(|| panic!("{message}")).1;
    assert!(known.split(", ").count() >= 10, "{known}");
    for field in known.split(", ") {
        assert!(text.contains(&format!("\n{field}:")), "{field} is not in the example");
    }
}

#[test]
fn unknown_fields_and_wrong_types_are_refused_together() {
    let text = CONFIG.replace("vcpus: 1", "vcpu: 1").replace("images: [", "images: [{a: b}, ") + "usr: ci\n";
    let message = refusal(&text);
    for line in [
        "executor.yaml:3:3: template.vcpu: unknown field; did you mean 'vcpus'?",
        "executor.yaml:7:10: images[0]: expected text, got a mapping",
        "executor.yaml:8:1: usr: unknown field; did you mean 'user'?",
    ] {
        assert!(message.contains(line), "{line}\n{message}");
    }
}

#[test]
fn wrong_values_are_refused_together() {
    let message = refusal(
        "
template:
  memoryGiB: 0
  bootDisk: {sizeGiB: 10, image: debian-12}
  networkInterfaces:
    - {network: default, macAddress: '52:54:00:12:34:56'}
    - {bridge: br0, ip: 10.0.0.1/24, addresses: ['2001:db8::1/64']}
  cloudInit: {rawUserData: '#cloud-config'}
images: [good, '../bad']
namePrefix: Web!
user: 'a;b'
shell: fish
buildsDir: builds/..
cacheDir: /
waitFor: agent
startTimeout: soon
jobTimeout: 0s
",
    );
    for path in [
        "template.vcpus: ",
        "template.memoryGiB: ",
        "template.networkInterfaces[0].macAddress: \"52:54:00:12:34:56\" would be the same for each job's VM",
        "template.networkInterfaces[1].ip: \"10.0.0.1/24\" would be the same",
        "template.networkInterfaces[1].addresses: ",
        "template.cloudInit.rawUserData: would replace the job's key",
        "images[1]: \"../bad\"",
        "namePrefix: \"Web!\"",
        "user: \"a;b\"",
        "shell: \"fish\" is unknown",
        "buildsDir: \"builds/..\"",
        "cacheDir: \"/\"",
        "waitFor: \"agent\" is unknown; use ssh or cloud-init",
        "startTimeout: \"soon\"",
        "jobTimeout: \"0s\"",
    ] {
        assert!(message.contains(&format!("\n  {path}")), "{path}\n{message}");
    }
    assert!(!message.contains("\n  spec."), "{message}");
}

#[test]
fn file_is_one_document_with_a_template() {
    assert!(refusal("user: ci\n").contains("template: is required"));
    assert!(refusal("").contains("must contain one YAML document"));
    assert!(refusal(&format!("{CONFIG}---\nuser: ci\n")).contains("must contain one YAML document"));
    assert!(refusal("template: [").contains("not YAML"));
}

#[test]
fn prefix_leaves_room_for_the_number_of_a_job() {
    let with = |prefix: &str| {
        ExecutorConfig::parse(&format!("{CONFIG}namePrefix: {prefix}\n"), "executor.yaml", &defaults())
    };
    let longest = with(&"a".repeat(40)).unwrap();
    assert!(with(&"a".repeat(41)).is_err());
    let vm = foundry::gitlab::job_vm::JobVm::of_job(&longest, &super::job(u64::MAX));
    assert!(vm.name.parse::<foundry::names::VmName>().is_ok(), "{}", vm.name);
}
