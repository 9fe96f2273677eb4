//! Logging in to a guest with the system's ssh, which knows the guest's host key before it boots.

use crate::support::live::{Bed, program};

const OTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD";

#[test]
fn the_guest_has_the_recorded_host_key_and_no_other_is_accepted() {
    let Some(bed) = Bed::with_tiny("ssh") else { return };
    let manifest = bed.manifest("web", 141);
    bed.boots(&manifest);
    let (vm, key) = (manifest.name.as_str(), bed.private_key());

    let ssh = |command: &[&str]| bed.foundry(&[&["ssh", vm, "-i", key, "--"], command].concat()).run();
    // Without a terminal ssh would fail where it has to ask.
    ssh(&["hostname"]).exits(0).prints(&format!("{vm}\n")).tells("");
    ssh(&["echo", "out;", "echo", "err", ">&2;", "exit", "42"]).exits(42).prints("out\n").tells("err\n");
    let piped = bed.foundry(&["ssh", vm, "-i", key, "--", "cat"]).reads("from here\n").run();
    piped.exits(0).prints("from here\n");

    let config = bed.foundry(&["ssh-config"]).run().exits(0).stdout;
    let file = bed.home().join("ssh.conf");
    std::fs::write(&file, config).unwrap();
    let file = file.to_str().unwrap();
    let plain = ["-F", file, "-i", key, "-o", "BatchMode=yes"];
    let host = vm;
    program("ssh", &[&plain[..], &[host, "hostname"]].concat()).exits(0).prints(&format!("{vm}\n"));

    // Another machine at that address has another key.
    let mut record = bed.record(vm);
    record["ssh"]["hostKeys"] = serde_json::json!([OTHER_KEY]);
    bed.set_live_record(vm, &record);
    let refused = ssh(&["hostname"]).exits(255).prints("");
    let refused = refused.mentions("Host key verification failed.").mentions("ssh ended with 255");
    assert!(!refused.stderr.contains("continue connecting"), "it asks: {refused:#?}");

    // As an older foundry made it: the first key is noted, and from then on required.
    record["ssh"] = serde_json::Value::Null;
    bed.set_live_record(vm, &record);
    let uuid = record["domain"].as_str().unwrap();
    let known = bed.home().join(".local/state/foundry/known_hosts.d").join(uuid);
    std::fs::remove_file(&known).unwrap();
    ssh(&["hostname"]).exits(0).prints(&format!("{vm}\n"));
    assert_eq!(std::fs::read_to_string(&known).unwrap().lines().count(), 1);
    std::fs::write(&known, format!("{vm} {OTHER_KEY}\n")).unwrap();
    ssh(&["hostname"]).exits(255).mentions("Host key verification failed.");
}
