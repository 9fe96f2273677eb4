//! GARM's provider on a real libvirtd, called as GARM calls it: without arguments, with an environment of its own.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::live::{Bed, Foundry, Ran, Started};

const CONTROLLER: &str = "6f1c2a30-0000-4000-8000-000000000001";
const OTHER_CONTROLLER: &str = "6f1c2a30-0000-4000-8000-000000000002";
const POOL: &str = "9d3b5e70-0000-4000-8000-000000000001";

/// One GARM beside a bed.
struct Garm<'a> {
    bed: &'a Bed,
    controller: &'static str,
    config: String,
}

impl<'a> Garm<'a> {
    fn new(bed: &'a Bed) -> Self {
        let config = bed.home().join("garm.yaml").display().to_string();
        let text = json!({
            "connect": bed.uri(),
            "imagePool": bed.image_pool(),
            "images": { "tiny": "tiny.qcow2" },
            "sshKeys": [bed.public_key()],
            "labels": { "made-for": "a test" },
            "defaults": { "bridge": bed.bridge(), "isolated": true },
        });
        std::fs::write(&config, text.to_string()).unwrap();
        Self { bed, controller: CONTROLLER, config }
    }

    /// The provider as GARM starts it, by the name of its link.
    fn command(&self, command: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Foundry {
        let mut program = Command::new(env!("CARGO_BIN_EXE_foundry"));
        program.arg0("/usr/libexec/garm/garm-provider-foundry").args(arguments).env_clear().current_dir("/");
        // All that GARM would pass on with environment_variables = ["FOUNDRY_"].
        let passed = self.bed.variables().into_iter();
        program.envs(passed.filter(|(name, _)| name.starts_with("FOUNDRY_") && *name != "FOUNDRY_CONNECT"));
        program.envs([
            ("GARM_INTERFACE_VERSION", "v0.1.0"),
            ("GARM_COMMAND", command),
            ("GARM_CONTROLLER_ID", self.controller),
            ("GARM_PROVIDER_CONFIG_FILE", &self.config),
        ]);
        program.envs(variables.iter().copied());
        Foundry::of(program)
    }

    fn creation(&self, name: &str, arguments: &[&str]) -> Foundry {
        let instance = json!({
            "name": name, "os_type": "linux", "arch": "amd64", "flavor": "1c1g1d", "image": "tiny",
            "tools": null, "labels": null, "ssh-keys": null, "pool_id": POOL, "jit_config_enabled": true,
            "callback-url": "http://127.0.0.1:1/callbacks", "metadata-url": "http://127.0.0.1:1/metadata",
            "instance-token": "a-token-of-garm", "ca-cert-bundle": "", "github-runner-group": "",
            "user_data_options": { "disable_updates_on_boot": true, "extra_packages": null },
            "extra_specs": { "memoryGiB": 0.25, "runner_install_template": "ZWNobyBpbnN0YWxsCg==" },
            "proxy_config": { "http_proxy": "", "https_proxy": "", "no_proxy": "" }, "added_later": {},
        });
        self.command("CreateInstance", &[("GARM_POOL_ID", POOL)], arguments).reads(instance)
    }

    #[track_caller]
    fn creates(&self, name: &str) -> Value {
        answer(self.creation(name, &[]).run())
    }

    #[track_caller]
    fn lists(&self) -> Vec<Value> {
        let listed = answer(self.command("ListInstances", &[("GARM_POOL_ID", POOL)], &[]).run());
        listed.as_array().unwrap().clone()
    }

    fn on_instance(&self, command: &str, instance: &str) -> Ran {
        self.command(command, &[("GARM_INSTANCE_ID", instance)], &[]).run()
    }
}

/// What a successful call prints: one document, and nothing on stderr.
#[track_caller]
fn answer(ran: Ran) -> Value {
    let ran = ran.exits(0).tells("");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:#?}"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn a_runner_lives_as_garm_wants_it() {
    let Some(bed) = Bed::with_tiny("garm") else { return };
    let garm = Garm::new(&bed);
    let other = Garm { controller: OTHER_CONTROLLER, ..Garm::new(&bed) };
    let name = bed.name("Runner");
    let vm = name.to_lowercase();
    assert_eq!(garm.lists(), Vec::<Value>::new());

    let made = garm.creates(&name);
    assert_eq!((text(&made, "name"), text(&made, "status")), (name.as_str(), "running"));
    let id = text(&made, "provider_id").to_owned();
    let xml = bed.virsh().definition(&vm);
    assert!(xml.contains(&id) && xml.contains("<port isolated='yes'/>"), "{xml}");
    assert!(!xml.contains("a-token-of-garm"), "{xml}");
    let seen = bed.get(&vm);
    assert_eq!(seen["metadata"]["labels"]["garm-controller"], CONTROLLER);
    assert_eq!(seen["metadata"]["labels"]["made-for"], "a test");
    assert_eq!(seen["status"]["autostart"], false);

    for instance in [&id, &name] {
        let shown = answer(garm.on_instance("GetInstance", instance));
        assert_eq!((text(&shown, "provider_id"), text(&shown, "status")), (id.as_str(), "running"));
    }
    assert_eq!(garm.lists().len(), 1);

    // Another controller neither sees it nor deletes it.
    assert_eq!(other.lists(), Vec::<Value>::new());
    other.on_instance("GetInstance", &id).exits(30).prints("").mentions("has no instance");
    other.on_instance("DeleteInstance", &id).exits(0).prints("").tells("");
    other.command("RemoveAllInstances", &[], &[]).run().exits(0).prints("").tells("");
    assert_eq!(bed.virsh().state(&vm), "running");

    // GARM repeats a failed creation with the same name: the rest of the earlier one goes.
    let again = garm.creates(&name);
    let second = text(&again, "provider_id").to_owned();
    assert_ne!(second, id);
    garm.on_instance("GetInstance", &id).exits(30);

    // One that was stopped is kept, and can be started.
    garm.on_instance("StopInstance", &second).exits(0).prints("").tells("");
    assert_eq!(text(&garm.lists()[0], "status"), "stopped");
    garm.on_instance("StartInstance", &second).exits(0).prints("").tells("");
    assert_eq!(text(&garm.lists()[0], "status"), "running");

    // One whose guest has ended has done its work: GARM would boot it again.
    // QEMU may end before it answers.
    bed.virsh().tries(&["qemu-monitor-command", "--hmp", &vm, "quit"]);
    bed.virsh().waits_for(&vm, "shut off");
    garm.on_instance("GetInstance", &second).exits(30);
    garm.on_instance("StartInstance", &second).exits(30);
    assert_eq!(garm.lists(), Vec::<Value>::new());
    assert_eq!(bed.traces(), []);
    for _ in 0..2 {
        garm.on_instance("DeleteInstance", &second).exits(0).prints("").tells("");
    }
}

#[test]
fn several_at_once_and_all_removed() {
    let Some(bed) = Bed::with_tiny("garmmany") else { return };
    let garm = Garm::new(&bed);
    let names: Vec<String> = (0..6).map(|n| bed.name(&format!("r{n}"))).collect();
    let started: Vec<Started> = names.iter().map(|name| garm.creation(name, &[]).start()).collect();
    let made: BTreeSet<String> =
        started.into_iter().map(|one| text(&answer(one.end()), "provider_id").to_owned()).collect();
    assert_eq!(made.len(), names.len());
    let listed: BTreeSet<String> =
        garm.lists().iter().map(|one| text(one, "provider_id").to_owned()).collect();
    assert_eq!(listed, made);
    garm.command("RemoveAllInstances", &[], &[]).run().exits(0).prints("").tells("");
    assert_eq!(garm.lists(), Vec::<Value>::new());
    assert_eq!(bed.traces(), []);
}

#[test]
fn a_killed_creation_is_deleted_or_made_again() {
    let Some(bed) = Bed::with_tiny("garmkill") else { return };
    let garm = Garm::new(&bed);
    let name = bed.name("r");
    // The pool is there from now on, so all runs make the same calls.
    garm.creates(&name);
    garm.on_instance("DeleteInstance", &name).exits(0);
    let calls = garm.creation(&name, &["garm-provider", "-vv"]).run().exits(0).calls;
    garm.on_instance("DeleteInstance", &name).exits(0);
    let first = calls.iter().position(|call| call == "virDomainDefineXMLFlags").unwrap();
    for n in (first..calls.len()).step_by(2) {
        let mut killed = garm.creation(&name, &["garm-provider", "-vv"]).start();
        killed.until_call(n);
        killed.signal("KILL");
        killed.end();
        if (n - first) % 4 == 0 {
            // libvirtd may still be working on the last call of the killed process.
            until_gone(&bed, || drop(garm.on_instance("DeleteInstance", &name).exits(0)));
        } else {
            let again = garm.creates(&name);
            assert_eq!(text(&again, "status"), "running", "after call {n}");
            until_gone(&bed, || drop(garm.on_instance("DeleteInstance", &name).exits(0)));
        }
    }
}

/// Repeats a deletion until nothing is left; what libvirtd had received from a killed client may be made after the first.
fn until_gone(bed: &Bed, delete: impl Fn()) {
    for _ in 0..20 {
        delete();
        if bed.traces().is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    panic!("left: {:?}", bed.traces());
}
