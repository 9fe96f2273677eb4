//! What a runner's guest gets: its manifest, its user-data as cloud-init judges it, and the script, run against a
//! metadata service.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foundry::domain_xml::check_patch;
use foundry::garm::{BootstrapInstance, InstanceOwner, ProviderConfig, runner_manifest};
use foundry::manifest::VirtualMachine;
use foundry::plan::VmPlan;
use serde_json::{Value, json};

use super::{CONTROLLER, POOL, instance};
use crate::pure::cloud_init::schema::assert_valid;
use crate::support::command::skip_without;
use crate::support::deadline::CommandInTime as _;
use crate::support::http::{Reply, Request, Server};
use crate::support::manifests;

fn example() -> ProviderConfig {
    let text = std::fs::read_to_string("examples/garm/provider.yaml").unwrap();
    ProviderConfig::parse(&text, "examples/garm/provider.yaml").unwrap()
}

fn manifest_of(changes: Value) -> VirtualMachine {
    let mut changes = changes;
    if changes["image"].is_null() {
        changes["image"] = "debian-12".into();
    }
    let asked = BootstrapInstance::from_json(instance(changes).to_string().as_bytes()).unwrap();
    let owner = InstanceOwner { controller: CONTROLLER, pool: Some(POOL) };
    runner_manifest(&asked, &example(), owner).unwrap()
}

fn plan_of(changes: Value) -> VmPlan {
    let plan = VmPlan::from_manifest(&manifest_of(changes), &manifests::defaults()).unwrap();
    check_patch(&plan).unwrap();
    plan
}

#[test]
fn a_pool_overrides_the_configuration() {
    let plan = plan_of(json!({}));
    assert_eq!((plan.vcpus, plan.boot_disk.size.0 >> 30, plan.autostart), (2, 20, false));
    assert_eq!(plan.xml_patch.len(), 1, "isolated is a default of the example");
    assert_eq!(plan.labels["garm-pool"], POOL);
    let specs =
        json!({"vcpus": 3, "bootDiskGiB": 30, "isolated": false, "bridge": "br0", "firmware": "bios"});
    let plan = plan_of(json!({"extra_specs": specs, "flavor": "large"}));
    assert_eq!((plan.vcpus, plan.memory.0 >> 30, plan.boot_disk.size.0 >> 30), (3, 16, 30));
    assert!(plan.xml_patch.is_empty());
}

#[test]
fn cloud_init_accepts_the_user_data() {
    let full = json!({
        "ssh-keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD"],
        "ca-cert-bundle": STANDARD.encode("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"),
        "proxy_config": {"http_proxy": "http://p:1", "https_proxy": "", "no_proxy": "a,b"},
        "user_data_options": {"extra_packages": ["git"]},
        "extra_specs": {"pre_install_scripts": {"10-a": STANDARD.encode("#!/bin/sh\ntrue\n")}},
    });
    for changes in [json!({}), full] {
        let plan = plan_of(changes);
        assert_valid(&plan, plan.seed.as_ref().unwrap());
    }
}

/// The install script that the guest gets.
fn script_of(changes: Value) -> String {
    let manifest = manifest_of(changes);
    let user_data = manifest.spec.cloud_init.unwrap().user_data.unwrap();
    let documents = foundry::yaml::read_manifests(&user_data).unwrap();
    let config: Value = foundry::yaml::read(&documents.nodes[0]).unwrap();
    let files = config["write_files"].as_array().unwrap();
    let file = files.iter().find(|file| file["path"] == "/install_runner.sh").unwrap();
    String::from_utf8(STANDARD.decode(file["content"].as_str().unwrap()).unwrap()).unwrap()
}

/// A home of the runner's user in which a runner is installed, and a sudo that only notes its words.
fn lay_out(home: &Path) {
    let runner = home.join("actions-runner/bin");
    std::fs::create_dir_all(&runner).unwrap();
    std::fs::write(runner.join("runsvc.sh"), "#!/bin/sh\n").unwrap();
    let tools = home.join("tools");
    std::fs::create_dir(&tools).unwrap();
    let program = |path: &Path, text: &str| {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    };
    program(&tools.join("sudo"), "#!/bin/sh\necho \"$*\" >>\"$HOME/sudo.log\"\n");
    program(
        &home.join("actions-runner/config.sh"),
        "#!/bin/sh\nprintf '<%s>' \"$@\" >\"$HOME/config.log\"\n",
    );
    std::fs::write(home.join("actions-runner/.runner"), "{\n  \"agentId\": 42,\n  \"agentName\": \"x\"\n}\n")
        .unwrap();
}

