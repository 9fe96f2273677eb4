//! What the scripts decide, with programs in the place of the machine's own that note what they are asked for.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::deadline;
use crate::support::deadline::CommandInTime as _;

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
        let done = bash.output_in_time().unwrap();
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

/// A network is refused that any route or address meets, but for its own bridge's and for ways out into the world.
#[test]
fn a_network_that_is_routed_already_is_told_with_a_free_one() {
    let machine = Machine::new();
    let routes = "default via 192.0.2.1 dev eth0
0.0.0.0/1 via 192.0.2.9 dev tun0
10.20.30.0/24 dev br0 proto kernel scope link src 10.20.30.1
10.20.32.0/23 dev eth1 proto kernel scope link src 10.20.32.1
blackhole 10.20.35.0/24
172.16.0.0/12 via 192.0.2.1 dev eth0
local 10.20.31.7 dev lo table local proto kernel scope host src 10.20.31.7
broadcast 10.20.40.255 dev eth2 table local proto kernel scope link";
    machine.program("ip", &format!("cat <<'ROUTES'\n{routes}\nROUTES"));
    let asks = [
        ("taken 10.20.30", "free"),
        ("taken 10.20.31", "10.20.31.7/32 (lo)"),
        ("taken 10.20.33", "10.20.32.0/23 (eth1)"),
        ("taken 10.20.35", "10.20.35.0/24 (-)"),
        ("taken 172.20.1", "172.16.0.0/12 (eth0)"),
        ("taken 10.20.40", "free"),
        ("next_free 10.20.30", "10.20.34"),
        ("next_free 10.20.34", "10.20.36"),
        ("next_free 10.20.254", "192.168.100"),
    ];
    for (ask, right) in asks {
        let script = format!("subnet_routes br0 | subnet_{ask} || echo free");
        assert_eq!(machine.runs(&["subnet"], &script), (true, format!("{right}\n")), "{ask}");
    }
    let script =
        "for s in 10.20.30 10.20 10.20.30.0 10.20.300 a.b.c 10.20.08; do subnet_is $s && echo $s; done; true";
    assert_eq!(machine.runs(&["subnet"], script), (true, "10.20.30\n10.20.08\n".to_owned()));
}

/// A machine whose /dev/kvm has a mode, and whose QEMU may open it from 0660 on.
fn kvm_machine(mode: u32, groups: &str) -> Machine {
    let machine = Machine::new();
    let device = machine.path().join("kvm");
    std::fs::write(&device, "").unwrap();
    std::fs::set_permissions(&device, std::fs::Permissions::from_mode(mode)).unwrap();
    machine.program("getent", "true");
    machine.program("setpriv", "[[ $(stat -c %a \"${0%/*}/kvm\") == 66* ]]");
    machine.program("id", &format!("echo {groups}"));
    machine.program("chgrp", "true");
    machine
}

fn opens_kvm(machine: &Machine, script: &str) -> (String, u32) {
    let device = machine.path().join("kvm");
    let head = format!("KVM_DEVICE={} WAY_OUT_NOTES={}/run; ", device.display(), machine.path().display());
    let (well, said) = machine.runs(&["log", "privilege", "kvm_access"], &(head + script));
    assert!(well, "{said}");
    (said, std::fs::metadata(device).unwrap().permissions().mode() & 0o777)
}

