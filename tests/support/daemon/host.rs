//! A private host seen from outside: its daemon is stopped, killed and started while foundry talks to it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::live::{Foundry, Ran, environment, program};
use crate::support::private_host;

pub(crate) const IMAGES: &str = "/var/lib/libvirt/images/foundry-test/images";
/// A libvirtd that ends gives its threads half a minute.
const ORDERLY: Duration = Duration::from_secs(45);
const PATIENCE: Duration = Duration::from_secs(90);

/// A libvirtd of this test's own.
pub(crate) struct PrivateHost {
    directory: TempDir,
    unshare: Child,
    held: Option<ChildStdin>,
    /// The first process inside, by its number outside.
    pub(crate) first: String,
}

impl PrivateHost {
    /// `None` where live tests are skipped.
    pub(crate) fn new() -> Option<Self> {
        environment("FOUNDRY_TEST_URI")?;
        let directory = private_host::directory("foundry-test-daemon").unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = private_host::command(directory.path(), Path::new("sleep"));
        let mut unshare = command.arg("infinity").stdout(Stdio::null()).spawn().unwrap();
        let held = unshare.stdin.take();
        let mut host = Self { directory, unshare, held, first: String::new() };
        let children = format!("/proc/{0}/task/{0}/children", host.unshare.id());
        eventually("the first process is there", || {
            host.first = fs::read_to_string(&children).unwrap().trim().to_owned();
            !host.first.is_empty()
        });
        host.wait_for_daemon();
        Some(host)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("run/libvirt-sock")
    }

    pub(crate) fn uri(&self) -> String {
        format!("qemu+unix:///system?socket={}", self.socket().display())
    }

    /// A URI by which it is another machine's, reached through a program.
    pub(crate) fn far_uri(&self) -> String {
        let script = self.home().join("far.sh");
        let note = self.home().join("far.pid");
        let text = format!("#!/bin/sh\necho $$ >{}\nexec virt-ssh-helper '{}'\n", note.display(), self.uri());
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        format!("qemu+ext:///system?command={}", script.display())
    }

    /// The process of that program which was started last.
    pub(crate) fn way_to_far(&self) -> String {
        fs::read_to_string(self.home().join("far.pid")).unwrap().trim().to_owned()
    }

    /// A directory for files of the test.
    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("tmp")
    }

    /// foundry with this host; volumes are written through streams, since their files are elsewhere inside.
    pub(crate) fn foundry(&self, arguments: &[&str]) -> Foundry {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foundry"));
        command.args(arguments).env_clear().env("PATH", std::env::var("PATH").unwrap());
        self.configured(command).env("FOUNDRY_CONNECT", &self.uri())
    }

    /// A foundry, or what starts one, with the settings of all of them here.
    pub(crate) fn configured(&self, command: Command) -> Foundry {
        Foundry::of(command)
            .env("LC_ALL", "C")
            .env("HOME", self.home().to_str().unwrap())
            .env("FOUNDRY_VM_POOL", "foundry-test-vms")
            .env("FOUNDRY_IMAGE_POOL", "foundry-test-images")
            .env("FOUNDRY_STORAGE_PATH", "/var/lib/libvirt/images/foundry-test")
            .env("FOUNDRY_VIRT_TYPE", "qemu")
    }

    #[track_caller]
    pub(crate) fn virsh(&self, arguments: &[&str]) -> String {
        // A daemon that hangs is what is looked for here.
        let uri = self.uri();
        let all = [&["10", "virsh", "-q", "-c", &uri], arguments].concat();
        program("timeout", &all).exits(0).stdout
    }

    /// Runs a program inside.
    pub(crate) fn inside(&self, line: &[&str]) -> Ran {
        let target = ["-t", &self.first, "-m", "-n", "-u", "-p", "--"];
        program("nsenter", &[&target, line].concat())
    }

    /// Sends the daemon a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        self.inside(&["kill", "-s", name, &self.pid()]).exits(0);
    }

    fn pid(&self) -> String {
        fs::read_to_string(self.directory.path().join("run/libvirtd.pid")).unwrap().trim().to_owned()
    }

    /// Ends the daemon by a signal and starts it again; guests run on.
    pub(crate) fn restart(&self, signal: &str) {
        let pid = self.pid();
        self.signal(signal);
        let is_there = || self.inside(&["kill", "-0", &pid]).code == 0;
        let begun = Instant::now();
        while is_there() && begun.elapsed() < ORDERLY {
            thread::sleep(Duration::from_millis(20));
        }
        if is_there() {
            println!("libvirtd did not end by {signal} within {ORDERLY:?}");
            self.signal("KILL");
        }
        eventually("the daemon ends", || !is_there());
        self.inside(&["libvirtd", "-d", "-p", "/run/libvirt/libvirtd.pid"]).exits(0);
        self.wait_for_daemon();
    }

    fn wait_for_daemon(&self) {
        eventually("the daemon listens", || UnixStream::connect(self.socket()).is_ok());
    }

    /// Changes the daemon's own settings.
    pub(crate) fn configure(&self, lines: &str) {
        let file = self.directory.path().join("etc/libvirtd.conf");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}\n{lines}\n")).unwrap();
        self.restart("KILL");
    }

    /// The images' directory becomes a small file system of its own, which can be frozen.
    pub(crate) fn mount_images(&self) {
        let image = self.home().join("disk");
        fs::File::create(&image).unwrap().set_len(200 << 20).unwrap();
        program("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]).exits(0);
        self.inside(&["mkdir", "-p", IMAGES]).exits(0);
        self.inside(&["mount", "-o", "loop", image.to_str().unwrap(), IMAGES]).exits(0);
        self.inside(&["rmdir", &format!("{IMAGES}/lost+found")]).exits(0);
    }
}

#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for PrivateHost {
    fn drop(&mut self) {
        // A frozen file system would outlive its mount. There is none in most tests.
        self.inside(&["sh", "-c", &format!("fsfreeze -u {IMAGES}; umount {IMAGES}")]);
        self.held.take();
        let _ = self.unshare.wait();
    }
}
