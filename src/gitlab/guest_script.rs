//! What the guest's shell runs.
//!
//! ```text
//!   script ──stdin──▶ ssh ──▶ sh: save the script ▸ run it in a session of its own ▸ its exit code
//!                                 and if stdin ends first: the runner is gone, end the session
//! ```
//!
//! The commands use only what coreutils, util-linux and BusyBox have in common.

use uuid::Uuid;

use crate::executor_config::ExecutorConfig;
use foundry_core::ssh::quote_command;

/// The exit code of ssh for its own failures (ssh(1), "EXIT STATUS").
const SSH_FAILED: u8 = 255;

/// Makes the directories, and checks that the guest can run scripts.
const SETUP: &str = include_str!("setup.sh");

/// Runs a script that comes on stdin. stdin then stays open for as long as the caller wants the script to run.
const STAGE: &str = include_str!("stage.sh");

/// The command that prepares the guest for scripts.
pub fn setup_command(config: &ExecutorConfig) -> String {
    let words = [&config.user, config.shell.as_str(), &config.builds_dir, &config.cache_dir];
    shell_command(SETUP, &words)
}

/// One run of a script in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptRun {
    /// The directory in the guest for the script. `/run` is in memory and survives a script that cleans `/tmp`.
    directory: String,
}

impl ScriptRun {
    /// The script's exit code if there is the [mark](Self::mark_command).
    pub const MARKED: u8 = SSH_FAILED;

    /// A run whose directory no other has, and that a script before it cannot guess.
    pub fn begin() -> Self {
        Self { directory: format!("/run/foundry-job-{}", Uuid::new_v4().simple()) }
    }

    /// The command that runs a script of `size` bytes, which it reads from stdin.
    pub fn command(&self, config: &ExecutorConfig, size: u64) -> String {
        shell_command(STAGE, &[&size.to_string(), &config.user, config.shell.as_str(), &self.directory])
    }

    /// The command that succeeds if the script has ended with 255.
    pub fn mark_command(&self) -> String {
        quote_command(&["test".into(), "-e".into(), format!("{}/ended", self.directory)])
    }

    /// The script's exit code, if that of ssh tells it. `None` for the code that ssh has for its own failures; the
    /// [mark](Self::mark_command) tells then.
    pub fn script_code(ssh_code: u8) -> Option<u8> {
        (ssh_code != SSH_FAILED).then_some(ssh_code)
    }
}

/// A command for any login shell.
fn shell_command(script: &str, arguments: &[&str]) -> String {
    let words = ["sh", "-c", script, "foundry"].into_iter().chain(arguments.iter().copied());
    quote_command(&words.map(str::to_owned).collect::<Vec<_>>())
}
