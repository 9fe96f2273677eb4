//! What the guest's shell runs, run by this machine's shell.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::CONFIG;
use crate::support::deadline::{ChildInTime as _, CommandInTime as _};
use crate::support::manifests::defaults;
use foundry::gitlab::executor_config::ExecutorConfig;
use foundry::gitlab::guest_script::{ScriptRun, setup_command};
use tempfile::TempDir;

/// A guest, which is a directory, and one run of a script in it.
struct Guest {
    home: TempDir,
    run: ScriptRun,
}

impl Guest {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), run: ScriptRun::begin() }
    }

    fn at(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    /// The command as a login shell of the guest gets it, with the guest's `/run` in the directory.
    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", &command.replace("/run/", &format!("{}/", self.home.path().display()))]);
        shell.current_dir(self.home.path());
        shell
    }

    /// Starts a script of which `sent` arrives.
    fn start(&self, script: &str, sent: &str) -> Child {
        let config = ExecutorConfig::parse(&format!("{CONFIG}shell: sh\n"), "x", &defaults()).unwrap();
        let mut shell = self.shell(&self.run.command(&config, script.len() as u64));
        let mut child =
            shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(sent.as_bytes()).unwrap();
        child
    }

    /// Runs a whole script while stdin stays open, and returns its exit code and output.
    fn run(&self, script: &str) -> (i32, String) {
        let mut child = self.start(script, script);
        let stdin = child.stdin.take();
        let done = child.wait_with_output_in_time().unwrap();
        drop(stdin);
        (done.status.code().unwrap(), String::from_utf8(done.stdout).unwrap())
    }

    fn has_mark(&self) -> bool {
        self.shell(&self.run.mark_command()).status().unwrap().success()
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.home.path()).unwrap().count()
    }
}

#[test]
fn script_ends_with_its_own_code() {
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("false", 1), ("exit 254", 254), ("kill -9 $$", 137)]
    {
        let guest = Guest::new();
        assert_eq!(guest.run(script).0, code, "{script}");
        assert!(!guest.has_mark(), "{script}");
        assert_eq!(guest.files(), 0, "{script} leaves something");
        assert_eq!(ScriptRun::script_code(u8::try_from(code).unwrap()), u8::try_from(code).ok());
    }
}

/// ssh ends with 255 if it fails itself.
#[test]
fn script_that_ends_with_255_leaves_a_mark() {
    let guest = Guest::new();
    assert_eq!(guest.run("exit 255").0, 255);
    assert_eq!(ScriptRun::script_code(255), None);
    assert!(guest.has_mark());
    assert!(!Guest { run: ScriptRun::begin(), ..guest }.has_mark(), "of another run");
}

#[test]
fn script_cannot_read_itself_away() {
    let guest = Guest::new();
    let script = "cat; printf '%s\\n' 'a  b' \"\\$x\"; read line || echo end\n";
    assert_eq!(guest.run(script), (0, "a  b\n$x\nend\n".to_owned()));
}

#[test]
fn script_that_was_cut_is_not_run() {
    let guest = Guest::new();
    let script = format!("touch {}\n# the rest\n", guest.at("ran"));
    let mut child = guest.start(&script, &script[..script.len() - 1]);
    drop(child.stdin.take());
    assert_eq!(child.wait_in_time().unwrap().code(), Some(255));
    assert!(!std::path::Path::new(&guest.at("ran")).exists());
    assert!(!guest.has_mark());
}

/// The runner stopped the stage, or is gone: sshd closes the command's stdin and sends no signal.
#[test]
fn script_ends_with_its_connection() {
    let guest = Guest::new();
    let script = format!("sleep 60 & echo $! >{}; echo begun; wait", guest.at("pid"));
    let mut child = guest.start(&script, &script);
    let mut begun = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut begun).unwrap();
    let pid = std::fs::read_to_string(guest.at("pid")).unwrap();
    let lives = || std::path::Path::new(&format!("/proc/{}", pid.trim())).exists();
    assert!(lives());
    drop(child.stdin.take());
    assert_eq!(child.wait_in_time().unwrap().code(), Some(143));
    let begun = Instant::now();
    while lives() {
        assert!(begun.elapsed() < Duration::from_secs(10), "a child of the script goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn guest_says_what_it_lacks() {
    let guest = Guest::new();
    let set_up = |fields: &str| {
        let text = format!("{CONFIG}shell: sh\nbuildsDir: {}\n{fields}", guest.at("builds"));
        let config = ExecutorConfig::parse(&text, "x", &defaults()).unwrap();
        let done = guest.shell(&setup_command(&config)).output_in_time().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let refused = |said: &str| (Some(1), format!("{said}\n"));
    assert_eq!(set_up("user: no-such-user\n"), refused("there is no user no-such-user"));
    std::fs::write(guest.at("file"), "").unwrap();
    let below_a_file = format!("{}/cache", guest.at("file"));
    let (code, said) = set_up(&format!("cacheDir: {below_a_file}\n"));
    assert_eq!(code, Some(1));
    assert!(said.ends_with(&format!("there is no directory {below_a_file}\n")), "{said}");
}
