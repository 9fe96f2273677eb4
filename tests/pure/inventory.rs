//! The inventory for Ansible: which VMs are in it, their groups and variables, and what the real Ansible makes of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::bench::{Bench, whole};
use crate::support::command::on_test;
use crate::support::deadline::CommandInTime as _;
use crate::support::faults::each_fault;
use crate::support::manifests::{SMALL, WEB, plan, plan_with};
use foundry::Code;
use foundry::host::memory::Guest;
use foundry::host::{AddressSource, DomainState, GuestAddress};
use foundry::operations::vm::inventory::{get_host_vars, list_inventory};

const HOSTILE: &str = "{{ lookup('pipe', 'touch PWNED') }} {% raw %}";

fn listed(bench: &Bench, context: Option<&str>) -> Value {
    serde_json::to_value(list_inventory(&bench.context(), context).unwrap()).unwrap()
}

#[test]
fn a_vm_is_in_the_groups_of_its_labels_pool_state_and_context() {
    let bench = Bench::with_web();
    let inventory = listed(&bench, Some("my lab"));
    let groups = ["context_my_lab", "label_role_web", "pool_foundry_vms", "state_running"];
    for group in groups {
        assert_eq!(inventory[group], json!({ "hosts": ["web"] }), "{group}");
    }
    assert_eq!(inventory["all"]["children"], json!([&groups[..], &["ungrouped"]].concat()));
    assert_eq!(inventory.as_object().unwrap().len(), 2 + groups.len(), "{inventory:#}");
    let vars = &inventory["_meta"]["hostvars"]["web"];
    for (name, value) in [
        ("ansible_host", json!("10.0.0.1")),
        ("ansible_user", json!("root")),
        ("foundry_state", json!("running")),
        ("foundry_addresses", json!(["10.0.0.1"])),
        ("foundry_pools", json!(["foundry-vms"])),
        ("foundry_image", json!("foundry-images:debian-12")),
        ("foundry_fqdn", json!("web.example.com")),
        ("foundry_vcpus", json!(2)),
        ("foundry_memory_gib", json!(4)),
        ("foundry_labels", json!({ "role": "web" })),
        ("foundry_annotations", json!({})),
        ("foundry_uuid", json!(bench.host.uuid_of("web").unwrap().to_string())),
    ] {
        assert_eq!(vars[name], value, "{name}: {vars:#}");
    }
    let one = serde_json::to_value(get_host_vars(&bench.context(), "web").unwrap()).unwrap();
    assert_eq!(one, *vars);
    bench.host.set_state("web", DomainState::ShutOff);
    assert_eq!(listed(&bench, None)["state_shut_off"]["hosts"], json!(["web"]));
}

#[test]
fn only_complete_vms_of_foundry_are_in_it() {
    let bench = Bench::with_web();
    let error = get_host_vars(&bench.context(), "other").unwrap_err();
    assert_eq!(error.code(), Code::NotFoundrys, "{}", whole(&error));
    assert_eq!(get_host_vars(&bench.context(), "nobody").unwrap_err().code(), Code::VmMissing);
    for state in ["creating", "destroying"] {
        bench.edit_record("web", |record| record["state"] = state.into());
        assert_eq!(
            listed(&bench, Some("lab")),
            json!({ "_meta": { "hostvars": {} }, "all": { "children": ["ungrouped"] } }),
            "{state}"
        );
        assert_eq!(get_host_vars(&bench.context(), "web").unwrap_err().code(), Code::NotFoundrys);
    }
}

#[test]
fn a_guest_with_dhcp_has_the_address_of_its_lease_while_it_runs() {
    let bench = Bench::new();
    let dhcp = [(
        "{ip: 10.0.0.1/24, gateway: 10.0.0.254, dnsServers: [10.0.0.254], bridge: br0}",
        "{network: default}",
    )];
    bench.create(&plan_with(WEB, &dhcp)).unwrap();
    let vars = |bench: &Bench| listed(bench, None)["_meta"]["hostvars"]["web"].clone();
    assert_eq!(vars(&bench).get("ansible_host"), None);
    let lease = GuestAddress { mac: "52:54:00:00:00:01".into(), ip: [10, 9, 8, 7].into(), prefix: 24 };
    bench.host.set_guest("web", Guest::new().address(AddressSource::Lease, 0, lease));
    assert_eq!(vars(&bench)["ansible_host"], "10.9.8.7");
    bench.host.set_state("web", DomainState::ShutOff);
    assert_eq!(vars(&bench).get("ansible_host"), None);
}

/// Its user-data may let in anybody, and is not in the record.
#[test]
fn no_user_is_named_for_user_data_that_is_not_foundrys() {
    let user = |plan| {
        let bench = Bench::new();
        bench.create(&plan).unwrap();
        let hosts = listed(&bench, None)["_meta"]["hostvars"].clone();
        hosts.as_object().unwrap().values().next().unwrap().get("ansible_user").cloned()
    };
    assert_eq!(user(plan(WEB)), Some(json!("root")));
    assert_eq!(user(plan(SMALL)), None, "it has no seed");
    let text = WEB.replace("    sshAuthorizedKeys: [KEY]\n    passwordHash: HASH\n", "");
    let text =
        text.replace("userData: {runcmd: [\"echo token-of-the-user\"]}", "rawUserData: \"#!/bin/sh\\n\"");
    assert_eq!(user(plan(&text)), None, "its user-data is its own");
}

