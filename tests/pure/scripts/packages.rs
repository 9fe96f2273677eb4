//! The installation of packages.

use super::Machine;
use std::path::Path;

fn has_apt() -> bool {
    let found = Path::new("/usr/bin/dpkg").exists();
    if !found {
        println!("skipped: there is no dpkg");
    }
    found
}

const APT: [&str; 5] = ["log", "privilege", "apt", "apt_install", "packages"];

/// An apt-get whose simulations are files: `plan`, and for a suite `plan-SUITE`. As apt's own it ends with 100 where it
/// would have to remove something and may not.
const APT_GET: &str = r#"here=${0%/*}

suite=$(sed -n 's/.* -t \([^ ]*\) .*/\1/p' <<<" $* ")
plan=$here/plan${suite:+-$suite}
case " $* " in
    *" -s "*) cat "$plan"; ! grep -q '^E:' "$plan" || exit 100 ;;
    *" indextargets "*) echo "Debian|bookworm|http://mirror.example.com/debian/|/dev/null:1" ;;
esac"#;

fn apt_machine(plans: &[(&str, &str)]) -> Machine {
    let machine = Machine::new();
    machine.program("apt-get", APT_GET);
    machine.program("dpkg-query", "exit 1");
    for (name, text) in plans {
        std::fs::write(machine.path().join(name), text).unwrap();
    }
    machine
}

/// All that changed something: one installation at most, and never without its guards.
fn installed(machine: &Machine) -> Vec<String> {
    let asked = machine.asked_for("<install>");
    assert!(
        asked.iter().all(|line| line.contains("<--no-remove>") && !line.contains("downgrades")),
        "{asked:?}"
    );
    asked.into_iter().filter(|line| !line.contains("<-s>")).collect()
}

const BOOKWORM: &str = "os_release() { echo bookworm; }; package_family() { echo debian; };";

const REMOVES: &str = "The following packages will be REMOVED:\n  qemu-utils\nRemv qemu-utils [1:10.0]\n\
    E: Packages need to be removed but remove is disabled.\n";

const FINE: &str = "Inst libc6 [2.36-9] (2.36-10 Debian:12/stable [amd64])\nInst one (1.0 Debian:12/stable [amd64])\n\
    Inst two (2.0 Debian:12/stable [amd64]) []\nConf one (1.0)\n";

#[test]
fn what_can_be_installed_is_installed_at_once_and_noted() {
    if !has_apt() {
        return;
    }
    let machine = apt_machine(&[("plan", FINE)]);
    let (well, said) = machine.runs(&APT, &format!("{BOOKWORM} packages_install one two"));
    assert!(well && said.contains("newer versions of installed packages: libc6"), "{said}");
    let done = installed(&machine);
    assert!(done.len() == 1 && done[0].ends_with("<install> <one> <two>"), "{done:?}");
    let noted = |name: &str| std::fs::read_to_string(machine.path().join("notes").join(name)).unwrap();
    assert_eq!((noted("packages").as_str(), noted("upgraded").as_str()), ("one\ntwo\n", "libc6 2.36-9\n"));
}

#[test]
fn what_would_remove_something_comes_from_backports() {
    if !has_apt() {
        return;
    }
    let machine = apt_machine(&[("plan", REMOVES), ("plan-bookworm-backports", FINE)]);
    let (well, said) = machine.runs(&APT, &format!("{BOOKWORM} packages_install one two"));
    assert!(well, "{said}");
    let done = installed(&machine);
    assert!(
        done.len() == 1 && done[0].ends_with("<install> <-t> <bookworm-backports> <one> <two>"),
        "{done:?}"
    );
    assert!(machine.path().join("foundry-bookworm-backports.list").exists());
}

/// Some plans harm without an error of apt's: a pinned version that is older, or a machine that allows it.
#[test]
fn what_removes_or_downgrades_is_never_installed() {
    if !has_apt() {
        return;
    }
    let downgrades = "Inst qemu-utils [1:10.0.2] (1:7.2 Debian:12/stable [amd64])\n";
    let removes = "Remv libvirt0 [9.0]\nInst one (1.0 Debian:12/stable [amd64])\n";
    let purges = "Purg libvirt0 [9.0]\n";
    let unmet = "The following packages have unmet dependencies:\n qemu-utils : Breaks: qemu-system-common (< 1:8.0)\n\
        E: Unable to correct problems, you have held broken packages.\n";
    let told = [
        (REMOVES, "qemu-utils would be removed"),
        (downgrades, "qemu-utils would be downgraded from 1:10.0.2 to 1:7.2"),
        (removes, "libvirt0 would be removed"),
        (purges, "libvirt0 would be removed"),
        (unmet, "qemu-utils : Breaks: qemu-system-common (< 1:8.0)"),
    ];
    for (plan, reason) in told {
        for newest in ["packages_install", "packages_install_newest"] {
            let machine = apt_machine(&[("plan", plan), ("plan-bookworm-backports", plan)]);
            let (well, said) = machine.runs(&APT, &format!("{BOOKWORM} {newest} one two"));
            assert!(!well && said.contains(reason) && said.contains("nothing was installed"), "{said}");
            assert!(installed(&machine).is_empty());
            let left = machine.path().join("foundry-bookworm-backports.list");
            assert!(!left.exists(), "a suite that did not help goes again");
        }
    }
}

#[test]
fn a_program_that_is_missing_after_all_is_named() {
    let machine = Machine::new();
    machine.program("qemu-img", "");
    let script =
        "command() { [[ $2 != qemu-img && $2 != virtqemud && $2 != libvirtd ]]; }; programs_check build host";
    let (well, said) = machine.runs(&APT, script);
    assert!(
        !well && said.contains("not on this machine after installing: qemu-img libvirtd|virtqemud"),
        "{said}"
    );
}
