//! The inventory of a real host, and the playbook in examples/ansible on a real guest.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::deadline::CommandInTime as _;
use crate::support::live::Bed;
use serde_json::{Value, json};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/ansible");

/// Runs one of Ansible's programs with the inventory script of the examples.
fn ansible(bed: &Bed, inventory_program: &str, program: &str, line: &[&str]) -> String {
    let here = Path::new(env!("CARGO_BIN_EXE_foundry")).parent().unwrap();
    let mut command = Command::new(Path::new(inventory_program).with_file_name(program));
    command.args(["-i", "foundry-inventory"]).args(line).current_dir(EXAMPLES).env_clear();
    for (name, value) in bed.variables() {
        let value = if name == "PATH" { format!("{}:{value}", here.display()) } else { value };
        command.env(name, value);
    }
    command.env("LC_ALL", "C.UTF-8").env("ANSIBLE_NOCOLOR", "1").env("ANSIBLE_HOST_KEY_CHECKING", "False");
    command
        .env("ANSIBLE_LOCAL_TEMP", bed.home().join("ansible"))
        .env("ANSIBLE_HOME", bed.home().join("ansible"));
    std::env::var("FOUNDRY_TEST_SSH_KEY").into_iter().for_each(|key| {
        command.env("ANSIBLE_PRIVATE_KEY_FILE", key);
    });
    let done = command.stdin(Stdio::null()).output_in_time().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{program} {line:?}: {stdout}\n{stderr}");
    stdout.into_owned()
}

#[test]
fn ansible_reaches_a_guest_by_the_inventory() {
    let Some(bed) = Bed::with_tiny("inventory") else { return };
    let manifest = bed.manifest("web", 63).metadata("labels: {role: web-tier}");
    let vm = &manifest.name;
    bed.boots(&manifest);
    let listed = bed.foundry(&["inventory", "--list"]).run().exits(0);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let has = |group: &str| listed[group]["hosts"].as_array().is_some_and(|hosts| hosts.contains(&json!(vm)));
    assert!(has("label_role_web_tier") && has("state_running"), "{listed:#}");
    let vars = &listed["_meta"]["hostvars"][vm];
    assert_eq!((&vars["ansible_host"], &vars["ansible_user"]), (&json!(manifest.address()), &json!("root")));
    let one = bed.foundry(&["inventory", "--host", vm]).run().exits(0);
    assert_eq!(serde_json::from_str::<Value>(&one.stdout).unwrap(), *vars);

    let Some(program) = std::env::var("FOUNDRY_TEST_ANSIBLE").ok().filter(|path| !path.is_empty()) else {
        println!("skipped: FOUNDRY_TEST_ANSIBLE is not set, as there is no ansible-core");
        return;
    };
    let graph = ansible(&bed, &program, "ansible-inventory", &["--graph", "label_role_web_tier"]);
    assert!(graph.contains(&format!("--{vm}")), "{graph}");
    let told = ansible(&bed, &program, "ansible-playbook", &["playbook.yaml", "--limit", vm]);
    assert!(told.contains(&format!("at {} calls itself", manifest.address())), "{told}");
    assert!(told.contains("failed=0"), "{told}");
}
