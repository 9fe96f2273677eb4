//! Runs a command in a guest through its agent.
//!
//! ```text
//!   directory for in, out, err ▸ stdin into in ▸ start the command ▸ pass on out and err as they grow ▸ delete
//! ```
//!
//! The command's output goes to files in the guest and is read from there, because an answer of the agent can only be
//! small, and because it can be passed on while the command runs.

use std::time::Duration;

use super::guest_agent::{GuestAgent, GuestFile, WRITE_PIECE};
use super::guest_login::find_running;
use crate::Context;
use crate::poll::{Poll, Waited};
use foundry_core::error::{Code, Error, Kind};
use foundry_core::units::Bytes;

/// Time between two looks at a command that runs.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// How long to wait for the small scripts before and after the command.
const SCRIPT_WITHIN: Duration = Duration::from_secs(30);
/// Maximum length of a command's stdin in bytes: the agent takes some 2 MB a second.
pub const MAX_STDIN: usize = 16 << 20;

/// Makes a directory that only the agent's user can read, with an empty file for each stream, and prints its path.
const PREPARE: &str = r#"umask 077
d=$(mktemp -d "${TMPDIR:-/tmp}/foundry-exec.XXXXXXXX") && : >"$d/in" && : >"$d/out" && : >"$d/err" && printf %s "$d""#;
/// Becomes the command, with its streams in the directory. A command that cannot be started writes to `err`, too.
const RUN: &str = r#"d=$1; shift; exec "$@" <"$d/in" >"$d/out" 2>"$d/err""#;
const CLEAN: &str = r#"cd "$1" && unlink in && unlink out && unlink err && rmdir "$1""#;
const KILL: &str = r#"kill -TERM "$1""#;

/// Receives the output of a command.
pub trait ExecOutput {
    /// Receives a piece of stdout.
    ///
    /// # Errors
    /// If it cannot be passed on; the command is ended then.
    fn stdout(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// Receives a piece of stderr.
    ///
    /// # Errors
    /// If it cannot be passed on; the command is ended then.
    fn stderr(&mut self, bytes: &[u8]) -> Result<(), Error>;
}

/// Runs a command as the agent's user, usually root, and returns its exit code: 127 if the guest has no such program,
/// 128 and the signal's number if one ended it.
///
/// # Errors
/// [`Kind::Vm`] if there is no such VM, it is off, its agent does not answer or refuses; [`Kind::Interrupted`], after the
/// command was sent SIGTERM.
pub fn exec_by_agent(
    context: &Context,
    name: &str,
    command: &[String],
    stdin: &[u8],
    output: &mut dyn ExecOutput,
) -> Result<u8, Error> {
    if stdin.len() > MAX_STDIN {
        let message =
            format!("stdin has more than {}, which is too much for the guest agent", Bytes(MAX_STDIN as u64));
        return Err(Error::new(Code::TooLarge, message).hint("copy it into a file, or use SSH").unchanged());
    }
    let domain = find_running(context, name)?;
    let agent = GuestAgent::connect(context, &domain)?;
    let directory = prepare(context, &agent, name)?;
    let ran = run_in(context, &agent, &directory, command, stdin, output);
    // The command's result counts, also if its files remain.
    let why = match run_script(context, &agent, CLEAN, std::slice::from_ref(&directory), false) {
        Ok((0, _)) => return ran,
        Ok((code, _)) => format!("its shell ended with {code}"),
        Err(left) => left.message().to_owned(),
    };
    context.warn(format!("{directory} in the guest of VM '{name}' could not be deleted: {why}"));
    ran
}

fn prepare(context: &Context, agent: &GuestAgent<'_>, name: &str) -> Result<String, Error> {
    let (code, stdout) = run_script(context, agent, PREPARE, &[], true)?;
    let directory = String::from_utf8(stdout).unwrap_or_default();
    let is_path = directory.starts_with('/')
        && directory.contains("/foundry-exec.")
        && directory.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    if code == 0 && is_path {
        return Ok(directory);
    }
    Err(Error::new(
        Code::AgentRefuses,
        format!("the guest of VM '{name}' has no place for the command's output"),
    )
    .because("its shell cannot make a temporary directory")
    .unchanged())
}

/// Runs a short script to its end. Returns its exit code and, if captured, its output.
fn run_script(
    context: &Context,
    agent: &GuestAgent<'_>,
    script: &str,
    arguments: &[String],
    capture: bool,
) -> Result<(u8, Vec<u8>), Error> {
    let pid = agent.start_script(script, arguments, capture)?;
    match Poll::new(context, POLL_EVERY).within(SCRIPT_WITHIN).until(|| agent.ended(pid))? {
        Waited::Done(ended) => Ok((ended.code, ended.stdout)),
        Waited::TimeOver | Waited::Cancelled => {
            let message = format!("a command in the guest does not end within {} s", SCRIPT_WITHIN.as_secs());
            Err(Error::new(Code::AgentSilent, message))
        }
    }
}

fn run_in(
    context: &Context,
    agent: &GuestAgent<'_>,
    directory: &str,
    command: &[String],
    stdin: &[u8],
    output: &mut dyn ExecOutput,
) -> Result<u8, Error> {
    if !stdin.is_empty() {
        send_stdin(context, agent, &format!("{directory}/in"), stdin)?;
    }
    let streams =
        [agent.open(&format!("{directory}/out"), "r")?, agent.open(&format!("{directory}/err"), "r")?];
    let arguments: Vec<String> =
        std::iter::once(directory.to_owned()).chain(command.iter().cloned()).collect();
    let pid = agent.start_script(RUN, &arguments, false)?;
    let ended = follow(context, agent, pid, streams, output);
    if ended.is_err() {
        // Nobody is left who could use its output.
        let _ = run_script(context, agent, KILL, &[pid.to_string()], false);
    }
    for stream in streams {
        // The directory is deleted in any case.
        let _ = agent.close(stream);
    }
    ended
}

/// Passes on the output until the command has ended.
fn follow(
    context: &Context,
    agent: &GuestAgent<'_>,
    pid: i64,
    [out, err]: [GuestFile; 2],
    output: &mut dyn ExecOutput,
) -> Result<u8, Error> {
    let waited = Poll::new(context, POLL_EVERY).unless(|| context.cancel.is_requested()).until(|| {
        // Before the output is read: what it wrote last must not be missed.
        let ended = agent.ended(pid)?;
        drain(context, agent, out, |bytes| output.stdout(bytes))?;
        drain(context, agent, err, |bytes| output.stderr(bytes))?;
        Ok::<_, Error>(ended)
    })?;
    match waited {
        Waited::Done(ended) => Ok(ended.code),
        Waited::TimeOver | Waited::Cancelled => {
            Err(Error::new(Kind::Interrupted, "interrupted")
                .outcome("the command in the guest was sent SIGTERM"))
        }
    }
}

/// Reads what a file has by now.
fn drain(
    context: &Context,
    agent: &GuestAgent<'_>,
    file: GuestFile,
    mut pass: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        let bytes = agent.read(file)?;
        if bytes.is_empty() || context.cancel.is_requested() {
            return Ok(());
        }
        pass(&bytes)?;
    }
}

fn send_stdin(context: &Context, agent: &GuestAgent<'_>, path: &str, stdin: &[u8]) -> Result<(), Error> {
    let file = agent.open(path, "w")?;
    for piece in stdin.chunks(WRITE_PIECE) {
        context.cancel.check()?;
        agent.write(file, piece)?;
    }
    agent.close(file)
}
