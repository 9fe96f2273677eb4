//! `foundry man`, which packages are built with
//!
//! The pages are made from the same words as `--help`, and say more: all values with their meaning, what the exit codes
//! are, which files there are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use super::help::{ELSEWHERE, shown};
use crate::command;
use crate::ui::Ui;
use foundry_core::error::{Code, Error};
use foundry_core::text::io_cause;
use foundry_fetch::replace::put;

/// Write a man page for each command into a directory
#[derive(Debug, Args)]
#[command(
    hide = true,
    after_help = "Examples:
  foundry man /usr/local/share/man/man1"
)]
pub(crate) struct ManArgs {
    /// The directory; it is made where it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(args: &ManArgs, ui: &Ui) -> Result<(), Error> {
    let mut root = shown(command(), true).disable_help_subcommand(true);
    root.build();
    let pages = with_inner(&root);
    let write = || {
        fs::create_dir_all(&args.directory)?;
        pages.iter().try_for_each(|page| write_page(page, &args.directory))
    };
    write().map_err(|e: io::Error| {
        Error::new(Code::FileUnwritable, format!("cannot write man pages into {}", args.directory.display()))
            .because(io_cause(&e))
    })?;
    ui.line(&format!("Successfully wrote {} man pages", pages.len()))
}

fn with_inner(command: &Command) -> Vec<&Command> {
    let inner = command.get_subcommands().filter(|c| !c.is_hide_set()).flat_map(with_inner);
    [command].into_iter().chain(inner).collect()
}

/// roff(7) writes it before each piece: apostrophes are to be straight ones.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

fn write_page(command: &Command, directory: &Path) -> io::Result<()> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_name_section(&mut page)?;
    synopsis(command).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut more = Roff::new();
    examples(&mut more, command);
    if command.get_name() == "foundry" {
        whole(&mut more)
    } else {
        part(&mut more)
    }
    more.to_writer(&mut page)?;
    let file = man.get_filename();
    let body = String::from_utf8_lossy(&page).replace(PREAMBLE, "");
    // No date: the same version is to make the same page.
    let title = file.trim_end_matches(".1").to_uppercase().replace('-', "\\-");
    let title = format!(".TH {title} 1 \"\" \"foundry {}\" \"foundry\"\n", env!("CARGO_PKG_VERSION"));
    put(&directory.join(&file), format!("{PREAMBLE}{title}{body}").as_bytes(), 0o644)
}

/// As `--help` has it: clap_mangen leaves out which arguments can be given several times.
fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let mut section = Roff::new();
    section.control("SH", ["SYNOPSIS"]);
    section.text([roman(usage.trim_start_matches("Usage: "))]);
    section
}

/// What stands below the options in the help: paragraphs, of which those that are indented are shown as they are.
fn examples(page: &mut Roff, command: &Command) {
    let below = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    for paragraph in below.split("\n\n").filter(|p| !p.is_empty() && *p != ELSEWHERE) {
        match paragraph.strip_prefix("Examples:\n") {
            Some(lines) => {
                page.control("SH", ["EXAMPLES"]);
                verbatim(page, lines);
            }
            None => text(page, paragraph),
        }
    }
}

fn text(page: &mut Roff, paragraph: &str) {
    page.control("PP", []);
    for line in paragraph.lines() {
        if line.starts_with(' ') {
            verbatim(page, line);
        } else {
            page.text([roman(line)]);
        }
    }
}

fn verbatim(page: &mut Roff, lines: &str) {
    page.control("nf", []);
    for line in lines.lines() {
        page.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    page.control("fi", []);
}

/// What is to be said once.
fn whole(page: &mut Roff) {
    page.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in [
        ("0", "done"),
        ("1", "configuration: no such file, not YAML, an unknown field, a wrong type"),
        ("2", "validation: a value is missing or wrong"),
        ("3", "libvirt cannot be reached"),
        ("4", "the VM or the host: name taken, bridge missing, refused, absent"),
        ("5", "storage: pool, volume or image"),
        ("6", "what was waited for did not come in time; the VM stays"),
        ("64", "the command line cannot be understood"),
        ("130, 143, 129", "interrupted by SIGINT, SIGTERM, SIGHUP; what was made is removed again"),
    ] {
        item(page, code, meaning);
    }
    page.control("SH", ["FILES"]);
    item(
        page,
        "$XDG_CONFIG_HOME/foundry/config.yaml",
        "the user's configuration; ~/.config where that is not set",
    );
    item(page, "/etc/foundry/config.yaml", "the machine's; what the user's says goes before it");
    item(page, "$XDG_CONFIG_HOME/foundry/catalog.yaml", "the user's own images, over the built-in ones");
    page.control("SH", ["SEE ALSO"]);
    page.text([
        bold("virsh"),
        roman("(1), "),
        bold("cloud-init"),
        roman("(1); foundry explain tells what a manifest can say, and what the code of an error means."),
    ]);
}

fn part(page: &mut Roff) {
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("foundry"), roman("(1), which has the options of all commands and the exit codes")]);
}

fn item(page: &mut Roff, name: &str, meaning: &str) {
    page.control("TP", []);
    page.text([bold(name)]);
    page.text([roman(meaning)]);
}
