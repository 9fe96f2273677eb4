//! Commands to a guest's agent (QEMU's page "QEMU Guest Agent Protocol Reference").
//!
//! libvirt passes on an answer of at most some 3 MiB; a larger one is lost or even ends its connection to the agent until
//! the VM restarts. So nothing is asked for that could be larger: files are read and written in pieces, and a command's
//! output goes to files. Answers are the guest's own, so they are parsed like any foreign data.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::Context;
use foundry_core::error::{Code, Error};
use foundry_core::text::strip_terminal_sequences;
use foundry_host::{AgentAnswer, Domain};

/// How long the agent may take for one answer. It waits for the guest's disk.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to answer that it is there.
const PING_WITHIN: Duration = Duration::from_secs(3);
/// Bytes of a file that are read at a time; base64 makes a third more of them.
const READ_PIECE: usize = 512 << 10;
/// Bytes of a file that are written at a time. The agent reads a command letter by letter: with 512 KiB, an emulated guest
/// took more than half a minute, with this many some 30 ms.
pub(crate) const WRITE_PIECE: usize = 48 << 10;

/// The agent of a running guest.
pub(crate) struct GuestAgent<'a> {
    context: &'a Context,
    domain: &'a Domain,
}

/// An open file of the guest, by the agent's number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuestFile(i64);

/// A process of the guest that has ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct EndedProcess {
    /// Its exit code, or 128 and the signal that ended it.
    pub(crate) code: u8,
    /// The begin of what it wrote to stdout, if that was captured.
    pub(crate) stdout: Vec<u8>,
}

impl<'a> GuestAgent<'a> {
    /// Checks that the agent answers.
    ///
    /// # Errors
    /// [`Code::AgentSilent`] if it does not.
    pub(crate) fn connect(context: &'a Context, domain: &'a Domain) -> Result<Self, Error> {
        let agent = Self::of(context, domain);
        agent.ask("guest-ping", &json!({}), PING_WITHIN)?;
        Ok(agent)
    }

    /// The agent of a guest, without a look whether it answers.
    pub(crate) fn of(context: &'a Context, domain: &'a Domain) -> Self {
        Self { context, domain }
    }

    /// Returns whether the guest's file systems are frozen.
    pub(crate) fn is_frozen(&self) -> Result<bool, Error> {
        let answer = self.ask("guest-fsfreeze-status", &json!({}), PING_WITHIN)?;
        match answer.as_str() {
            Some("thawed") => Ok(false),
            Some("frozen") => Ok(true),
            _ => Err(self.unreadable_answer("guest-fsfreeze-status")),
        }
    }

    /// Thaws the guest's file systems.
    pub(crate) fn thaw(&self) -> Result<(), Error> {
        self.command("guest-fsfreeze-thaw", &json!({})).map(drop)
    }

    /// Sets the guest's clock to a time since 1970.
    pub(crate) fn set_time(&self, now: Duration) -> Result<(), Error> {
        let nanoseconds = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        self.command("guest-set-time", &json!({ "time": nanoseconds })).map(drop)
    }

    /// Opens a file; `mode` is that of fopen(3).
    pub(crate) fn open(&self, path: &str, mode: &str) -> Result<GuestFile, Error> {
        let answer = self.command("guest-file-open", &json!({"path": path, "mode": mode}))?;
        answer.as_i64().map(GuestFile).ok_or_else(|| self.unreadable_answer("guest-file-open"))
    }

    /// Reads the next piece of a file; empty at its end. Reading on later shows what was appended since.
    pub(crate) fn read(&self, file: GuestFile) -> Result<Vec<u8>, Error> {
        let answer = self.command("guest-file-read", &json!({"handle": file.0, "count": READ_PIECE}))?;
        let encoded = answer.get("buf-b64").and_then(Value::as_str);
        let bytes = encoded.and_then(|text| STANDARD.decode(text).ok());
        bytes
            .filter(|bytes| bytes.len() <= READ_PIECE)
            .ok_or_else(|| self.unreadable_answer("guest-file-read"))
    }

