//! `foundry ssh`

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::Global;
use crate::connect::connect_host;
use crate::ssh_client::{login_arguments, run_client};
use crate::ui::Ui;
use foundry_core::error::Error;
use foundry_engine::vm::guest_login::find_guest_login;

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
    /// The user in the guest
    #[arg(short = 'l', long, value_name = "USER")]
    user: Option<String>,
    /// File with the private key to log in with
    #[arg(short, long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// A command for the guest's shell; without it, a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run_ssh(args: &SshArgs, global: &Global, ui: &Ui) -> Result<u8, Error> {
    let login = {
        // The connection is closed while ssh runs.
        let context = connect_host(global, ui)?;
        find_guest_login(&context, &args.name, args.user.as_deref())?
    };
    let mut arguments = login_arguments(&login)?;
    if let Some(identity) = &args.identity {
        arguments.extend(["-i".into(), identity.into()]);
    }
    arguments.extend(["--".into(), login.ssh.alias.as_str().into()]);
    // After `--` and the host, ssh takes everything for the command, a word with `-` too.
    arguments.extend(args.command.iter().cloned());
    run_client("ssh", &arguments, &login, ui)
}
