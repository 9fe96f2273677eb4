//! What the scripts decide, with programs in the place of the machine's own that note what they are asked for.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop, and says aloud what it skips"
)]

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A directory of programs that stand before the machine's own, and of what they were asked for.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Machine {
        Machine(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A program that notes its arguments, each in `<>`, and then does `script`.
    fn program(&self, name: &str, script: &str) {
        let file = self.path().join(name);
        let note = "{ printf '%s' \"${0##*/}\"; printf ' <%s>' \"$@\"; echo; } >>\"${0%/*}/asked\"";
        std::fs::write(&file, format!("#!/bin/bash\n{note}\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs a script that has the functions of the libraries; whether it ended well, and all it said.
    fn runs(&self, libraries: &[&str], script: &str) -> (bool, String) {
        let mut text = String::from("set -euo pipefail; shopt -s inherit_errexit; exec 2>&1\n");
        for name in libraries {
            writeln!(text, ". scripts/lib/{name}.sh").unwrap();
        }
        // The libraries run as root here and elsewhere.
        writeln!(text, "as_root() {{ \"$@\"; }}\n{script}").unwrap();
        let path = format!("{}:{}", self.path().display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("timeout");
        bash.args(["60", "bash", "-c", &text]).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
        bash.env("PATH", path).env("SETUP_NOTES", self.path().join("notes")).env("APT_SOURCES", self.path());
        let done = bash.output().unwrap();
        (done.status.success(), String::from_utf8(done.stdout).unwrap())
    }

    fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path().join("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What was asked for, and has this in it.
    fn asked_for(&self, part: &str) -> Vec<String> {
        self.asked().into_iter().filter(|line| line.contains(part)).collect()
    }
}

fn has_apt() -> bool {
    let found = Path::new("/usr/bin/dpkg").exists();
    if !found {
        println!("skipped: there is no dpkg");
    }
    found
}

const LEFTOVERS: [&str; 4] = ["log", "privilege", "libvirtd", "leftovers"];

/// libvirt allows blanks in names, and a name cut at its blanks names something else.
#[test]
fn what_is_left_goes_by_its_whole_name() {
    let machine = Machine::new();
    machine.program(
        "virsh",
        r#"case "$*" in
            *" list --all --name") printf '%s\n' 'foundry-test-x t1' t1 'other foundry-test-y' ' foundry-test-z' 'foundry-test-* *' ;;
            *" net-list --all --name") printf '%s\n' 'foundry-test-n default' default ;;
            *" pool-list --all --name") printf '%s\n' 'foundry-test-p other' other ;;
            *" vol-list foundry-test-p other") printf ' %s\n' 'a b    /pool x/a b' 'b      /pool x/b' 'c  d   /pool x/c  d' '' ;;
        esac"#,
    );
    let (well, said) = machine.runs(&LEFTOVERS, "leftovers_remove");
    assert!(well, "{said}");
    let verbs = [
        "destroy",
        "undefine",
        "net-destroy",
        "net-undefine",
        "pool-destroy",
        "pool-delete",
        "pool-undefine",
    ];
    for verb in verbs {
        let right: &[&str] = match verb.split_once('-') {
            None => &["foundry-test-x t1", "foundry-test-* *"],
            Some(("net", _)) => &["foundry-test-n default"],
            Some(_) => &["foundry-test-p other"],
        };
        let asked = machine.asked_for(&format!(" <{verb}> "));
        assert_eq!(asked.len(), right.len(), "{asked:?}");
        assert!(
            asked.iter().zip(right).all(|(a, name)| a.contains(&format!("<{verb}> <{name}>"))),
            "{asked:?}"
        );
    }
    let deleted = machine.asked_for("<vol-delete>");
    let right = ["a b", "b", "c  d"].map(|v| format!("<vol-delete> <{v}> <--pool> <foundry-test-p other>"));
    assert!(deleted.len() == 3 && deleted.iter().zip(&right).all(|(a, b)| a.ends_with(b)), "{deleted:?}");
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
    assert!(well && said.contains("newer versions of what is here: libc6"), "{said}");
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
        (downgrades, "qemu-utils would go back from 1:10.0.2 to 1:7.2"),
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