    /// Writes at most [`WRITE_PIECE`] bytes to a file.
    pub(crate) fn write(&self, file: GuestFile, bytes: &[u8]) -> Result<(), Error> {
        let arguments = json!({"handle": file.0, "buf-b64": STANDARD.encode(bytes)});
        let answer = self.command("guest-file-write", &arguments)?;
        let written = answer.get("count").and_then(Value::as_u64);
        if written == Some(bytes.len() as u64) {
            Ok(())
        } else {
            Err(self.unreadable_answer("guest-file-write"))
        }
    }

    /// Closes a file, which flushes what was written.
    pub(crate) fn close(&self, file: GuestFile) -> Result<(), Error> {
        self.command("guest-file-close", &json!({"handle": file.0})).map(drop)
    }

    /// Starts a script of the guest's shell with arguments, and returns its process id. Only short output may be
    /// captured.
    pub(crate) fn start_script(
        &self,
        script: &str,
        arguments: &[String],
        capture: bool,
    ) -> Result<i64, Error> {
        let words: Vec<&str> =
            ["-c", script, "sh"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let arguments = json!({"path": "/bin/sh", "arg": words, "capture-output": capture});
        let answer = self.command("guest-exec", &arguments)?;
        answer.get("pid").and_then(Value::as_i64).ok_or_else(|| self.unreadable_answer("guest-exec"))
    }

    /// Returns how a process has ended; `None` while it runs. The agent forgets a process that was reported as ended.
    pub(crate) fn ended(&self, pid: i64) -> Result<Option<EndedProcess>, Error> {
        let answer = self.command("guest-exec-status", &json!({"pid": pid}))?;
        match answer.get("exited").and_then(Value::as_bool) {
            Some(false) => return Ok(None),
            Some(true) => {}
            None => return Err(self.unreadable_answer("guest-exec-status")),
        }
        let number = |key: &str| answer.get(key).and_then(Value::as_i64);
        let code = number("exitcode").or_else(|| number("signal").map(|signal| 128 + signal));
        let out = answer.get("out-data").and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
        Ok(Some(EndedProcess {
            code: code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
            stdout: out.unwrap_or_default(),
        }))
    }

    fn command(&self, command: &str, arguments: &Value) -> Result<Value, Error> {
        self.ask(command, arguments, ANSWER_WITHIN)
    }

    fn ask(&self, command: &str, arguments: &Value, within: Duration) -> Result<Value, Error> {
        let sent = json!({"execute": command, "arguments": arguments}).to_string();
        let vm = &self.domain.name;
        match self.context.host.ask_agent(self.domain.uuid, &sent, within)? {
            AgentAnswer::Returned(answer) => {
                let parsed: Option<Value> = serde_json::from_str(&answer).ok();
                parsed.and_then(|v| v.get("return").cloned()).ok_or_else(|| self.unreadable_answer(command))
            }
            AgentAnswer::Refused(reason) => {
                let error =
                    Error::new(Code::AgentRefuses, format!("the guest agent of VM '{vm}' refuses {command}"))
                        .because(strip_terminal_sequences(&reason));
                Err(match hint_for_refusal(&reason) {
                    Some(hint) => error.hint(hint),
                    None => error,
                })
            }
            AgentAnswer::Silent(reason) => {
                Err(Error::new(Code::AgentSilent, format!("the guest agent of VM '{vm}' does not answer"))
                    .because(strip_terminal_sequences(&reason))
                    .hint("it may be booting; otherwise install and start qemu-guest-agent in the guest"))
            }
        }
    }

    fn unreadable_answer(&self, command: &str) -> Error {
        let message = format!("the guest agent of VM '{}' answers {command} with nonsense", self.domain.name);
        Error::new(Code::AgentRefuses, message)
    }
}

/// What to do about a refusal, in the words of QEMU's agent: "Command guest-exec has been disabled", with "the agent is
/// in frozen state" or "the command is not allowed" after it.
fn hint_for_refusal(reason: &str) -> Option<&'static str> {
    if reason.contains("frozen") {
        Some(
            "its file systems are frozen for a snapshot or a backup: wait, or thaw them with virsh domfsthaw",
        )
    } else if reason.contains("disabled") || reason.contains("not allowed") {
        Some("the image blocks it, as RHEL and Fedora do (/etc/sysconfig/qemu-ga in the guest); use SSH")
    } else {
        None
    }
}
