//! Help that fits on a screen.
//!
//! A command shows its own options. The global ones are listed by `foundry options`, as in kubectl. The man pages show
//! all.

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Args, Command};

use crate::command;
use crate::ui::Ui;
use crate::words::hints::GLOBAL_OPTIONS;
use foundry_core::error::Error;

/// The command line, with help that fits on one screen.
pub(crate) fn fit_on_one_screen(command: Command) -> Command {
    let help = Arg::new("help").short('h').long("help").help("Print help").action(ArgAction::HelpShort);
    let version = Arg::new("version").short('V').long("version").help("Print version");
    let command = command.disable_version_flag(true).arg(version.action(ArgAction::Version).global(true));
    let shared: Vec<Arg> =
        command.get_arguments().filter(|arg| arg.is_global_set()).map(|arg| arg.clone().hide(true)).collect();
    let command = command.mut_subcommands(|sub| hide_global_options(sub, &shared));
    set_global_options_shown(command, false)
        .after_help(GLOBAL_OPTIONS)
        .disable_help_flag(true)
        .arg(help.global(true))
}

/// The command line, with the global options shown or hidden.
pub(super) fn set_global_options_shown(command: Command, show: bool) -> Command {
    command.mut_args(|arg| if arg.get_help_heading().is_some() { arg.hide(!show) } else { arg })
}

/// List the options that every command accepts
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  foundry options")]
pub(crate) struct OptionsArgs {}

pub(super) fn run_options(_: &OptionsArgs, ui: &Ui) -> Result<(), Error> {
    ui.write_result(
        &set_global_options_shown(command(), true).help_template("{options}\n").render_help().to_string(),
    )
}

/// Gives a command hidden global options. Clap would add visible ones to each command that has none of that name.
fn hide_global_options(command: Command, shared: &[Arg]) -> Command {
    let mut below = command.get_after_help().map_or_else(StyledStr::new, |text| {
        let mut text = text.clone();
        text.push_str("\n\n");
        text
    });
    below.push_str(GLOBAL_OPTIONS);
    let is_new = |arg: &&Arg| command.get_arguments().all(|own| own.get_id() != arg.get_id());
    let hidden: Vec<Arg> = shared.iter().filter(is_new).cloned().collect();
    command.args(hidden).after_help(below).mut_subcommands(|sub| hide_global_options(sub, shared))
}
