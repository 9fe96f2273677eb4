//! The console and the logs of real guests: through a terminal, a pipe and another connection.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::deadline::ChildInTime as _;
use crate::support::live::{Bed, Manifest};
use crate::support::signals::terminal::Terminal;

const BOOTED: Duration = Duration::from_secs(120);

/// A terminal with `foundry console VM` in it, once the guest's shell has answered.
fn attach(bed: &Bed, arguments: &[&str]) -> Terminal {
    let mut terminal = Terminal::run_kept(bed.foundry(arguments).into_command());
    terminal.shows("Connected to the console");
    terminal.types("\r");
    terminal.shows("/ # ");
    assert!(terminal.is_raw(), "the guest echoes, not the terminal");
    terminal
}

/// Whatever ends a session, the terminal is as it was.
#[track_caller]
fn ends(terminal: Terminal, code: i32) -> String {
    let (ended, screen, is_raw) = terminal.end();
    assert_eq!((ended, is_raw), (code, false), "{screen}");
    screen
}

#[test]
fn a_console_is_used_taken_over_and_left() {
    let Some(bed) = Bed::with_tiny("console") else { return };
    let manifest: Manifest = bed.manifest("web", 63).spec("graphics: {}");
    let vm = manifest.name.as_str();
    bed.boots(&manifest);

    // The firmware has drawn on the screen; the serial console works beside it.
    let picture = bed.home().join("screen.png");
    let picture = picture.to_str().unwrap();
    bed.foundry(&["screenshot", vm, picture]).run().exits(0);
    let bytes = std::fs::read(picture).unwrap();
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.len() > 100, "{} bytes", bytes.len());
    bed.foundry(&["screenshot", vm, picture]).run().exits(1).mentions("--force overwrites it");
    let socket = bed.virsh().does(&["domdisplay", vm]);
    assert!(socket.contains("vnc") && socket.contains(".sock"), "{socket}");

    let mut terminal = attach(&bed, &["console", vm]);
    terminal.types("echo $((6*7))x\r");
    terminal.shows("42x");
    // Ctrl-C is the guest's. The command itself says that it runs: the shell has given it the terminal by then. A
    // Ctrl-C between the shell's fork and that reaches only the shell, and the command would go on.
    terminal.types("sh -c 'echo $((6*8))w; exec sleep 1000'\r");
    terminal.shows("48w");
    terminal.types("\u{3}");
    terminal.types("echo $((6*7))y\r");
    terminal.shows("42y");

    // One session at a time, and it is said who has it.
    let refused = bed.foundry(&["console", vm]).run().exits(4).has_code("FND-4316");
    refused
        .mentions(&format!("foundry (process {} of root)", terminal.pid()))
        .mentions(&format!("foundry console {vm} --force takes it over"));
    let piped = bed.foundry(&["console", vm, "--force", "--timeout", "3s"]).reads("echo $((6*7))z\n").run();
    assert!(piped.stdout.contains("42z"), "{piped:#?}");
    piped.exits(0);
    let screen = ends(terminal, 4);
    assert!(screen.contains("was taken over by another session"), "{screen}");

    let mut terminal = attach(&bed, &["console", vm]);
    terminal.types("echo ~.\r");
    terminal.shows("~.\r\n");
    terminal.types("\r~.");
    ends(terminal, 0);
    let mut terminal = attach(&bed, &["console", vm]);
    terminal.types("\u{1d}");
    ends(terminal, 0);
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let terminal = attach(&bed, &["console", vm]);
        terminal.signal(signal);
        ends(terminal, code);
    }

    // As to another machine.
    let far = bed.far_uri();
    let mut terminal = attach(&bed, &["-c", &far, "console", vm]);
    terminal.types("echo $((6*7))far\r");
    terminal.shows("42far");
    bed.foundry(&["stop", vm, "--force"]).run().exits(0);
    let screen = ends(terminal, 0);
    assert!(screen.contains(&format!("VM '{vm}' is off")), "{screen}");
    let off = bed.foundry(&["console", vm]).run().exits(4).has_code("FND-4306");
    off.mentions(&format!("foundry start {vm} starts it"));
}

