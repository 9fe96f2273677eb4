//! `foundry pool add`

use clap::{Args, ValueEnum};

use crate::connect::connect_host;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::Error;
use foundry_core::names::PoolName;
use foundry_core::pool::{PoolRequest, PoolSourceSpec, PoolType};
use foundry_engine::storage::pools;

/// Create, start and autostart a pool
///
/// An existing directory keeps its owner and mode; a missing one is created. Nothing else is created: file systems,
/// volume groups, datasets and Ceph pools must already exist, and nothing on them is changed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry pool add ssd dir /mnt/ssd/foundry
  foundry pool add disk fs /dev/disk/by-label/vms --target /srv/vms
  foundry pool add shared netfs nas.example.com:/export/vms --target /srv/shared
  foundry pool add fast logical vg0
  foundry pool add tank zfs tank/vms
  foundry pool add ceph rbd vms --monitor mon1.example.com \\
      --auth-user libvirt --secret 'client.libvirt secret'
  foundry pool add luns iscsi san.example.com iqn.2026-01.com.example:disks

Secrets are stored in libvirt, with virsh secret-define and secret-set-value;
--secret names one of them.")]
pub(crate) struct PoolAddArgs {
    /// Name of the pool
    name: PoolName,
    /// Type of the pool
    #[arg(value_enum)]
    kind: PoolTypeArg,
    /// Source, by type: directory; block device; HOST:/DIRECTORY; volume group; ZFS or Ceph pool; iSCSI portal and
    /// target IQN
    #[arg(required = true, num_args = 1..=2)]
    source: Vec<String>,
    /// fs, netfs: mount point on the host
    #[arg(long, value_name = "PATH")]
    target: Option<String>,
    /// fs: ext4, … [default: auto]; netfs: cifs, … [default: nfs]
    #[arg(long)]
    format: Option<String>,
    /// netfs: NFS version
    #[arg(long, value_name = "VERSION")]
    protocol_ver: Option<String>,
    /// rbd: a Ceph monitor (repeatable)
    #[arg(long, value_name = "HOST[:PORT]")]
    monitor: Vec<String>,
    /// rbd, iscsi: user name on the server
    #[arg(long, value_name = "USER")]
    auth_user: Option<String>,
    /// rbd, iscsi: UUID or usage of the libvirt secret
    #[arg(long, value_name = "UUID|USAGE")]
    secret: Option<String>,
    /// iscsi: this host's initiator IQN
    #[arg(long, value_name = "IQN")]
    initiator_iqn: Option<String>,
    /// Do not enable autostart
    #[arg(long)]
    no_autostart: bool,
    /// Print the pool XML, without changing anything
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PoolTypeArg {
    /// A directory
    Dir,
    /// A file system on a block device of the host
    Fs,
    /// A file system that another machine serves: NFS, CIFS, GlusterFS
    Netfs,
    /// An LVM volume group
    Logical,
    /// A ZFS pool or dataset
    Zfs,
    /// A Ceph pool
    Rbd,
    /// The LUNs of an iSCSI target
    Iscsi,
}

impl From<PoolTypeArg> for PoolType {
    fn from(arg: PoolTypeArg) -> Self {
        match arg {
            PoolTypeArg::Dir => Self::Dir,
            PoolTypeArg::Fs => Self::Fs,
            PoolTypeArg::Netfs => Self::NetFs,
            PoolTypeArg::Logical => Self::Logical,
            PoolTypeArg::Zfs => Self::Zfs,
            PoolTypeArg::Rbd => Self::Rbd,
            PoolTypeArg::Iscsi => Self::Iscsi,
        }
    }
}

impl PoolAddArgs {
    /// # Errors
    /// All invalid arguments, before connecting.
    fn parse_source(&self) -> Result<PoolSourceSpec, Error> {
        let wanted = PoolRequest {
            source: self.source.clone(),
            target: self.target.clone(),
            format: self.format.clone(),
            protocol_version: self.protocol_ver.clone(),
            monitors: self.monitor.clone(),
            auth_user: self.auth_user.clone(),
            secret: self.secret.clone(),
            initiator: self.initiator_iqn.clone(),
        };
        PoolSourceSpec::from_request(self.kind.into(), &wanted)
    }
}

pub(super) fn run_pool_add(args: &PoolAddArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let (name, source) = (&args.name, args.parse_source()?);
    let context = connect_host(global, ui)?;
    if args.dry_run {
        ui.write_result(&pools::plan_pool(&context, name, &source)?)?;
        ui.show_note(&dry_run_note(name, &source, args.no_autostart));
        return Ok(());
    }
    interrupt::install_handler(&context.cancel)?;
    pools::add_pool(&context, name, &source, !args.no_autostart)?;
    ui.write_line(&format!("Successfully added pool '{name}'"))
}

/// What adding the pool would do besides defining this XML.
fn dry_run_note(name: &PoolName, source: &PoolSourceSpec, no_autostart: bool) -> String {
    let mut actions = vec!["be defined".to_owned()];
    actions.extend(source.local_directory().map(|path| format!("get its directory {path} if missing")));
    actions.push("be started".into());
    if !no_autostart {
        actions.push("start with the host".into());
    }
    let last = actions.pop().unwrap_or_default();
    format!("Pool '{name}' would {} and {last}; nothing was changed", actions.join(", "))
}
