//! `foundry ssh-config`

use clap::Args;

use crate::Global;
use crate::connect::connect_host;
use crate::ssh_client::write_known_hosts;
use crate::ui::Ui;
use foundry_core::error::Error;
use foundry_engine::vm::guest_login::list_guest_logins;

/// Print how to log in to VMs, in the format of ssh_config(5)
///
/// For ssh, scp, rsync, Ansible and editors: write it to a file that `Include` in ~/.ssh/config names. Print it again
/// after a VM was created or got another address.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry ssh-config > ~/.ssh/foundry.conf
  foundry ssh-config web > web.conf && scp -F web.conf FILE web:/srv/")]
pub(crate) struct SshConfigArgs {
    /// Names of the VMs; without any, all VMs of foundry
    #[arg(value_name = "VM")]
    names: Vec<String>,
}

pub(super) fn run_ssh_config(args: &SshConfigArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let (logins, left_out) = list_guest_logins(&context, &args.names)?;
    left_out.iter().for_each(|reason| ui.show_warning(&format!("left out: {}", reason.message())));
    let mut blocks = Vec::new();
    for login in &logins {
        blocks.push(login.ssh.config_block(&write_known_hosts(login)?)?);
    }
    ui.write_result(&blocks.join("\n"))
}