/// Somebody who may edit the metadata of a domain must not run commands where the playbook runs.
#[test]
fn text_of_a_record_is_never_a_template() {
    let bench = hostile_bench();
    let inventory = listed(&bench, None);
    let vars = &inventory["_meta"]["hostvars"]["web"];
    let marked = json!({ "__ansible_unsafe": HOSTILE });
    assert_eq!(vars["foundry_labels"]["note"], marked);
    assert_eq!(vars["foundry_annotations"]["note"], marked);
    assert_eq!(vars["foundry_image"], marked);
    assert_eq!(vars["foundry_addresses"], json!([]), "that is no address");
    let whole = inventory.to_string();
    assert_eq!(whole.matches("{{").count(), whole.matches("__ansible_unsafe\":\"{{").count(), "{whole}");
    bench.host.rename("web", "a{{ 1 }}");
    assert_eq!(listed(&bench, None)["_meta"]["hostvars"], json!({}));
    assert!(bench.told.warnings()[0].contains("is not in the inventory"), "{:?}", bench.told.warnings());
}

fn hostile_bench() -> Bench {
    let bench = Bench::with_web();
    bench.edit_record("web", |record| {
        record["image"] = HOSTILE.into();
        record["createdAt"] = HOSTILE.into();
        record["manifest"]["metadata"]["labels"] = json!({ "note": HOSTILE });
        record["manifest"]["metadata"]["annotations"] = json!({ "note": HOSTILE, "plain": "yes" });
        record["manifest"]["spec"]["cloudInit"]["fqdn"] = HOSTILE.into();
        record["manifest"]["spec"]["networkInterfaces"][0]["ip"] = HOSTILE.into();
        record["volumes"][0]["pool"] = HOSTILE.into();
    });
    bench
}

#[test]
fn a_fault_at_any_call_is_an_error() {
    let faults = each_fault(
        Bench::with_web,
        |bench| list_inventory(&bench.context(), None),
        |_, outcome, _, label| assert!(outcome.is_err(), "{label}"),
    );
    assert!(faults > 1, "{faults}");
}

#[test]
fn the_command_needs_one_of_its_two_flags() {
    let ran = on_test(&["inventory"]);
    assert_eq!(ran.code, 64, "{}", ran.stderr);
    assert_eq!(on_test(&["inventory", "--list", "--host", "test"]).code, 64);
    assert_eq!(on_test(&["inventory", "--host", "nobody"]).code, 4);
    let ran = on_test(&["inventory", "--host", "test"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{}", ran.stderr);
    let ran = on_test(&["inventory", "--list"]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json, json!({ "_meta": { "hostvars": {} }, "all": { "children": ["ungrouped"] } }));
}

/// The folder of Ansible's programs, if there are any.
fn ansible() -> Option<PathBuf> {
    let set = std::env::var_os("FOUNDRY_TEST_ANSIBLE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path =
        || std::env::split_paths(&path).map(|dir| dir.join("ansible-inventory")).find(|f| f.is_file());
    let found = set.or_else(on_path);
    if found.is_none() {
        println!("skipped: there is no ansible-inventory (pip install ansible-core)");
    }
    Some(found?.parent()?.to_owned())
}

/// Runs one of Ansible's programs on a script that prints an inventory.
fn run_ansible(programs: &Path, directory: &Path, inventory: &Value, line: &[&str]) -> String {
    let script = directory.join("inventory");
    std::fs::write(directory.join("inventory.json"), inventory.to_string()).unwrap();
    std::fs::write(&script, "#!/bin/sh\nexec cat \"${0%/*}/inventory.json\"\n").unwrap();
    Command::new("chmod").arg("755").arg(&script).status_in_time().unwrap();
    let mut command = Command::new(programs.join(line[0]));
    command.args(["-i", script.to_str().unwrap()]).args(&line[1..]).current_dir(directory);
    command.env("HOME", directory).env("ANSIBLE_NOCOLOR", "1").env("ANSIBLE_LOCALHOST_WARNING", "0");
    let done = command.stdin(Stdio::null()).output_in_time().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && !stderr.contains("WARNING"), "{line:?}: {stdout}\n{stderr}");
    stdout.into_owned()
}

#[test]
fn the_real_ansible_reads_it() {
    let Some(programs) = ansible() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_web();
    bench.create(&plan(SMALL)).unwrap();
    bench.next_operation();
    let inventory = listed(&bench, Some("lab"));
    let text = run_ansible(&programs, directory.path(), &inventory, &["ansible-inventory", "--list"]);
    let read: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(read["_meta"]["hostvars"], inventory["_meta"]["hostvars"]);
    for (group, hosts) in inventory.as_object().unwrap() {
        if group != "all" && group != "_meta" {
            assert_eq!(read[group], *hosts, "{group}");
        }
    }
    let graph = run_ansible(&programs, directory.path(), &inventory, &["ansible-inventory", "--graph"]);
    assert!(graph.contains("@label_role_web:\n  |  |--web"), "{graph}");
}

#[test]
fn the_real_ansible_runs_nothing_that_a_record_says() {
    let Some(programs) = ansible() else { return };
    let directory = tempfile::tempdir().unwrap();
    let inventory = listed(&hostile_bench(), None);
    let debug = |inventory: &Value| {
        let line = ["ansible", "web", "-c", "local", "-m", "debug", "-a"];
        let line =
            [&line[..], &["msg='{{ foundry_annotations.note }} {{ foundry_image }} {{ foundry_pools }}'"]]
                .concat();
        run_ansible(&programs, directory.path(), inventory, &line)
    };
    let text = debug(&inventory);
    assert!(text.contains("touch PWNED"), "{text}");
    assert!(!directory.path().join("PWNED").exists());
    // Without the mark it runs: otherwise this test shows nothing.
    let unmarked = inventory.to_string().replace(
        &json!({ "__ansible_unsafe": HOSTILE }).to_string(),
        "\"{{ lookup('pipe', 'touch PWNED') }}\"",
    );
    debug(&serde_json::from_str(&unmarked).unwrap());
    assert!(directory.path().join("PWNED").exists());
}
