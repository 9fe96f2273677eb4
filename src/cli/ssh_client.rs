//! Runs the system's ssh and scp with the known host keys of foundry's VMs.
//!
//! Each VM has a file of its own, `known_hosts.d/UUID` in foundry's state directory, so no two processes write the same
//! one, and a VM that is created again has another.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

use super::interrupt;
use super::ui::Ui;
use super::words::hints;
use foundry_core::error::{Code, Error, Kind};
use foundry_core::text::describe_io_error;
use foundry_engine::vm::guest_login::GuestLogin;
use foundry_fetch::atomic_write::write_atomically;
use foundry_host::local::state_directory;

/// The directory of the known host keys, below that of foundry's state.
const KNOWN_HOSTS: &str = "known_hosts.d";

/// The exit code of ssh and scp if they fail themselves (ssh(1), "EXIT STATUS").
const OWN_FAILURE: u8 = 255;

/// Writes the known host keys of a guest and returns their file. Without known keys, the file is left to ssh, which
/// adds the key of the first login.
pub(super) fn write_known_hosts(login: &GuestLogin) -> Result<String, Error> {
    let no_directory = || {
        Error::new(Code::NoDirectory, "there is no directory for known SSH host keys")
            .because("neither XDG_STATE_HOME nor HOME is an absolute path")
    };
    let directory = state_directory().ok_or_else(no_directory)?.join(KNOWN_HOSTS);
    let file = directory.join(login.uuid.to_string());
    let failed = |file: &PathBuf, e: &std::io::Error| {
        Error::new(Code::FileUnwritable, format!("cannot write {}", file.display()))
            .because(describe_io_error(e))
    };
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(|e| failed(&directory, &e))?;
    let lines = login.ssh.known_hosts();
    if !lines.is_empty() && fs::read_to_string(&file).ok().as_deref() != Some(&lines) {
        write_atomically(&file, lines.as_bytes(), 0o600).map_err(|e| failed(&file, &e))?;
    }
    file.into_os_string().into_string().map_err(|_| no_directory())
}

/// Deletes the known host keys of a VM that was destroyed. A file that remains does no harm: no other VM has its name.
pub(super) fn forget_known_hosts(vm: impl Display) {
    if let Some(directory) = state_directory() {
        let _ = fs::remove_file(directory.join(KNOWN_HOSTS).join(vm.to_string()));
    }
}

/// Returns the options of ssh and scp for a guest: `-o NAME=VALUE` each.
pub(super) fn login_arguments(login: &GuestLogin) -> Result<Vec<OsString>, Error> {
    let options = login.ssh.options(&write_known_hosts(login)?)?;
    Ok(options
        .into_iter()
        .flat_map(|(name, value)| [OsString::from("-o"), format!("{name}={value}").into()])
        .collect())
}

/// The error if ssh or scp cannot be started.
pub(super) fn not_started(program: &str, e: &io::Error) -> Error {
    let cause =
        if e.kind() == ErrorKind::NotFound { "it is not installed".into() } else { describe_io_error(e) };
    Error::new(Kind::Configuration, format!("cannot run {program}"))
        .because(cause)
        .hint("install OpenSSH's client: the package openssh-client or openssh-clients")
}

/// Runs ssh or scp with this process's terminal, and returns its exit code.
///
/// # Errors
/// If the program cannot be started.
pub(super) fn run_client(
    program: &str,
    arguments: &[OsString],
    login: &GuestLogin,
    ui: &Ui,
) -> Result<u8, Error> {
    let started = Command::new(program).args(arguments).spawn();
    let mut child = started.map_err(|e| not_started(program, &e))?;
    interrupt::forward_signals(child.id());
    let ended = child.wait().map_err(|e| {
        Error::new(Kind::Configuration, format!("lost {program}")).because(describe_io_error(&e))
    })?;
    let code = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal)).unwrap_or(1);
    let code = u8::try_from(code).unwrap_or(1);
    if code == OWN_FAILURE {
        ui.show_note(&hints::ssh_failed(program, &login.vm, &login.ssh));
    }
    Ok(code)
}