/// As udev's rule does, and never wider; not where nobody said so, and not where it would not help.
#[test]
fn a_closed_kvm_is_opened_to_its_group_when_told_so() {
    let closed = || kvm_machine(0o600, "kvm libvirt-qemu");
    let (said, mode) = opens_kvm(&closed(), "kvm_open yes");
    assert!(said.ends_with("opened\n") && mode == 0o660, "{said}");
    let (said, mode) = opens_kvm(&closed(), "kvm_open no");
    assert!(said.contains("chgrp kvm") && said.ends_with("closed\n") && mode == 0o600, "{said}");
    let (said, mode) = opens_kvm(&closed(), "machine_is_throw_away() { false; }; kvm_open ''");
    assert!(said.contains("--open-kvm") && mode == 0o600, "{said}");
    let (_, mode) = opens_kvm(&closed(), "machine_is_throw_away() { true; }; kvm_open ''");
    assert_eq!(mode, 0o660);
    let (said, mode) = opens_kvm(&kvm_machine(0o600, "libvirt-qemu"), "kvm_open yes");
    assert!(said.ends_with("closed\n") && mode == 0o600, "no group kvm: {said}");
    let open = kvm_machine(0o666, "kvm");
    let (said, mode) = opens_kvm(&open, "kvm_open yes");
    assert!(said == "open\n" && mode == 0o666 && open.asked_for("chgrp").is_empty(), "{said}");
}

/// What somebody else wrote there, or changed since, stays.
#[test]
fn a_file_of_somebody_else_is_neither_written_over_nor_removed() {
    let machine = Machine::new();
    let file = machine.path().join("a file");
    let made = |script: &str| {
        let head = format!("F='{}'; ", file.display());
        machine.runs(&["log", "privilege", "made"], &(head + script)).0
    };
    let text = || std::fs::read_to_string(&file).ok();
    assert!(made("made_put \"$F\" 644 <<<one; made_put \"$F\" 644 <<<two"), "its own is written anew");
    assert_eq!(text().as_deref(), Some("two\n"));
    std::fs::write(&file, "mine\n").unwrap();
    assert!(!made("made_put \"$F\" 644 <<<three"));
    assert!(made("made_remove \"$F\""));
    assert_eq!(text().as_deref(), Some("mine\n"));
    std::fs::write(&file, "two\n").unwrap();
    assert!(made("made_remove \"$F\"; ! made_is_ours \"$F\""));
    assert_eq!(text(), None);
}

/// Under nohup, or behind `&` of a script, signals are ignored, and all that is started inherits that.
#[test]
fn what_the_runner_starts_can_be_interrupted() {
    let machine = Machine::new();
    let script = machine.path().join("script.sh");
    let text = ". scripts/lib/signals.sh\nsignals_default \"$@\"\nkill -HUP $$\necho \"$1:$(grep SigIgn /proc/self/status)\"\n";
    std::fs::write(&script, text).unwrap();
    for ignored in ["HUP", "INT QUIT", "HUP INT QUIT TERM"] {
        let line = format!("trap '' {ignored}; bash {} 'a b'", script.display());
        let (well, said) = machine.runs(&[], &line);
        if !ignored.contains("HUP") {
            assert!(!well, "a hangup that nobody ignored ends it: {said}");
            continue;
        }
        let mask = said.trim().rsplit(['\t', ' ']).next().map(|mask| u64::from_str_radix(mask, 16));
        assert!(
            well && said.starts_with("a b:") && mask.is_some_and(|m| m.is_ok_and(|m| m & 0x4007 == 0)),
            "{said}"
        );
    }
}

/// The live tests run in two lanes, and in one where no namespaces can be made: each module in one lane, none is forgotten.
#[test]
fn each_live_test_is_in_one_lane() {
    let sorted = |said: &str| -> Vec<String> {
        let mut words: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
        words.sort();
        words
    };
    let machine = Machine::new();
    let lanes = |which: &str| {
        let (well, said) =
            machine.runs(&["checks"], &format!("for lane in {which}; do live_lane $lane; done"));
        assert!(well, "{said}");
        sorted(&said)
    };
    // As `cargo test` filters: by a part of the name. The names end, so that none is a part of another.
    let filters = |modules: Vec<String>| -> Vec<String> {
        modules.iter().map(|module| format!("live::{module}::")).collect()
    };
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live")).unwrap();
    let names = files.filter_map(|file| {
        file.unwrap().file_name().to_str().and_then(|name| name.strip_suffix(".rs")).map(str::to_owned)
    });
    let all = filters(sorted(&names.collect::<Vec<_>>().join(" ")));
    assert!(all.len() > 20, "{all:?}");
    machine.program("unshare", "exit 0");
    assert_eq!(lanes("machine own"), all);
    let (_, own) = machine.runs(&["checks"], "echo $LIVE_OWN_HOST");
    assert_eq!(lanes("own"), filters(sorted(&own)));
    machine.program("unshare", "exit 1");
    assert_eq!((lanes("machine"), lanes("own")), (all, vec![]));
}

