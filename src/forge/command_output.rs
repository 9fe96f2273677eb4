//! Runs a program of the user's within a time, and reads what it prints.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::MAX_ANSWER;

/// How long a program may take.
const WITHIN: Duration = Duration::from_secs(60);
/// Time between two looks whether it has ended.
const PAUSE: Duration = Duration::from_millis(20);

/// Where a program finds others, whoever started foundry.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program did.
pub(crate) struct ProgramEnd {
    /// Its exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it printed.
    pub(crate) stdout: Vec<u8>,
    /// What it complained of.
    pub(crate) stderr: String,
}

/// Runs a program with only these variables and PATH.
///
/// # Errors
/// If it cannot be started, or takes too long; then it is killed with all that it started.
pub(crate) fn run_program(words: &[String], variables: &[(&str, &str)]) -> Result<ProgramEnd, String> {
    let Some((program, arguments)) = words.split_first() else { return Err("no program is named".into()) };
    let started = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // All that it starts is ended with it.
        .process_group(0)
        .spawn();
    let mut child = started.map_err(|e| format!("{program} cannot be started: {e}"))?;
    let (sender, ended) = channel();
    let readers = [child.stdout.take().map(boxed), child.stderr.take().map(boxed)];
    for (index, stream) in readers.into_iter().enumerate() {
        let sender = sender.clone();
        // A reader may outlive the program, if a process that it started holds the stream.
        thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(stream) = stream {
                let _ = stream.take(MAX_ANSWER).read_to_end(&mut bytes);
            }
            let _ = sender.send((index, bytes));
        });
    }
    let code = wait_for(&mut child, program)?;
    let mut streams = [Vec::new(), Vec::new()];
    for _ in 0..streams.len() {
        let Ok((index, bytes)) = ended.recv_timeout(WITHIN) else {
            kill_group(&child);
            return Err(format!("{program} has left a process that holds its output"));
        };
        streams[index] = bytes;
    }
    let [stdout, stderr] = streams;
    Ok(ProgramEnd { code, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() })
}

fn boxed(stream: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(stream)
}

fn wait_for(child: &mut Child, program: &str) -> Result<Option<i32>, String> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.code()),
            Ok(None) if begun.elapsed() < WITHIN => thread::sleep(PAUSE),
            Ok(None) => {
                kill_group(child);
                let _ = child.wait();
                return Err(format!("{program} takes longer than {} s", WITHIN.as_secs()));
            }
            Err(e) => return Err(format!("{program} is lost: {e}")),
        }
    }
}

fn kill_group(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // One that has ended meanwhile cannot be killed.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
}
