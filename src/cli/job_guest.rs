//! The guest of a GitLab job, reached with the system's ssh and a key that only this job has.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::interrupt;
use super::ssh_client::not_started;
use foundry_core::error::{Code, Error, Kind};
use foundry_core::ssh_key_pair::SshKeyPair;
use foundry_core::text::{describe_io_error, escape_unseen};
use foundry_engine::Cancel;
use foundry_engine::vm::guest_login::GuestLogin;
use foundry_fetch::atomic_write::write_atomically;
use foundry_gitlab::environment::Job;
use foundry_gitlab::executor_config::ExecutorConfig;
use foundry_gitlab::guest_script::{ScriptRun, setup_command};

/// Files of the executor in the job's directory.
const KEY: &str = "key";
const KNOWN_HOSTS: &str = "known-hosts";

/// Nothing is asked, nothing but the job's key is offered or passed on, and no other process keeps the connection: it
/// would hold the runner's pipes. A guest may be busy for five minutes before it counts as lost.
const OPTIONS: [&str; 12] = [
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "PreferredAuthentications=publickey",
    "ForwardAgent=no",
    "ClearAllForwardings=yes",
    "ControlMaster=no",
    "ControlPath=none",
    "ConnectTimeout=10",
    "ServerAliveInterval=30",
    "ServerAliveCountMax=10",
    "LogLevel=ERROR",
];

/// Writes the private key of a new key pair into the job's directory, and returns the public one.
pub(super) fn create_job_key(job: &Job) -> Result<String, Error> {
    let failed = |cause| Error::new(Kind::Configuration, "cannot make an SSH key for the job").because(cause);
    let pair = SshKeyPair::generate().map_err(failed)?;
    write_private(&job.file(KEY)?, pair.private())?;
    Ok(pair.public().to_owned())
}

fn write_private(file: &Path, text: &str) -> Result<(), Error> {
    write_atomically(file, text.as_bytes(), 0o600).map_err(|e| {
        Error::new(Code::FileUnwritable, format!("cannot write {}", file.display()))
            .because(describe_io_error(&e))
    })
}

/// A guest, and the arguments of ssh that lead to it.
pub(super) struct JobGuest {
    vm: String,
    arguments: Vec<OsString>,
}

impl JobGuest {
    /// Notes the guest's host keys in the job's directory.
    pub(super) fn new(job: &Job, login: &GuestLogin) -> Result<Self, Error> {
        let known_hosts = job.file(KNOWN_HOSTS)?;
        let lines = login.ssh.known_hosts();
        if !lines.is_empty() {
            write_private(&known_hosts, &lines)?;
        }
        let options = login.ssh.options(&known_hosts.to_string_lossy())?;
        let options = options.iter().map(|(name, value)| format!("{name}={value}"));
        let mut arguments: Vec<OsString> = ["-T", "-a", "-x", "-i"].map(OsString::from).into();
        arguments.push(job.file(KEY)?.into());
        for option in OPTIONS.map(str::to_owned).into_iter().chain(options) {
            arguments.extend(["-o".into(), option.into()]);
        }
        arguments.extend(["--".into(), login.ssh.alias.as_str().into()]);
        Ok(Self { vm: login.vm.clone(), arguments })
    }

    fn ssh(&self, command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(&self.arguments).arg(command);
        ssh
    }

    /// Prepares the guest for scripts. Returns why it does not let us in yet, if so.
    ///
    /// # Errors
    /// [`Code::JobGuestUnfit`] if it cannot run scripts.
    pub(super) fn set_up(&self, config: &ExecutorConfig) -> Result<Result<(), String>, Error> {
        let ran = self.ssh(&setup_command(config)).stdin(Stdio::null()).output();
        let ran = ran.map_err(|e| not_started("ssh", &e))?;
        let said = String::from_utf8_lossy(&ran.stderr);
        let said = escape_unseen(said.lines().last().unwrap_or_default());
        match ran.status.code().and_then(|code| u8::try_from(code).ok()).and_then(ScriptRun::script_code) {
            Some(0) => Ok(Ok(())),
            None => Ok(Err(said)),
            Some(_) => {
                let message = format!("the guest of VM '{}' cannot run jobs", self.vm);
                Err(Error::new(Code::JobGuestUnfit, message).because(said))
            }
        }
    }

    /// The error if the guest never let us in.
    pub(super) fn not_let_in(&self, refusal: &str) -> Error {
        let error =
            Error::new(Code::JobLoginFailed, format!("the guest of VM '{}' does not let root in", self.vm));
        if refusal.is_empty() { error } else { error.because(refusal) }
    }

    /// Runs a script with this process's stdout and stderr, and returns its exit code.
    ///
    /// # Errors
    /// [`Code::FileUnreadable`] for a script that cannot be read, [`Kind::Interrupted`] after a signal, and
    /// [`Code::JobLoginFailed`] if ssh failed.
    pub(super) fn run_script(
        &self,
        config: &ExecutorConfig,
        script: &Path,
        cancel: &Cancel,
    ) -> Result<u8, Error> {
        let text = fs::read(script).map_err(|e| {
            Error::new(Code::FileUnreadable, format!("cannot read the script {}", script.display()))
                .because(describe_io_error(&e))
        })?;
        let run = ScriptRun::begin();
        let mut ssh = self.ssh(&run.command(config, text.len() as u64));
        cancel.check()?;
        let mut child = ssh.stdin(Stdio::piped()).spawn().map_err(|e| not_started("ssh", &e))?;
        interrupt::forward_signals(child.id());
        // The other end is open until ssh has ended: its end would end the script. If ssh ends early, its exit code
        // says more than a failed write.
        let mut stdin = child.stdin.take();
        if let Some(stdin) = &mut stdin {
            let _ = io::copy(&mut text.as_slice(), stdin);
        }
        let ended = child.wait();
        drop(stdin);
        cancel.check()?;
        let code = ended.ok().and_then(|ended| ended.code()).and_then(|code| u8::try_from(code).ok());
        let lost = || {
            let message = format!("lost the connection to VM '{}' while the script ran", self.vm);
            Error::new(Code::JobLoginFailed, message)
        };
        match code.map(ScriptRun::script_code) {
            Some(Some(code)) => Ok(code),
            Some(None) if self.has_mark(&run)? => Ok(ScriptRun::MARKED),
            _ => Err(cancel.check().err().unwrap_or_else(lost)),
        }
    }

    /// Whether the script itself ended with ssh's code for failures.
    fn has_mark(&self, run: &ScriptRun) -> Result<bool, Error> {
        let mut ssh = self.ssh(&run.mark_command());
        let ran = ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        ran.map(|status| status.success()).map_err(|e| not_started("ssh", &e))
    }
}