/// How long each test took follows from when the tests end: they begin in the order of their names, as many at once as
/// there are threads.
#[test]
fn the_slowest_tests_are_told() {
    let machine = Machine::new();
    let said = "(echo 'running 3 tests'; sleep 0.1; echo 'test b::x ... ok'; sleep 0.6; echo 'test a ... FAILED'; \
        echo 'test c ... ok'; echo; echo 'test result: FAILED. 2 passed; 1 failed;')";
    let script = format!(
        "STAGE_DIR=$(mktemp -d) STAGE=unit TEST_THREADS=2; {said} | tests_timed quietly; tests_slowest 2; rm -r $STAGE_DIR"
    );
    let (well, said) = machine.runs(&["log", "stages", "test_times"], &script);
    let lines: Vec<&str> = said.lines().collect();
    assert!(well && lines[..2] == ["running 3 tests", "test a ... FAILED"], "{said}");
    // It began as the first one ended, so it is not the third.
    let slowest: Vec<&str> =
        lines[lines.len() - 2..].iter().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(slowest, ["a", "c"], "{said}");
}

/// What is in a full run alone says when that was, and a run of that stage alone does not count.
#[test]
fn a_stage_of_a_full_run_says_when_it_last_went_well() {
    let machine = Machine::new();
    let head = format!(
        "shopt -s inherit_errexit; cache_dir() {{ echo {}; }}; STAGE_DIR=$(mktemp -d); one() {{ echo done; }};",
        machine.path().display()
    );
    let run = |script: &str| {
        let (_, said) = machine.runs(
            &["log", "stages", "test_times"],
            &format!("{head} {script}; stage_table; rm -r $STAGE_DIR"),
        );
        said.lines().find(|line| line.starts_with("one ")).unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    assert!(run("stage_full one one").contains("last success: not known"));
    assert!(run("ONLY=one stage_full one one").contains("ok"));
    assert!(run("stage_full one one").contains("last success: not known"));
    assert!(run("FULL=yes stage_full one one").contains("ok"));
    let left_out = run("stage_full one one");
    assert!(left_out.contains("skipped") && left_out.contains("last success: 20"), "{left_out}");
}

/// What a machine reaches at its own loopback has another address in the network of a bare machine, and only that.
#[test]
fn a_mirror_at_the_loopback_is_elsewhere_for_a_bare_machine() {
    let machine = Machine::new();
    let settings = "Acquire::http::Proxy \\\"http://127.0.0.1:3142\\\";\ndeb http://localhost/debian bookworm main\n\
        deb http://localhost.example.com/debian bookworm main\ndeb http://mirror.example.com/127.0.0.1/ bookworm main\n";
    let (well, said) = machine.runs(&["bare"], &format!("printf \"{settings}\" | bare_outer"));
    let right = "Acquire::http::Proxy \"http://10.0.2.2:3142\";\ndeb http://10.0.2.2/debian bookworm main\n\
        deb http://localhost.example.com/debian bookworm main\ndeb http://mirror.example.com/127.0.0.1/ bookworm main\n";
    assert!(well && said == right, "{said}");
}

/// A wait of a test ends, and says what was awaited.
#[test]
fn a_wait_in_vain_fails_with_what_was_awaited() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let short = std::time::Duration::from_millis(200);
    let waited = catch_unwind(AssertUnwindSafe(|| {
        deadline::within_limit("a sleeper", short, || Command::new("sleep").arg("1000").output())
    }));
    let told = *waited.unwrap_err().downcast::<String>().unwrap();
    assert!(told.contains("in vain") && told.contains("a sleeper"), "{told}");
}
