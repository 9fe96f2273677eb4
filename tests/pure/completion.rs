//! What completion offers, by libvirt's test driver and by servers that misbehave. The shells themselves are in
//! `tests/live/completion.rs`.

use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::sync::Arc;

use crate::support::command::{Ran, TEST_DRIVER, foundry, run};
use crate::support::deadline::{ChildInTime as _, CommandInTime as _};
use foundry::host::{CallTimeouts, Domains, HostError, Libvirt, Pools};

/// What is offered for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let index = (words.len() - 1).to_string();
    let mut command = foundry(&[&["__complete", &index, "--"], words].concat());
    // The machine may be busy; the one that never answers has a test of its own.
    command.stdin(Stdio::null()).env("FOUNDRY_COMPLETION_TIMEOUT", "2m");
    let ran = Ran::from(command.output_in_time().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{words:?}");
    ran.stdout.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

/// The same on the test driver.
fn on_test(words: &[&str]) -> Vec<String> {
    offered(&[&["foundry", "-c", TEST_DRIVER], words].concat())
}

#[test]
fn commands_options_and_words() {
    assert_eq!(offered(&["foundry", "destr"]), ["destroy"]);
    assert!(offered(&["foundry", ""]).contains(&"create".to_owned()));
    assert!(
        !offered(&["foundry", ""]).iter().any(|word| word.starts_with('_')),
        "hidden commands stay hidden"
    );
    assert_eq!(offered(&["foundry", "create", "--wa"]), ["--wait"]);
    assert_eq!(offered(&["foundry", "create", "--wait=c"]), ["--wait=cloud-init"]);
    assert_eq!(offered(&["foundry", "list", "-o", "w"]), ["wide"]);
    assert_eq!(offered(&["foundry", "list", "--conn"]), ["--connect"], "an option of all commands");
    assert_eq!(offered(&["foundry", "pool", "add", "x", "net"]), ["netfs"]);
    assert_eq!(
        offered(&["foundry", "explain", "spec.bootDisk.im"]),
        ["spec.bootDisk.image", "spec.bootDisk.imagePool"]
    );
    assert_eq!(offered(&["foundry", "explain", "FND-600"]), ["FND-6000", "FND-6001", "FND-6002", "FND-6003"]);
    assert_eq!(offered(&["foundry", "explain", "fnd-900"]), ["fnd-9000", "fnd-9001"]);
    assert!(!offered(&["foundry", "explain", ""]).iter().any(|word| word.starts_with("FND-")));
    assert_eq!(offered(&["foundry", "image", "pull", "debian-12"]), ["debian-12"]);
    // The name of a command, where an alias would do too; an alias where somebody began one.
    for (begun, name) in [("de", "destroy"), ("des", "destroy"), ("l", "list"), ("del", "delete")] {
        assert!(offered(&["foundry", begun]).contains(&name.to_owned()), "{begun}");
    }
    assert_eq!(offered(&["foundry", "pool", "l"]), ["list"]);
}

#[test]
fn files_are_the_shells_business() {
    for words in [
        &["foundry", "create", ""][..],
        &["foundry", "render", "vm", "x"],
        &["foundry", "image", "import", "/tm"],
        &["foundry", "image", "import", "--checksum", "S"],
        &["foundry", "image", "import", "--checksum=S"],
        &["foundry", "image", "export", "x", "y"],
        &["foundry", "--storage-path", "/"],
    ] {
        assert_eq!(offered(words), ["<files>"], "{words:?}");
    }
    assert_eq!(offered(&["foundry", "create", "--dry"]), ["--dry-run"]);
}

/// Wherever the help says VM, POOL, IMAGE or DISK, names of them are offered.
#[test]
fn names_are_those_on_the_host() {
    for command in [
        &["destroy"][..],
        &["get"],
        &["vm", "info"],
        &["disk", "list"],
        &["disk", "resize"],
        &["disk", "attach"],
        &["disk", "detach"],
    ] {
        assert_eq!(on_test(&[command, &[""]].concat()), ["test"], "{command:?}");
    }
    for command in ["info", "start", "stop", "refresh", "delete"] {
        assert_eq!(on_test(&["pool", command, "def"]), ["default-pool"], "{command}");
    }
    assert_eq!(on_test(&["create", "--pool", ""]), ["default-pool"]);
    assert_eq!(on_test(&["--vm-pool", "d"]), ["default-pool"]);
    assert_eq!(on_test(&["disk", "resize", "test", ""]), ["vda"]);
    assert_eq!(on_test(&["destroy", "x"]), [""; 0]);
    // Where the connection is named behind the command, too.
    assert_eq!(offered(&["foundry", "get", "-c", TEST_DRIVER, "t"]), ["test"]);
    assert_eq!(offered(&["foundry", "get", &format!("--connect={TEST_DRIVER}"), "t"]), ["test"]);
}

#[test]
fn options_are_shown_to_those_who_began_one() {
    assert_eq!(on_test(&["destroy", ""]), ["test"]);
    let options = on_test(&["destroy", "--"]);
    assert!(
        options.contains(&"--keep-disks".to_owned()) && options.iter().all(|o| o.starts_with("--")),
        "{options:?}"
    );
    assert!(
        on_test(&["destroy", "test", ""]).contains(&"--force".to_owned()),
        "what is given is not offered again"
    );
}

/// A candidate is put on the command line as it is: what a shell could act upon is none.
#[test]
fn names_that_mean_something_to_a_shell_are_not_offered() {
    let directory = tempfile::tempdir().unwrap();
    let domain = |name: &str| {
        format!(
            "<domain type='test'><name>{name}</name><memory>1024</memory><os><type>hvm</type></os></domain>"
        )
    };
    let names = [
        "good",
        "a;reboot",
        "$(reboot)",
        "`reboot`",
        "a b",
        "a'b",
        "a&quot;b",
        "a&amp;b",
        "*",
        "~",
        "-rf",
        "a&#10;b",
        "a&#9;b",
        "&lt;files&gt;",
    ];
    let node: String = names.iter().map(|name| domain(name)).collect();
    let file = directory.path().join("node.xml");
    std::fs::write(&file, format!("<node>{node}</node>")).unwrap();
    let uri = format!("test://{}", file.display());
    assert_eq!(offered(&["foundry", "-c", &uri, "destroy", ""]), ["good"]);
}

#[test]
fn what_fails_is_silent() {
    for uri in [
        "qemu+unix:///system?socket=/nonexistent",
        "nonsense://",
        "qemu+ext:///system?command=/bin/false",
        "a\u{1b}b",
    ] {
        for words in [
            &["destroy", "w"][..],
            &["pool", "info", "p"],
            &["image", "info", "i"],
            &["disk", "resize", "web", "v"],
        ] {
            assert_eq!(offered(&[&["foundry", "-c", uri], words].concat()), [""; 0], "{uri} {words:?}");
        }
    }
    // What is wrong in the environment is told by commands, and not behind a TAB.
    let mut command = foundry(&["__complete", "2", "--", "foundry", "destroy", "w"]);
    let ran = Ran::from(command.env("FOUNDRY_STORAGE_PATH", "relative").output_in_time().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
}

/// A daemon that takes the connection and says nothing: the prompt comes back. Were it to wait, this test would not end.
#[test]
fn a_daemon_that_does_not_answer_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let _mute = UnixListener::bind(&socket).unwrap();
    let uri = format!("qemu+unix:///system?socket={}", socket.display());
    let ran = run(&["__complete", "4", "--", "foundry", "-c", &uri, "destroy", "w"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
}

#[test]
fn names_are_asked_for_by_a_connection_that_can_only_look() {
    let host = Libvirt::connect_read_only(TEST_DRIVER, Arc::new(()), CallTimeouts::default()).unwrap();
    let domain = host.domain("test").unwrap().unwrap();
    for refused in [host.force_off(domain.uuid), host.undefine(domain.uuid), host.stop_pool("default-pool")] {
        let error = refused.unwrap_err();
        assert!(
            matches!(&error, HostError::Refused { libvirt, .. } if libvirt.contains("read only")),
            "{error:?}"
        );
    }
}

#[test]
fn the_scripts_start_no_daemon_and_are_printed_whole() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completion", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.stdout.contains("LIBVIRT_AUTOSTART=0 command foundry __complete"), "{}", ran.stdout);
    }
    assert_eq!(run(&["completion", "tcsh"]).code, 64);
    let ran = foundry(&["completion", "bash"]).stdout(Stdio::piped()).output_in_time().unwrap();
    let mut check = std::process::Command::new("bash");
    let mut child = check.arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &ran.stdout).unwrap();
    assert!(child.wait_in_time().unwrap().success());
}
