//! `foundry ssh`

use std::ffi::OsString;

use clap::Args;

use crate::Global;
use crate::connect::connect_host;
use crate::guest_access::LoginArgs;
use crate::ssh_client::run_client;
use crate::ui::Ui;
use foundry_core::error::Error;

/// Log in to a VM over SSH, or run a command there
///
/// The guest's host key is known from its seed, so ssh asks nothing and accepts no other. The user is the one with the
/// seed's keys: root, unless the user-data says otherwise. The exit code is that of ssh. A VM of a remote host is
/// reached through that host.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry ssh web
  foundry ssh web -- systemctl status nginx
  foundry ssh web -l admin -i ~/.ssh/id_web")]
pub(crate) struct SshArgs {
    /// Name of the VM
    #[arg(value_name = "VM")]
    name: String,
    #[command(flatten)]
    login: LoginArgs,
    /// A command for the guest's shell; without it, a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run_ssh(args: &SshArgs, global: &Global, ui: &Ui) -> Result<u8, Error> {
    let login = {
        // The connection is closed while ssh runs.
        let context = connect_host(global, ui)?;
        args.login.find(&context, &args.name)?
    };
    let mut arguments = args.login.options(&login)?;
    arguments.extend(["--".into(), login.ssh.alias.as_str().into()]);
    // After `--` and the host, ssh takes everything for the command, a word with `-` too.
    arguments.extend(args.command.iter().cloned());
    run_client("ssh", &arguments, &login, ui)
}
