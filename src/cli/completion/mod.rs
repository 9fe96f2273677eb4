//! `foundry completion`, and `__complete`, which its scripts call
//!
//! ```text
//!  TAB ─▶ script of the shell ─▶ foundry __complete INDEX -- WORDS… ─▶ engine of clap ─▶ candidates, one each line
//!                                                                      asks for names ─▶ a read-only connection
//! ```
//!
//! Completion prints no errors, answers within a second, and changes nothing.

mod names;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use clap::{Arg, Args, Command, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};

use super::command;
use super::ui::Ui;
use foundry_core::error::Error;
use names::{CommandLine, FILES, is_file};

/// Print a shell completion script
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(foundry completion bash)
  foundry completion bash > /etc/bash_completion.d/foundry
  foundry completion zsh > \"${fpath[1]}/_foundry\"
  foundry completion fish > ~/.config/fish/completions/foundry.fish")]
pub(super) struct CompletionArgs {
    /// Shell to print the script for
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn print_script(args: &CompletionArgs, ui: &Ui) -> Result<(), Error> {
    ui.write_result(match args.shell {
        Shell::Bash => include_str!("foundry.bash"),
        Shell::Zsh => include_str!("foundry.zsh"),
        Shell::Fish => include_str!("foundry.fish"),
    })
}

/// Print what can be typed at the cursor; for the completion scripts
#[derive(Debug, Args)]
#[command(name = "__complete", hide = true)]
pub(super) struct CompleteArgs {
    /// Index of the word with the cursor, from 0
    index: usize,
    /// The command line
    #[arg(last = true)]
    words: Vec<OsString>,
}

pub(super) fn run_complete(args: &CompleteArgs, ui: &Ui) -> Result<(), Error> {
    let line = CommandLine::new(&args.words, args.index);
    let mut command = add_completers(command(), &line);
    let words = args.words.iter().take(args.index + 1).cloned().collect();
    // No candidates if the engine fails.
    let found = complete(&mut command, words, args.index, None).unwrap_or_default();
    ui.write_result(&candidate_lines(found, &line))
}

/// Adds a completer to each argument, chosen by the name of its value in the help.
fn add_completers(command: Command, line: &CommandLine) -> Command {
    let files = |_: &OsStr| vec![CompletionCandidate::new(FILES)];
    let with_candidates = |arg: Arg| {
        let name = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
        match name.as_deref() {
            Some(name) if is_file(name) => arg.add(ArgValueCompleter::new(files)),
            Some(name) => match line.value_source(name) {
                Some(source) => arg.add(ArgValueCompleter::new(source)),
                None => arg,
            },
            None => arg,
        }
    };
    command.mut_args(with_candidates).mut_subcommands(|sub| add_completers(sub, line))
}

/// One candidate per line, with its description after a tab; or a marker that makes the shell complete files.
fn candidate_lines(mut found: Vec<CompletionCandidate>, line: &CommandLine) -> String {
    let current = line.current_word();
    let value = |c: &CompletionCandidate| c.get_value().to_string_lossy().into_owned();
    let is_option = |c: &CompletionCandidate| value(c).starts_with('-');
    // Options are offered only after a dash, or if there is nothing else.
    if current.starts_with('-') || !found.iter().all(is_option) {
        found.retain(|c| is_option(c) == current.starts_with('-'));
    }
    // The word may also follow "--checksum=".
    if found.iter().any(|c| value(c).ends_with(FILES)) {
        return format!("{FILES}\n");
    }
    let own = names_by_alias(line);
    let one = |candidate: &CompletionCandidate| {
        let value = value(candidate);
        let value = own.get(&value).filter(|name| name.starts_with(current)).unwrap_or(&value);
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        match help.lines().next() {
            Some(help) => format!("{value}\t{}\n", foundry_core::text::escape_unseen(help)),
            None => format!("{value}\n"),
        }
    };
    found.iter().map(one).collect()
}

/// The commands that can follow, by alias. clap's engine offers one word per command, which may be an alias.
fn names_by_alias(line: &CommandLine) -> HashMap<String, String> {
    let root = command();
    let inner = |command: &Command, word: &String| command.find_subcommand(word).cloned();
    let here =
        line.previous_words().iter().fold(root, |command, word| inner(&command, word).unwrap_or(command));
    let named = |sub: &Command| {
        let name = sub.get_name().to_owned();
        sub.get_all_aliases().map(move |alias| (alias.to_owned(), name.clone())).collect::<Vec<_>>()
    };
    here.get_subcommands().flat_map(named).collect()
}
