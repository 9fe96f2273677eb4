//! The binary itself, in an environment in which nothing of the machine's is set.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use super::codes;
use super::deadline::{ChildInTime as _, CommandInTime as _};

/// libvirt's own driver for tests: one running domain `test` and a pool, made anew for each connection.
pub(crate) const TEST_DRIVER: &str = "test:///default";

/// What a run of foundry said.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    /// Without the codes of errors.
    pub(crate) stderr: String,
    /// The code of its last error.
    pub(crate) code_of_error: Option<String>,
    /// stderr as it came.
    pub(crate) said: String,
}

impl Ran {
    pub(crate) fn from(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: codes::without(&stderr),
            code_of_error: codes::of_error(&stderr),
            said: stderr,
        }
    }
}

/// A command with nothing in its environment; the test adds what it is about.
pub(crate) fn foundry(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foundry"));
    command.args(args).env_clear().current_dir(env!("CARGO_MANIFEST_DIR"));
    // Where scripts/coverage.sh wants the counts.
    std::env::var_os("LLVM_PROFILE_FILE").map(|file| command.env("LLVM_PROFILE_FILE", file));
    command
}

/// Runs it with nothing on stdin.
pub(crate) fn run(args: &[&str]) -> Ran {
    Ran::from(foundry(args).stdin(Stdio::null()).output_in_time().unwrap())
}

/// Runs it on libvirt's test driver.
pub(crate) fn on_test(args: &[&str]) -> Ran {
    run(&[&["-c", TEST_DRIVER], args].concat())
}

/// Runs it with a text on stdin.
pub(crate) fn run_with(args: &[&str], stdin: &str) -> Ran {
    let mut command = foundry(args);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may have refused the command line and not read at all.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    Ran::from(child.wait_with_output_in_time().unwrap())
}

/// Says that a test is skipped for want of a tool; where nothing may be skipped, that is its failure.
#[allow(clippy::print_stderr, reason = "cargo shows it with the test")]
pub(crate) fn skip_without(tool: &str, package: &str) {
    assert!(
        std::env::var("FOUNDRY_TEST_REQUIRE").as_deref() != Ok("1"),
        "{tool} is missing (package {package})"
    );
    eprintln!("skipped: {tool} is missing (package {package})");
}
