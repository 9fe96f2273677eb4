//! TAB in bash, zsh and fish on a terminal, with a real libvirtd.

use std::path::Path;
use std::process::Command;

use crate::support::deadline::CommandInTime as _;
use crate::support::live::{Bed, Foundry};

/// What a shell makes of lines with a TAB behind them.
fn completed(bed: &Bed, shell: &str, lines: &[String]) -> Vec<String> {
    let python = std::env::var("FOUNDRY_TEST_PYTHON").unwrap_or("/usr/bin/python3".into());
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python/keys.py")).arg(shell);
    command.current_dir(bed.home()).env_clear();
    let program = Path::new(env!("CARGO_BIN_EXE_foundry")).parent().unwrap();
    for (name, value) in bed.variables() {
        let value = if name == "PATH" { format!("{}:{value}", program.display()) } else { value };
        command.env(name, value);
    }
    command.env("FOUNDRY_COMPLETION_TIMEOUT", "2m");
    // Fish and zsh tell letters apart by it.
    command.env("LC_ALL", "C.UTF-8");
    let ran = Foundry::of(command).reads(lines.join("\n")).run().exits(0);
    ran.stdout.lines().map(str::to_owned).collect()
}

/// What tells a bridge from the others of this machine (Linux: /sys/class/net/NAME/bridge).
fn begun(bridge: &str) -> &str {
    let names = std::fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap());
    let bridges = names.filter(|entry| entry.path().join("bridge").exists());
    let others: Vec<String> =
        bridges.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name != bridge).collect();
    let is_own = |end: &usize| !others.iter().any(|other| other.starts_with(&bridge[..*end]));
    &bridge[..(1..bridge.len()).find(is_own).unwrap_or(bridge.len())]
}

fn has(shell: &str) -> bool {
    let found = Command::new(shell).arg("--version").output_in_time().is_ok();
    assert!(found || std::env::var("FOUNDRY_TEST_REQUIRE").as_deref() != Ok("1"), "{shell} is missing");
    if !found {
        println!("skipped: {shell} is missing");
    }
    found
}

#[test]
fn a_tab_completes_names_in_each_shell() {
    let Some(bed) = Bed::with_tiny("compl") else { return };
    let vm = bed.name("web");
    bed.virsh().defines("define", &format!(
        "<domain type='qemu'><name>{vm}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os><devices><disk type='file' device='disk'>\
         <source file='/nonexistent'/><target dev='vdq' bus='virtio'/></disk></devices></domain>"
    ));
    std::fs::write(bed.home().join("a manifest.yaml"), "").unwrap();
    let uri = bed.uri();
    let cases = [
        ("foundry destr".to_owned(), "destroy".to_owned()),
        (format!("foundry destroy {}", bed.name("w")), format!("destroy {vm}")),
        // Readline breaks words at colons.
        (format!("foundry -c {uri} get {}", bed.name("w")), format!("-c {uri} get {vm}")),
        (format!("foundry get --connect={uri} {}", bed.name("w")), format!("get --connect={uri} {vm}")),
        (format!("foundry pool info {}", bed.name("im")), format!("pool info {}", bed.image_pool())),
        ("foundry image info ti".to_owned(), "image info tiny.qcow2".to_owned()),
        (format!("foundry disk resize {vm} vd"), format!("disk resize {vm} vdq")),
        (format!("foundry init --bridge {}", begun(bed.bridge())), format!("init --bridge {}", bed.bridge())),
        ("foundry create --wait=cl".to_owned(), "create --wait=cloud-init".to_owned()),
        ("foundry create a".to_owned(), "create a manifest.yaml".to_owned()),
        ("foundry explain spec.ne".to_owned(), "explain spec.networkInterfaces".to_owned()),
        ("foundry destroy nosuch".to_owned(), "destroy nosuch".to_owned()),
    ];
    let before = bed.virsh().does(&["dumpxml", &vm]);
    for shell in ["bash", "zsh", "fish"].into_iter().filter(|shell| has(shell)) {
        let lines: Vec<String> = cases.iter().map(|(line, _)| line.clone()).collect();
        let became = completed(&bed, shell, &lines);
        let expected: Vec<&String> = cases.iter().map(|(_, whole)| whole).collect();
        assert_eq!(became.iter().map(|line| line.trim_end()).collect::<Vec<_>>(), expected, "{shell}");
    }
    assert_eq!(bed.virsh().does(&["dumpxml", &vm]), before, "completion changes nothing");
}
