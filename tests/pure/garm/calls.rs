//! The calls, with the binary and an environment that has only what GARM sets.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{CONTROLLER, POOL, instance};
use crate::support::command::{Ran, TEST_DRIVER, foundry};
use crate::support::deadline::{ChildInTime as _, CommandInTime as _};

/// A configuration whose libvirt is the test driver, in a directory of its own.
fn configuration(text: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("garm.yaml");
    std::fs::write(&file, format!("connect: {TEST_DRIVER}\n{text}")).unwrap();
    let name = file.display().to_string();
    (directory, name)
}

fn call(command: &str, config: &str, more: &[(&str, &str)]) -> Command {
    let mut program = foundry(&[]);
    program.env("GARM_COMMAND", command).env("GARM_INTERFACE_VERSION", "v0.1.0");
    program.env("GARM_CONTROLLER_ID", CONTROLLER).env("GARM_PROVIDER_CONFIG_FILE", config);
    program.envs(more.iter().copied());
    program
}

fn run(mut program: Command) -> Ran {
    Ran::from(program.stdin(Stdio::null()).output_in_time().unwrap())
}

fn create(config: &str, input: &[u8]) -> Ran {
    let mut program = call("CreateInstance", config, &[("GARM_POOL_ID", POOL)]);
    let program = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().unwrap();
    // It may have refused its environment and not read at all.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input);
    Ran::from(child.wait_with_output_in_time().unwrap())
}

#[test]
fn what_does_not_exist_is_deleted_and_not_found() {
    let (_directory, config) = configuration("");
    for instance in ["garm-1", "6695eb01-f6a4-8304-79aa-97f2502e193f", "test", "-x", "a b"] {
        let on = |command| run(call(command, &config, &[("GARM_INSTANCE_ID", instance)]));
        let deleted = on("DeleteInstance");
        assert_eq!((deleted.code, deleted.stdout.as_str(), deleted.said.as_str()), (0, "", ""), "{instance}");
        for command in ["GetInstance", "StartInstance", "StopInstance"] {
            let ran = on(command);
            assert_eq!((ran.code, ran.stdout.as_str()), (30, ""), "{command} {instance}: {}", ran.said);
            assert!(
                ran.stderr.contains(&format!("this controller has no instance '{instance}'")),
                "{}",
                ran.said
            );
        }
    }
    let listed = run(call("ListInstances", &config, &[("GARM_POOL_ID", POOL)]));
    assert_eq!((listed.code, listed.stdout.as_str()), (0, "[]\n"), "{}", listed.said);
    let removed = run(call("RemoveAllInstances", &config, &[("GARM_POOL_ID", "")]));
    assert_eq!((removed.code, removed.stdout.as_str(), removed.said.as_str()), (0, "", ""));
}