/// Runs a script as the runner's user would; whether it succeeded.
fn run_script(script: &str, home: &Path) -> bool {
    let file = home.join("install.sh");
    std::fs::write(&file, script).unwrap();
    let path = format!("{}:{}", home.join("tools").display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("bash");
    command.arg(&file).env_clear().env("HOME", home).env("USER", "runner").env("PATH", path);
    command.output_in_time().unwrap().status.success()
}

fn has_curl() -> bool {
    let found = Command::new("curl").arg("--version").output_in_time().is_ok();
    if !found {
        skip_without("curl", "curl");
    }
    found
}

/// GARM's metadata and callback service, which knows one token.
fn garm_service(request: &Request) -> Reply {
    if request.header("authorization") != Some("Bearer a-token-of-garm") {
        return Reply::new(401, "");
    }
    match request.path.as_str() {
        "/m/credentials/runner" => Reply::new(200, "the runner"),
        "/m/credentials/credentials" => Reply::new(200, "the credentials"),
        "/m/credentials/credentials_rsaparams" => Reply::new(200, "the key"),
        "/m/system/service-name" => Reply::new(200, "actions.runner.acme"),
        "/m/systemd/unit-file?runAsUser=runner" => Reply::new(200, "[Service]\n"),
        "/m/runner-registration-token/" => Reply::new(200, "a-registration"),
        "/c/status" | "/c/system-info/" => Reply::new(200, ""),
        _ => Reply::new(404, ""),
    }
}

#[test]
fn the_script_installs_a_runner_with_its_credentials() {
    if !has_curl() {
        return;
    }
    let server = Server::start(garm_service);
    let urls = json!({"callback-url": server.url("/c/status"), "metadata-url": server.url("/m")});
    let home = tempfile::tempdir().unwrap();
    lay_out(home.path());
    assert!(run_script(&script_of(urls), home.path()));
    let read = |file: &str| std::fs::read_to_string(home.path().join(file)).unwrap();
    assert_eq!(read("actions-runner/.runner"), "the runner");
    assert_eq!(read("actions-runner/.credentials_rsaparams"), "the key");
    assert_eq!(read("actions-runner/.service"), "actions.runner.acme.service");
    let done = read("sudo.log");
    assert!(done.contains("/etc/systemd/system/actions.runner.acme.service\n"), "{done}");
    assert!(done.contains("systemctl enable --now actions.runner.acme.service\n"), "{done}");
    // The token is dead once the runner is idle: that comes last.
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths[paths.len() - 2..], ["/c/system-info/", "/c/status"], "{paths:?}");
}

#[test]
fn the_script_registers_a_runner_without_credentials() {
    if !has_curl() {
        return;
    }
    let server = Server::start(garm_service);
    let home = tempfile::tempdir().unwrap();
    lay_out(home.path());
    let asked = json!({
        "callback-url": server.url("/c"), "metadata-url": server.url("/m/"), "jit_config_enabled": false,
        "labels": ["self-hosted", "$(touch x)"], "github-runner-group": "My Group",
    });
    assert!(run_script(&script_of(asked), home.path()));
    let read = |file: &str| std::fs::read_to_string(home.path().join(file)).unwrap();
    let words = read("config.log");
    assert!(
        words.starts_with(
            "<--unattended><--ephemeral><--url><https://github.com/acme><--token><a-registration>"
        )
    );
    assert!(
        words.ends_with("<--labels><self-hosted,$(touch x)><--no-default-labels><--runnergroup><My Group>")
    );
    assert!(read("sudo.log").ends_with("./svc.sh install runner\n./svc.sh start\n"));
}

#[test]
fn the_script_tells_garm_of_its_failure() {
    if !has_curl() {
        return;
    }
    let server = Server::start(|request| match request.path.as_str() {
        "/m/credentials/credentials" => Reply::new(404, ""),
        _ => garm_service(request),
    });
    let home = tempfile::tempdir().unwrap();
    lay_out(home.path());
    let urls = json!({"callback-url": server.url("/c"), "metadata-url": server.url("/m")});
    assert!(!run_script(&script_of(urls), home.path()));
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths[paths.len() - 2..], ["/m/credentials/credentials", "/c/status"], "{paths:?}");
}
