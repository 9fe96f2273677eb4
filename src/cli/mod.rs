//! The command line: one file for each command, its arguments directly above its handler.
//!
//! Results go to stdout, everything else to stderr. Only [`ui`] writes to either.

mod completion;
mod config;
mod connect;
mod consent;
mod create;
mod destroy;
mod disk;
mod doctor;
mod explain;
mod explain_code;
mod gc;
mod get;
mod glimpse;
mod habits;
mod help;
mod image;
mod init;
mod init_answers;
mod interrupt;
mod list;
mod man;
mod output;
mod pool;
mod pool_add;
mod progress;
mod render;
mod schema;
mod seed;
mod settings;
mod storage;
mod test_conn;
pub mod ui;
mod watch;

use std::ffi::OsStr;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Config, Key};
use crate::error::Error;
use crate::operations::Settings;
use crate::text::printable;
use settings::{Found, HEADING, SettingArgs};
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
    #[command(flatten)]
    settings: SettingArgs,
    /// Show libvirt's own words; twice, each call with its time
    #[arg(short, long, global = true, help_heading = HEADING, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Show results and errors only
    #[arg(short, long, global = true, help_heading = HEADING)]
    quiet: bool,
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
    Config(config::ConfigArgs),
    Init(init::InitArgs),
    Explain(explain::ExplainArgs),
    Schema(schema::SchemaArgs),
    Options(help::OptionsArgs),
    Completion(completion::CompletionArgs),
    Man(man::ManArgs),
    #[command(name = "__complete")]
    Complete(completion::CompleteArgs),
    TestConn(test_conn::TestConnArgs),
    Doctor(doctor::DoctorArgs),
}

impl Command {
    /// Whether it shows or mends the configuration, or has no use for one.
    fn does_without_configuration(&self) -> bool {
        matches!(
            self,
            Self::Config(_)
                | Self::Explain(_)
                | Self::Schema(_)
                | Self::Options(_)
                | Self::Completion(_)
                | Self::Man(_)
                | Self::Complete(_)
        )
    }
}

impl Global {
    /// What flags, the environment and configuration files come to.
    fn found(&self) -> &Found {
        self.settings.found()
    }

    /// # Errors
    /// Where the configuration is wrong.
    fn settings(&self) -> Result<Settings, Error> {
        self.found().settings()
    }

    /// What counts.
    fn config(&self) -> &Config {
        self.found().config()
    }
}

/// Runs the command line of this process; the exit code.
pub fn run() -> u8 {
    let arguments = habits::join_goals(std::env::args_os());
    let parsed = command()
        .try_get_matches_from(&arguments)
        .and_then(|mut given| Cli::from_arg_matches_mut(&mut given));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(mut usage) => {
            habits::add_ways(&mut usage, &command(), &arguments);
            show_whole(&mut usage);
            return tell_usage(&usage);
        }
    };
    let global = &cli.global;
    let word = |key| global.config().text(key).unwrap_or_default();
    let ui = Ui::new(global.quiet, global.verbose, word(Key::Color), word(Key::Progress));
    match dispatch(&cli, &ui) {
        Ok(()) => 0,
        Err(error) => {
            ui.error(&error);
            interrupt::exit_code(error.kind())
        }
    }
}

/// The command line, in which a variable that is set to nothing counts as not set.
pub fn command() -> clap::Command {
    let is_empty = |variable: &OsStr| std::env::var_os(variable).is_some_and(|value| value.is_empty());
    let command = Cli::command().mut_args(|arg| {
        if arg.get_env().is_some_and(is_empty) { arg.env(None::<&'static str>) } else { arg }
    });
    help::on_one_screen(command)
}

/// What was typed may be a word of somebody else's, that a script handed on.
fn show_whole(usage: &mut clap::Error) {
    let typed = [
        ContextKind::InvalidSubcommand,
        ContextKind::InvalidArg,
        ContextKind::InvalidValue,
        ContextKind::PriorArg,
    ];
    for kind in typed {
        if let Some(ContextValue::String(text)) = usage.get(kind) {
            let shown = printable(text);
            usage.insert(kind, ContextValue::String(shown));
        }
    }
}

/// Help and version are results; anything else that clap says is a usage error.
fn tell_usage(usage: &clap::Error) -> u8 {
    // A closed stdout or stderr leaves nobody to tell.
    let _ = usage.print();
    if usage.use_stderr() { EXIT_USAGE } else { 0 }
}

fn dispatch(cli: &Cli, ui: &Ui) -> Result<(), Error> {
    let global = &cli.global;
    if !cli.command.does_without_configuration() {
        global.found().check()?;
        global.found().ignored().iter().for_each(|why| ui.warn(why));
    }
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
        Command::Config(args) => config::run(args, global, ui),
        Command::Init(args) => init::run(args, global, ui),
        Command::Explain(args) => explain::run(args, ui),
        Command::Schema(args) => schema::run(args, ui),
        Command::Options(args) => help::run(args, ui),
        Command::Completion(args) => completion::run(args, ui),
        Command::Man(args) => man::run(args, ui),
        Command::Complete(args) => completion::run_complete(args, ui),
        Command::TestConn(args) => test_conn::run(args, global, ui),
        Command::Doctor(args) => doctor::run(args, global, ui),
    }
}
