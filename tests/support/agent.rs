//! A guest agent on this machine: it does what QEMU's agent does, with this machine's shell and files below a directory.
//!
//! It answers as libvirt passes it on: an answer of more than 4 MiB is lost, and its connection with it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use foundry::host::AgentAnswer;
use serde_json::{Value, json};

/// The longest answer that libvirt passes on (`VIR_NET_MESSAGE_STRING_MAX`).
const LONGEST: usize = 4 << 20;

/// What the agent has open, and what it runs.
#[derive(Default)]
struct State {
    files: BTreeMap<i64, File>,
    processes: BTreeMap<i64, Child>,
    next: i64,
    is_dead: bool,
}

/// An agent whose scripts make their temporary files in `directory`. It refuses the commands `blocked`.
pub(crate) fn agent(
    directory: &Path,
    blocked: &'static [&'static str],
) -> impl Fn(&str) -> AgentAnswer + Send + Sync + 'static {
    let state = Mutex::new(State::default());
    let directory = directory.to_owned();
    move |sent| {
        let sent: Value = serde_json::from_str(sent).unwrap();
        let name = sent["execute"].as_str().unwrap();
        if blocked.contains(&name) {
            return AgentAnswer::Refused(format!(
                "Command {name} has been disabled: the command is not allowed"
            ));
        }
        let mut state = state.lock().unwrap();
        if state.is_dead {
            return AgentAnswer::Silent("QEMU guest agent is not available due to an error".into());
        }
        match answer(&mut state, name, &sent["arguments"], &directory) {
            Ok(value) => {
                let text = json!({"return": value}).to_string();
                state.is_dead = text.len() > LONGEST;
                AgentAnswer::Returned(text)
            }
            Err(e) => AgentAnswer::Refused(e.to_string()),
        }
    }
}

fn answer(state: &mut State, name: &str, given: &Value, directory: &Path) -> std::io::Result<Value> {
    let handle = given["handle"].as_i64().unwrap_or(-1);
    let missing = || std::io::Error::other("handle has not been found");
    match name {
        "guest-ping" => Ok(json!({})),
        "guest-file-open" => {
            let mut options = OpenOptions::new();
            match given["mode"].as_str().unwrap() {
                "r" => options.read(true),
                "w" => options.write(true).create(true).truncate(true),
                mode => panic!("{mode}"),
            };
            let file = options.open(given["path"].as_str().unwrap())?;
            state.next += 1;
            state.files.insert(state.next, file);
            Ok(state.next.into())
        }
        "guest-file-read" => {
            let file = state.files.get_mut(&handle).ok_or_else(missing)?;
            let mut bytes = Vec::new();
            file.take(given["count"].as_u64().unwrap()).read_to_end(&mut bytes)?;
            Ok(json!({"count": bytes.len(), "buf-b64": STANDARD.encode(&bytes), "eof": bytes.is_empty()}))
        }
        "guest-file-write" => {
            let bytes = STANDARD.decode(given["buf-b64"].as_str().unwrap()).unwrap();
            state.files.get_mut(&handle).ok_or_else(missing)?.write_all(&bytes)?;
            Ok(json!({"count": bytes.len(), "eof": false}))
        }
        "guest-file-close" => state.files.remove(&handle).map(|_| json!({})).ok_or_else(missing),
        "guest-exec" => start(state, given, directory),
        "guest-exec-status" => status(state, given["pid"].as_i64().unwrap()),
        other => Err(std::io::Error::other(format!("The command {other} has not been found"))),
    }
}

fn start(state: &mut State, given: &Value, directory: &Path) -> std::io::Result<Value> {
    let words = given["arg"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    let stream = if given["capture-output"] == json!(true) { Stdio::piped() } else { Stdio::null() };
    let mut command = Command::new(given["path"].as_str().unwrap());
    let child = command.args(words).env("TMPDIR", directory).stdin(Stdio::null()).stdout(stream);
    let child = child.stderr(Stdio::null()).spawn()?;
    let pid = i64::from(child.id());
    state.processes.insert(pid, child);
    Ok(json!({"pid": pid}))
}

fn status(state: &mut State, pid: i64) -> std::io::Result<Value> {
    let missing = || std::io::Error::other(format!("PID {pid} does not exist"));
    let child = state.processes.get_mut(&pid).ok_or_else(missing)?;
    let Some(ended) = child.try_wait()? else { return Ok(json!({"exited": false})) };
    let mut out = Vec::new();
    child.stdout.take().map(|mut stdout| stdout.read_to_end(&mut out)).transpose()?;
    state.processes.remove(&pid);
    let mut answer = json!({"exited": true});
    match ended.signal() {
        Some(signal) => answer["signal"] = signal.into(),
        None => answer["exitcode"] = ended.code().into(),
    }
    if !out.is_empty() {
        answer["out-data"] = STANDARD.encode(&out).into();
    }
    Ok(answer)
}
