//! The command line: one file for each command, its arguments directly above its handler.
//!
//! Results go to stdout, everything else to stderr. Only [`ui`] writes to either.

mod connect;
mod create;
mod destroy;
mod disk;
mod doctor;
mod gc;
mod get;
mod image;
mod interrupt;
mod list;
mod output;
mod pool;
mod pool_add;
mod render;
mod seed;
mod storage;
mod test_conn;
pub mod ui;

use std::ffi::OsStr;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::domain_xml::VirtType;
use crate::error::{Error, Kind};
use crate::names::PoolName;
use crate::operations::Settings;
use ui::Ui;

/// The exit code for a command line that cannot be understood (sysexits.h, `EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;

/// Turn one YAML file into a running VM on libvirt, and take it away again
#[derive(Debug, Parser)]
#[command(name = "foundry", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Connect to this libvirt [default: LIBVIRT_DEFAULT_URI, else qemu:///system as root, else qemu:///session]
    #[arg(short, long, global = true, value_name = "URI", env = "FOUNDRY_CONNECT", hide_env_values = true)]
    connect: Option<String>,
    /// Show libvirt's own words; twice, each call with its time
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Show results and errors only
    #[arg(short, long, global = true)]
    quiet: bool,
    /// How guests run: by the processor (kvm), by QEMU's translator (qemu), or as the host offers
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "auto",
        env = "FOUNDRY_VIRT_TYPE",
        hide_env_values = true
    )]
    virt_type: VirtTypeArg,
    /// Pool of VM disks, where a manifest names none
    #[arg(long, global = true, value_name = "POOL", default_value = Settings::DEFAULT_VM_POOL, env = "FOUNDRY_VM_POOL", hide_env_values = true)]
    vm_pool: PoolName,
    /// Pool of images, where a manifest names none
    #[arg(long, global = true, value_name = "POOL", default_value = Settings::DEFAULT_IMAGE_POOL, env = "FOUNDRY_IMAGE_POOL", hide_env_values = true)]
    image_pool: PoolName,
    /// Directory on the host in which these two pools are made [default: libvirt's own for images]
    #[arg(long, global = true, value_name = "DIR", env = "FOUNDRY_STORAGE_PATH", hide_env_values = true)]
    storage_path: Option<String>,
    /// Give up a call that libvirt has not answered for so long, 0 for never; what copies data has 60 times as long
    #[arg(long, global = true, value_name = "TIME", default_value = "60s", value_parser = output::parse_duration, env = "FOUNDRY_CALL_TIMEOUT", hide_env_values = true)]
    call_timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VirtTypeArg {
    Auto,
    Kvm,
    Qemu,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(create::CreateArgs),
    Destroy(destroy::DestroyArgs),
    List(list::ListArgs),
    Get(get::GetArgs),
    Render(render::RenderArgs),
    /// Show one VM (another spelling of get)
    Vm(get::VmArgs),
    Image(image::ImageArgs),
    Disk(disk::DiskArgs),
    Pool(pool::PoolArgs),
    Storage(storage::StorageArgs),
    Seed(seed::SeedArgs),
    Gc(gc::GcArgs),
    TestConn(test_conn::TestConnArgs),
    Doctor(doctor::DoctorArgs),
}

impl Global {
    /// # Errors
    /// Where a path is not absolute: it is one of the host's, not of this directory.
    fn settings(&self) -> Result<Settings, Error> {
        if let Some(path) =
            self.storage_path.as_deref().filter(|p| !p.starts_with('/') || p.contains(char::is_control))
        {
            return Err(Error::new(
                Kind::Configuration,
                format!("--storage-path {path:?} is not an absolute path"),
            ));
        }
        Ok(Settings {
            vm_pool: self.vm_pool.clone(),
            image_pool: self.image_pool.clone(),
            storage_path: self.storage_path.clone(),
            virt_type: match self.virt_type {
                VirtTypeArg::Auto => None,
                VirtTypeArg::Kvm => Some(VirtType::Kvm),
                VirtTypeArg::Qemu => Some(VirtType::Qemu),
            },
        })
    }
}

/// Runs the command line of this process; the exit code.
pub fn run() -> u8 {
    let parsed = command().try_get_matches().and_then(|mut given| Cli::from_arg_matches_mut(&mut given));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(usage) => return tell_usage(&usage),
    };
    let ui = Ui::new(cli.global.quiet, cli.global.verbose);
    match dispatch(&cli, &ui) {
        Ok(()) => 0,
        Err(error) => {
            ui.error(&error);
            interrupt::exit_code(error.kind())
        }
    }
}

/// The command line, in which a variable that is set to nothing counts as not set.
fn command() -> clap::Command {
    let is_empty = |variable: &OsStr| std::env::var_os(variable).is_some_and(|value| value.is_empty());
    Cli::command()
        .mut_args(|arg| if arg.get_env().is_some_and(is_empty) { arg.env(None::<&'static str>) } else { arg })
}

/// Help and version are results; anything else that clap says is a usage error.
fn tell_usage(usage: &clap::Error) -> u8 {
    // A closed stdout or stderr leaves nobody to tell.
    let _ = usage.print();
    if usage.use_stderr() { EXIT_USAGE } else { 0 }
}

fn dispatch(cli: &Cli, ui: &Ui) -> Result<(), Error> {
    let global = &cli.global;
    match &cli.command {
        Command::Create(args) => create::run(args, global, ui),
        Command::Destroy(args) => destroy::run(args, global, ui),
        Command::List(args) => list::run(args, global, ui),
        Command::Get(args) => get::run(args, global, ui),
        Command::Vm(args) => get::run_vm(args, global, ui),
        Command::Render(args) => render::run(args, global, ui),
        Command::Image(args) => image::run(args, global, ui),
        Command::Disk(args) => disk::run(args, global, ui),
        Command::Pool(args) => pool::run(args, global, ui),
        Command::Storage(args) => storage::run(args, global, ui),
        Command::Seed(args) => seed::run(args, global, ui),
        Command::Gc(args) => gc::run(args, global, ui),
        Command::TestConn(args) => test_conn::run(args, global, ui),
        Command::Doctor(args) => doctor::run(args, global, ui),
    }
}
