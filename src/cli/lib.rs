//! The command line: one file for each command, its arguments directly above its handler.
//!
//! Results go to stdout, everything else to stderr. Only [`ui`] writes to either.

mod bulk;
mod commands;
mod completion;
pub mod config;
mod connect;
mod consent;
mod escape_keys;
mod guest_access;
mod host_query;
mod interrupt;
mod job_guest;
mod output;
mod output_file;
mod progress;
mod raw_terminal;
mod settings;
mod ssh_client;
pub mod ui;
mod usage_hints;
mod vm_selection;
mod watch;
pub mod words;

// Re-exports of the other crates, for programs that use foundry as a library and for the tests.
pub use foundry_core::{
    Code, Error, Kind, cloud_init, domain_xml, error, manifest, manifest_writer, names, origin, plan, pool,
    record, saved_memory, schema, storage_xml, text, units, yaml,
};
pub use foundry_engine as operations;
pub use foundry_fetch::{catalog, content, convert, disk_image, transfer};
pub use foundry_garm as garm;
pub use foundry_gitlab as gitlab;
pub use foundry_host as host;

use std::ffi::OsStr;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, FromArgMatches, Parser};

use crate::commands::{Command, help};
use crate::config::{Config, SettingKey};
use foundry_core::text::escape_unseen;
use foundry_engine::Settings;
use foundry_host::{SOCKET_KEEPER, run_socket_keeper};
use settings::{HEADING, ResolvedSettings, SettingArgs};
use ui::Ui;

/// The exit code for an invalid command line (sysexits.h, `EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;

/// Turn one YAML file into a running VM on libvirt, and delete it again
#[derive(Debug, Parser)]
#[command(name = "foundry", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The options that every command accepts.
#[derive(Debug, Args)]
pub struct Global {
    #[command(flatten)]
    settings: SettingArgs,
    /// Show libvirt's messages; -vv: log each call with its duration
    #[arg(short, long, global = true, help_heading = HEADING, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Show results and errors only
    #[arg(short, long, global = true, help_heading = HEADING)]
    quiet: bool,
}

impl Global {
    /// The settings of flags, environment and configuration files, merged.
    fn resolved(&self) -> &ResolvedSettings {
        self.settings.resolved()
    }

    /// # Errors
    /// If the configuration is invalid.
    fn engine_settings(&self) -> Result<Settings, Error> {
        self.resolved().engine_settings()
    }

    /// The effective configuration, merged from all sources.
    fn effective_config(&self) -> &Config {
        self.resolved().config()
    }
}

/// Runs the command line of this process and returns the exit code.
pub fn run() -> u8 {
    // Before anything else: a keeper closes all descriptors of its process.
    if std::env::args_os().nth(1).is_some_and(|first| first == SOCKET_KEEPER) {
        return run_socket_keeper();
    }
    let arguments = commands::garm_provider::complete_arguments(std::env::args_os().collect());
    let arguments = usage_hints::join_wait_goal(arguments.into_iter());
    let parsed = command()
        .try_get_matches_from(&arguments)
        .and_then(|mut given| Cli::from_arg_matches_mut(&mut given));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(mut usage) => {
            usage_hints::suggest_commands(&mut usage, &command(), &arguments);
            show_whole(&mut usage);
            return tell_usage(&usage);
        }
    };
    let global = &cli.global;
    let word = |key| global.effective_config().setting_text(key).unwrap_or_default();
    let ui = Ui::new(global.quiet, global.verbose, word(SettingKey::Color), word(SettingKey::Progress));
    match commands::run_command(&cli.command, global, &ui) {
        Ok(exit) => exit,
        Err(error) => {
            ui.show_error(&error);
            interrupt::exit_code(error.kind())
        }
    }
}

/// The command line. An environment variable that is empty is treated as unset.
pub fn command() -> clap::Command {
    let is_empty = |variable: &OsStr| std::env::var_os(variable).is_some_and(|value| value.is_empty());
    let command = Cli::command().mut_args(|arg| {
        if arg.get_env().is_some_and(is_empty) { arg.env(None::<&'static str>) } else { arg }
    });
    help::fit_on_one_screen(command)
}

/// Escapes what was typed: a script may have passed on a word that contains control characters.
fn show_whole(usage: &mut clap::Error) {
    let typed = [
        ContextKind::InvalidSubcommand,
        ContextKind::InvalidArg,
        ContextKind::InvalidValue,
        ContextKind::PriorArg,
    ];
    for kind in typed {
        if let Some(ContextValue::String(text)) = usage.get(kind) {
            let shown = escape_unseen(text);
            usage.insert(kind, ContextValue::String(shown));
        }
    }
}

/// Help and version are results; anything else that clap says is a usage error.
fn tell_usage(usage: &clap::Error) -> u8 {
    // Nothing can be done if stdout or stderr is closed.
    let _ = usage.print();
    if usage.use_stderr() { EXIT_USAGE } else { 0 }
}
