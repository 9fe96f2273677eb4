//! `foundry man`, which packages are built with.
//!
//! Section 1 has a page for each command, made from the texts of `--help`, with the meaning of each value, the exit
//! codes and the files. Section 5 describes the manifest, made from its schema. Section 7 is the guide, `guide.md`.

mod guide;
mod manifest;
mod markdown;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use super::help::set_global_options_shown;
use crate::command;
use crate::ui::Ui;
use crate::words::hints::{EXPLAIN_IN_MAN, GLOBAL_OPTIONS};
use foundry_core::error::{Code, Error};
use foundry_core::text::describe_io_error;
use foundry_fetch::atomic_write::write_atomically;

/// Write the man pages into a directory
#[derive(Debug, Args)]
#[command(
    hide = true,
    after_help = "Examples:
  foundry man /usr/local/share/man"
)]
pub(crate) struct ManArgs {
    /// Directory for man1, man5 and man7; created if missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// A finished page.
struct ManPage {
    /// Name without the section: `foundry-create`.
    name: String,
    /// Section of the manual.
    section: u8,
    /// Everything after the title, in roff(7).
    body: String,
}

pub(super) fn run_man(args: &ManArgs, ui: &Ui) -> Result<(), Error> {
    let mut root = set_global_options_shown(command(), true).disable_help_subcommand(true);
    root.build();
    let write = || {
        let commands =
            with_subcommands(&root).into_iter().map(command_page).collect::<io::Result<Vec<ManPage>>>()?;
        let pages: Vec<ManPage> =
            commands.into_iter().chain([manifest::manifest_page(), guide::guide_page()]).collect();
        pages.iter().try_for_each(|page| write_page(page, &args.directory))?;
        Ok(pages.len())
    };
    let count = write().map_err(|e: io::Error| {
        Error::new(Code::FileUnwritable, format!("cannot write man pages into {}", args.directory.display()))
            .because(describe_io_error(&e))
    })?;
    ui.write_line(&format!("Successfully wrote {count} man pages"))
}

fn with_subcommands(command: &Command) -> Vec<&Command> {
    let inner = command.get_subcommands().filter(|c| !c.is_hide_set()).flat_map(with_subcommands);
    [command].into_iter().chain(inner).collect()
}

/// The roff crate writes this before each piece, so that apostrophes are straight ones.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

fn write_page(page: &ManPage, directory: &Path) -> io::Result<()> {
    let ManPage { name, section, body } = page;
    let body = body.replace(PREAMBLE, "");
    // No date, so builds are reproducible.
    let title = name.to_uppercase().replace('-', "\\-");
    let title = format!(".TH {title} {section} \"\" \"foundry {}\" \"foundry\"\n", env!("CARGO_PKG_VERSION"));
    let folder = directory.join(format!("man{section}"));
    fs::create_dir_all(&folder)?;
    write_atomically(
        &folder.join(format!("{name}.{section}")),
        format!("{PREAMBLE}{title}{body}").as_bytes(),
        0o644,
    )
}

fn command_page(command: &Command) -> io::Result<ManPage> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_name_section(&mut page)?;
    synopsis_section(command).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut more = Roff::new();
    add_examples(&mut more, command);
    if command.get_name() == "foundry" {
        add_main_sections(&mut more)
    } else {
        add_see_also(&mut more)
    }
    more.to_writer(&mut page)?;
    let name = man.get_filename().trim_end_matches(".1").to_owned();
    Ok(ManPage { name, section: 1, body: String::from_utf8_lossy(&page).into_owned() })
}

/// The usage line of `--help`: that of clap_mangen does not show which arguments can be repeated.
fn synopsis_section(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let mut section = Roff::new();
    section.control("SH", ["SYNOPSIS"]);
    section.text([roman(usage.trim_start_matches("Usage: "))]);
    section
}

/// The text below the options in the help. Indented lines are shown as they are.
fn add_examples(page: &mut Roff, command: &Command) {
    let below = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    for paragraph in below.split("\n\n").filter(|p| !p.is_empty() && *p != GLOBAL_OPTIONS) {
        match paragraph.strip_prefix("Examples:\n") {
            Some(lines) => {
                page.control("SH", ["EXAMPLES"]);
                add_verbatim(page, lines);
            }
            None => add_text(page, paragraph),
        }
    }
}

fn add_text(page: &mut Roff, paragraph: &str) {
    page.control("PP", []);
    for line in paragraph.lines() {
        if line.starts_with(' ') {
            add_verbatim(page, line);
        } else {
            page.text([roman(line)]);
        }
    }
}

/// Lines that are shown as they are.
fn add_verbatim(page: &mut Roff, lines: &str) {
    page.control("nf", []);
    for line in lines.lines() {
        page.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    page.control("fi", []);
}

/// Sections that only foundry(1) has.
fn add_main_sections(page: &mut Roff) {
    page.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in [
        ("0", "success"),
        (
            "1",
            "configuration: no such file, invalid YAML, unknown field, wrong type, wrong apiVersion or kind",
        ),
        ("2", "validation: a value is missing or wrong"),
        ("3", "libvirt cannot be reached, or does not answer any more"),
        ("4", "the VM or the host: name already in use, bridge missing, refused, not found"),
        ("5", "storage: pool, volume or image"),
        ("6", "timeout while waiting; the VM is kept"),
        ("7", "diff: a VM differs from its manifest, which is not an error"),
        ("64", "invalid command line"),
        ("130, 143, 129", "interrupted by SIGINT, SIGTERM or SIGHUP; the changes were rolled back"),
    ] {
        add_list_item(page, code, meaning);
    }
    page.control("SH", ["FILES"]);
    add_list_item(
        page,
        "$XDG_CONFIG_HOME/foundry/config.yaml",
        "configuration of the user (default: ~/.config)",
    );
    add_list_item(
        page,
        "/etc/foundry/config.yaml",
        "configuration of the machine; the user's configuration overrides it",
    );
    add_list_item(
        page,
        "$XDG_CONFIG_HOME/foundry/catalog.yaml",
        "the user's image catalogue; its entries override the built-in ones",
    );
    page.control("SH", ["SEE ALSO"]);
    page.text([
        bold("foundry"),
        roman("(5) for the manifest, "),
        bold("foundry-guide"),
        roman("(7), "),
        bold("virsh"),
        roman("(1), "),
        bold("cloud-init"),
        roman(format!("(1){EXPLAIN_IN_MAN}")),
    ]);
}

fn add_see_also(page: &mut Roff) {
    page.control("SH", ["SEE ALSO"]);
    page.text([
        bold("foundry"),
        roman("(1) for global options and exit codes, "),
        bold("foundry-guide"),
        roman("(7)"),
    ]);
}

/// An entry of a list: a term and its meaning.
fn add_list_item(page: &mut Roff, name: &str, meaning: &str) {
    page.control("TP", []);
    page.text([bold(name)]);
    page.text([roman(meaning)]);
}
