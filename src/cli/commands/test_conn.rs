//! `foundry test-conn`

use clap::Args;

use crate::Global;
use crate::connect::{connect_host, libvirt_uri};
use crate::ui::Ui;
use foundry_core::error::Error;

/// Check the connection to libvirt, and show what the host supports
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry test-conn
  foundry test-conn -c qemu+ssh://root@hv2/system")]
pub(crate) struct TestConnArgs {}

pub(super) fn run_test_conn(_: &TestConnArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let host = context.host.capabilities()?;
    let version = host.libvirt_version;
    ui.write_line(&format!(
        "Connected to {} on {}: libvirt {}.{}.{}, {}",
        libvirt_uri(global),
        host.hostname,
        version / 1_000_000,
        version / 1000 % 1000,
        version % 1000,
        host.arch
    ))?;
    for (arch, types) in &host.guests {
        ui.write_line(&format!("  {arch} guests: {}", types.join(", ")))?;
    }
    Ok(())
}