/// A PATH with an ssh that runs its command here: libvirt's own ssh, too.
fn with_local_ssh(bed: &Bed) -> String {
    let directory = bed.home().join("bin");
    std::fs::create_dir(&directory).unwrap();
    let ssh = directory.join("ssh");
    std::fs::write(&ssh, "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\nexec sh -c \"$*\"\n")
        .unwrap();
    std::fs::set_permissions(&ssh, Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", directory.display(), std::env::var("PATH").unwrap())
}

#[test]
fn a_log_is_read_and_followed_across_a_restart() {
    let Some(bed) = Bed::with_tiny("logs") else { return };
    let manifest = bed.manifest("web", 64);
    let vm = manifest.name.as_str();
    bed.creates(&manifest);
    let file = format!("/var/log/libvirt/qemu/{vm}-console.log");
    // A start truncates the log, so the second one is counted in what was followed.
    let starts = |file: &Path, times: usize| {
        let begun = Instant::now();
        while std::fs::read_to_string(file).unwrap_or_default().matches("TINY-READY").count() < times {
            assert!(begun.elapsed() < BOOTED, "no {times} starts in {}", file.display());
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    starts(Path::new(&file), 1);
    let logs = |more: &[&str]| bed.foundry(&[&["logs", vm], more].concat()).run().exits(0).stdout;
    let all = logs(&[]);
    assert_eq!(all.matches("TINY-READY").count(), 1, "{all}");
    assert!(!all.contains(['\u{1b}', '\r']), "{all:?}");
    // The guest may write meanwhile.
    let raw = logs(&["--raw"]);
    assert!(
        std::fs::read_to_string(&file).unwrap().starts_with(raw.as_str()) && raw.contains("\r\n"),
        "{raw:?}"
    );
    assert_eq!(logs(&["--tail", "2"]).lines().count(), 2);
    let qemu = logs(&["--qemu"]);
    assert!(qemu.contains(": starting up libvirt") && qemu.contains(&format!("guest={vm}")), "{qemu}");

    // Of a host that is another machine it is read by ssh, which is one here that runs the command itself.
    let path = with_local_ssh(&bed);
    let by_ssh = |arguments: &[&str]| {
        bed.foundry(&[&["-c", "qemu+ssh://foundry-test-host/system", "logs", vm], arguments].concat())
            .env("PATH", &path)
    };
    assert_eq!(by_ssh(&["--raw"]).run().exits(0).stdout.matches("TINY-READY").count(), 1);
    assert_eq!(by_ssh(&["--tail", "2"]).run().exits(0).stdout, logs(&["--tail", "2"]));
    assert!(by_ssh(&["--qemu"]).run().exits(0).stdout.contains(": starting up libvirt"));

    let printed = bed.home().join("followed");
    let follow = |mut command: Command, name: &str| {
        let file = |name: String| File::create(bed.home().join(name)).unwrap();
        command.stdin(Stdio::null()).stdout(file(name.to_owned())).stderr(file(format!("{name}.told")));
        command.spawn().unwrap()
    };
    let mut follower = follow(bed.foundry(&["logs", vm, "-f"]).into_command(), "followed");
    let mut far_follower = follow(by_ssh(&["-f"]).into_command(), "far");
    let far = bed.home().join("far");
    starts(&far, 1);
    bed.foundry(&["restart", vm, "--force"]).run().exits(0);
    starts(&printed, 2);
    starts(&far, 2);
    // virtlogd rotates so.
    std::fs::rename(&file, format!("{file}.0")).unwrap();
    std::fs::write(&file, "after the rotation\n").unwrap();
    let read = |name: &str| std::fs::read_to_string(bed.home().join(name)).unwrap();
    let begun = Instant::now();
    while !["followed", "far"].iter().all(|name| read(name).ends_with("after the rotation\n")) {
        assert!(begun.elapsed() < BOOTED, "{}\n{}", read("followed"), read("far"));
        std::thread::sleep(Duration::from_millis(100));
    }
    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    for (follower, told) in [(&mut follower, "followed.told"), (&mut far_follower, "far.told")] {
        assert!(follower.wait_in_time().unwrap().success(), "{}", read(told));
        assert!(read(told).contains(&format!("VM '{vm}' was deleted")), "{}", read(told));
    }
    assert_eq!(read("followed").matches("TINY-READY").count(), 2, "{}", read("followed"));
    assert_eq!(bed.traces(), []);
}
