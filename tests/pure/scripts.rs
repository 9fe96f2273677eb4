//! The decisions of the scripts, with stub programs that record their arguments in place of the machine's own.

mod machine;
mod packages;
mod runner;

use crate::support::deadline::CommandInTime as _;
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
