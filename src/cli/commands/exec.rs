//! `foundry exec`

use clap::Args;

use crate::connect::connect_host;
use crate::guest_access::{LoginArgs, without_ssh};
use crate::ssh_client::run_client;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::Error;
use foundry_core::ssh::quote_command;
use foundry_engine::vm::guest_exec::{ExecOutput, MAX_STDIN, exec_by_agent};

/// Run a command in a VM, over SSH or through its guest agent
///
/// Over SSH if the guest's SSH server answers, else through its agent, which needs no network and no key. The words of
/// the command stay words: for pipes and variables of the guest, run its shell. Streams and exit code are those of the
/// command.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry exec web -- df -h /
  foundry exec web -- sh -c 'journalctl -b | tail -n 20'
  foundry exec web --agent -- ip addr")]
pub(crate) struct ExecArgs {
    /// Name of the VM
    #[arg(value_name = "VM")]
    name: String,
    #[command(flatten)]
    login: LoginArgs,
    /// Use the guest agent even if SSH answers; it runs the command as its own user, usually root
    #[arg(long, conflicts_with_all = ["user", "identity"])]
    agent: bool,
    /// The program in the guest, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(super) fn run_exec(args: &ExecArgs, global: &Global, ui: &Ui) -> Result<u8, Error> {
    let context = connect_host(global, ui)?;
    if !args.agent
        && let Some(login) = args.login.find_answering(&context, &args.name)?
    {
        drop(context);
        let mut arguments = args.login.options(&login)?;
        let command = quote_command(&args.command);
        arguments.extend(["--".into(), login.ssh.alias.as_str().into(), command.into()]);
        return run_client("ssh", &arguments, &login, ui);
    }
    // Before signals are handled: until the command is started, one ends the program at once.
    let stdin = ui.read_stdin(MAX_STDIN)?;
    interrupt::install_handler(&context.cancel)?;
    let ran = exec_by_agent(&context, &args.name, &args.command, &stdin, &mut Streams(ui));
    if args.agent { ran } else { ran.map_err(without_ssh) }
}

/// Passes the command's output on to this process's streams.
struct Streams<'a>(&'a Ui);

impl ExecOutput for Streams<'_> {
    fn stdout(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.0.write_piece(false, bytes)
    }

    fn stderr(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.0.write_piece(true, bytes)
    }
}