#[test]
fn questions_need_no_libvirt() {
    let answer = |command: &str| {
        let mut program = foundry(&[]);
        let ran = run({
            program.env("GARM_COMMAND", command);
            program
        });
        assert_eq!((ran.code, ran.said.as_str()), (0, ""), "{command}");
        ran.stdout
    };
    assert_eq!(answer("GetVersion"), format!("v{}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(answer("GetSupportedInterfaceVersions"), "[\"v0.1.0\",\"v0.1.1\"]\n");
    for (command, field) in [("GetConfigJSONSchema", "flavors"), ("GetExtraSpecsJSONSchema", "isolated")] {
        let schema: Value = serde_json::from_str(&answer(command)).unwrap();
        assert_eq!(schema["additionalProperties"], json!(false), "{schema}");
        assert!(schema["properties"][field]["description"].is_string(), "{schema}");
    }
}

#[test]
fn the_name_of_the_link_is_enough() {
    let (_directory, config) = configuration("");
    let mut linked = call("ListInstances", &config, &[("GARM_POOL_ID", POOL)]);
    linked.arg0("/opt/garm/providers/garm-provider-foundry");
    assert_eq!(run(linked).stdout, "[]\n");
    // Without a command, the name alone asks for one.
    let mut empty = foundry(&[]);
    empty.arg0("garm-provider-foundry");
    let ran = run(empty);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("GARM_COMMAND is not set"), "{}", ran.said);
    // With arguments, it is foundry by another name.
    let mut named = foundry(&["--version"]);
    named.arg0("garm-provider-foundry").env("GARM_COMMAND", "ListInstances");
    assert!(run(named).stdout.starts_with("foundry "));
}

#[test]
fn a_pool_is_judged_before_it_has_instances() {
    let (_directory, config) = configuration("defaults: {network: ci}\n");
    let judge = |specs: &str| run(call("ValidatePoolInfo", &config, &[("GARM_POOL_EXTRASPECS", specs)]));
    for fine in ["", "{}", "null", r#"{"vcpus": 2}"#, "eyJ2Y3B1cyI6IDJ9"] {
        let ran = judge(fine);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{fine}: {}", ran.said);
    }
    for (wrong, said) in [
        (r#"{"vcpu": 2}"#, "extra_specs:1:2: vcpu: unknown field; did you mean 'vcpus'?"),
        ("{", "neither JSON nor base64 of JSON"),
        (r#"{"runner_install_template": "e3sgLlggfX0="}"#, "runner_install_template is a template"),
        (r#"{"pre_install_scripts": {"../x": ""}}"#, "is not a file name"),
    ] {
        let ran = judge(wrong);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{wrong}");
        assert!(ran.stderr.contains(said), "{wrong}: {}", ran.said);
    }
}

#[test]
fn a_wrong_call_is_refused_in_words_without_its_token() {
    let (_directory, config) = configuration("flavors: {small: {vcpus: 2, memoryGiB: 4, bootDiskGiB: 20}}\n");
    let refused = |changes: Value, said: &str| {
        let ran = create(&config, instance(changes.clone()).to_string().as_bytes());
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{changes}: {}", ran.said);
        assert!(ran.stderr.contains(said), "{changes}: {}", ran.said);
        assert!(ran.stderr.contains("nothing was changed"), "{}", ran.said);
        assert!(!ran.said.contains("a-token-of-garm") && !ran.said.contains('\u{1b}'), "{}", ran.said);
    };
    refused(json!({"flavor": "smal"}), "did you mean small?");
    refused(json!({"flavor": "\u{1b}[2J"}), "is neither in the provider's configuration nor a size");
    refused(json!({"flavor": "2c99999999999999g20d"}), "spec.memoryGiB");
    refused(json!({"image": "/etc/shadow"}), "is not the name of an image");
    refused(json!({"image": "../x"}), "spec.bootDisk.image");
    refused(json!({"os_type": "windows"}), "foundry makes runners with linux");
    refused(json!({"arch": "i386"}), "os_arch 'i386' is not possible");
    refused(json!({"name": "a b"}), "metadata.name");
    refused(json!({"name": "x\ny"}), "metadata.name");
    refused(json!({"extra_specs": {"network": "ci", "bridge": "br0"}}), "spec.networkInterfaces");
    refused(json!({"extra_specs": {"isolate": true}}), "did you mean 'isolated'?");
    refused(json!({"ca-cert-bundle": "bm9wZQ=="}), "is not base64 of certificates");
    refused(json!({"tools": null}), "no runner to download");
    refused(json!({"ssh-keys": ["ssh-ed25519 A\nB"], "user_data_options": 7}), "wrong type");
    for input in [&b"not JSON a-token-of-garm"[..], b"", b"\xff\xfe"] {
        let ran = create(&config, input);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
        assert!(!ran.said.contains("a-token-of-garm"), "{}", ran.said);
    }
}

#[test]
fn a_wrong_configuration_is_refused_in_words() {
    let list = |config: &str| run(call("ListInstances", config, &[("GARM_POOL_ID", POOL)]));
    for (text, said) in [
        ("flavours: {}\n", "garm.yaml:2:1: flavours: unknown field; did you mean 'flavors'?"),
        ("flavors: {s: {vcpus: 1}}\n", "memoryGiB"),
        ("imagePool: a/b\n", "imagePool: 'a/b'"),
        ("connect: again\n", "connect"),
        ("a: [\n", "garm.yaml:"),
    ] {
        let (_directory, config) = configuration(text);
        let ran = list(&config);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{text}: {}", ran.said);
        assert!(ran.stderr.contains(said), "{text}: {}", ran.said);
    }
    let ran = list("/nonexistent/garm.yaml");
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("cannot read the provider's configuration /nonexistent/garm.yaml"),
        "{}",
        ran.said
    );
    // One that others could change is not obeyed: it could name another image.
    let (_directory, config) = configuration("");
    std::fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let ran = list(&config);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("other users can write to"), "{}", ran.said);
}
