//! What `--help`, `explain` and the man pages say.

use std::path::Path;
use std::process::Command as Program;

use crate::support::command::{Ran, foundry, run, skip_without};
use crate::support::deadline::CommandInTime as _;
use clap::{Command, Parser};
use foundry::schema::{self, Field};
use foundry::{Cli, command};

/// A screen: 80 columns, which every terminal has, and half of the lines that one has on a whole display.
const LINES: usize = 40;
const COLUMNS: usize = 80;
/// The list of all commands may take a whole one.
const LINES_OF_ALL: usize = 66;

/// All commands with the words that lead to them, those that are hidden included.
fn commands() -> Vec<(Vec<String>, Command)> {
    fn inner(path: &[String], command: &Command, all: &mut Vec<(Vec<String>, Command)>) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let path = [path, &[sub.get_name().to_owned()]].concat();
            inner(&path, sub, all);
            all.push((path, sub.clone()));
        }
    }
    let mut all = Vec::new();
    inner(&[], &command(), &mut all);
    assert!(all.len() > 30, "only {} commands were found", all.len());
    all
}

fn help(path: &[String]) -> String {
    let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let mut command = foundry(&args);
    let ran = Ran::from(command.env("COLUMNS", COLUMNS.to_string()).output_in_time().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{path:?}");
    ran.stdout
}

#[test]
fn the_help_of_each_command_fits_on_a_screen() {
    for (path, command) in commands() {
        let text = help(&path);
        let width = text.lines().map(|line| line.chars().count()).max().unwrap();
        let lines = text.lines().count();
        assert!(lines <= LINES && width <= COLUMNS, "{path:?}: {lines} lines, {width} columns\n{text}");
        assert!(!text.contains("--storage-path"), "{path:?} repeats the options of all commands");
        // An example that is broken into two lines can be copied no more.
        let below = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let long: Vec<&str> = below.lines().filter(|line| line.chars().count() > COLUMNS).collect();
        assert!(long.is_empty(), "{path:?}: {long:#?}");
    }
    let whole = help(&[]);
    assert!(whole.lines().all(|line| line.chars().count() <= COLUMNS), "{whole}");
    assert!(whole.lines().count() <= LINES_OF_ALL && !whole.contains("--storage-path"), "{whole}");
}

#[test]
fn the_options_of_all_commands_are_listed_in_one_place() {
    let mut command = foundry(&["options"]);
    let ran = Ran::from(command.env("COLUMNS", COLUMNS.to_string()).output_in_time().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= COLUMNS), "{}", ran.stdout);
    for arg in command_options() {
        assert!(
            ran.stdout.contains(&format!("--{arg} ")) || ran.stdout.contains(&format!("--{arg}.")),
            "{arg}"
        );
    }
}

/// The long names of what every command takes.
fn command_options() -> Vec<String> {
    let root = command();
    let all = root.get_arguments().filter(|arg| arg.is_global_set()).filter_map(|arg| arg.get_long());
    let all: Vec<String> = all.map(str::to_owned).collect();
    assert!(all.len() > 14, "{all:?}");
    all
}

/// Lines of examples that are foundry's, continued ones as one.
fn examples(text: &str) -> Vec<String> {
    let below = text.split_once("Examples:\n").map_or("", |(_, below)| below);
    let joined = below.replace("\\\n", " ");
    let lines = joined.lines().take_while(|line| line.starts_with("  ")).map(str::trim);
    let part = |line: &str| {
        let parts = line.split(['|', '>', '<', '&']).map(|part| part.trim().trim_end_matches(')').to_owned());
        parts.collect::<Vec<_>>()
    };
    lines
        .flat_map(part)
        .map(|part| without_variables(part.trim_start_matches('(')).to_owned())
        .filter(|p| p.starts_with("foundry "))
        .collect()
}

/// A command without the variables that are set before it: `NAME=value foundry list`.
fn without_variables(mut command: &str) -> &str {
    while let Some((first, rest)) = command.split_once(' ')
        && first
            .split_once('=')
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    {
        command = rest;
    }
    command
}

#[test]
fn each_command_has_examples_and_each_example_is_a_command() {
    for (path, command) in commands().into_iter().filter(|(_, c)| !c.has_subcommands()) {
        if path == ["__complete"] {
            continue;
        }
        let text = help(&path);
        let examples = examples(&text);
        let own = format!("foundry {}", path.join(" ").replace("vm info", "get"));
        let begins = |e: &&String| e.starts_with(&own) || e.starts_with(&own.replace(" list", ""));
        assert!(examples.iter().any(|e| begins(&e)), "{}: {examples:?}\n{text}", command.get_name());
        for example in examples {
            // A quoted word is one.
            let words = example.replace("'client.libvirt secret'", "secret");
            if let Err(error) = Cli::try_parse_from(words.split_whitespace()) {
                panic!("{path:?}: {example}\n{error}");
            }
        }
    }
}

#[test]
fn options_of_all_commands_are_taken_by_each() {
    for args in [["list", "-c", "test:///default"], ["-c", "test:///default", "list"]] {
        let ran = run(&args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains("test   running"), "{}", ran.stdout);
    }
    let ran = run(&["pool", "list", "-o", "name", "--connect", "test:///default"]);
    assert_eq!(ran.stdout, "default-pool\n");
}

#[test]
fn explain_shows_a_field() {
    for (name, args) in [
        ("manifest", &["explain"][..]),
        ("boot-disk", &["explain", "spec.bootDisk"]),
        ("all", &["explain", "--recursive"]),
        ("format", &["explain", "vm.spec.dataDisks[0].format"]),
        ("phase", &["explain", "status.phase"]),
    ] {
        let ran = run(args);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{args:?}");
        insta::with_settings!({ snapshot_path => "../data/explain", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, ran.stdout);
        });
    }
}

#[test]
fn explain_takes_every_spelling_of_a_path() {
    let shown = run(&["explain", "spec.bootDisk.image"]).stdout;
    for path in [
        "vm.spec.bootDisk.image",
        "VirtualMachine.spec.bootdisk.IMAGE",
        "vms.spec.bootDisk.image",
        "SPEC.bootDisk.image",
    ] {
        assert_eq!(run(&["explain", path]).stdout, shown, "{path}");
    }
    assert_eq!(run(&["explain", "vm"]).stdout, run(&["explain"]).stdout);
}

#[test]
fn explain_helps_with_a_path_that_is_wrong() {
    for (path, what, hint) in [
        (
            "spec.bootDsk",
            "spec has no field 'bootDsk'",
            "did you mean spec.bootDisk? foundry explain spec.bootDisk",
        ),
        // Two fields have that name.
        ("format", "a VirtualMachine has no field 'format'", "foundry explain spec."),
        (
            "sshAuthorizedKey",
            "a VirtualMachine has no field",
            "did you mean spec.cloudInit.sshAuthorizedKeys?",
        ),
        ("spec.bootDisk.image.x", "spec.bootDisk.image has no field 'x'", "foundry explain --recursive"),
        ("", "a VirtualMachine has no field ''", "foundry explain --recursive"),
        ("spec..vcpus", "spec has no field ''", "foundry explain --recursive"),
        ("a\u{7}b", r"a VirtualMachine has no field 'a\u{7}b'", "foundry explain --recursive"),
    ] {
        let Ran { code, stdout, stderr, .. } = run(&["explain", path]);
        assert_eq!((code, stdout.as_str()), (1, ""), "{path}: {stderr}");
        assert!(stderr.contains(what) && stderr.contains(hint), "{path}: {stderr}");
    }
}

/// The name alone is enough where one field has it.
#[test]
fn explain_finds_a_field_by_its_name() {
    for (name, path) in
        [("bootDisk", "spec.bootDisk"), ("sshauthorizedkeys", "spec.cloudInit.sshAuthorizedKeys")]
    {
        let ran = run(&["explain", name]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{name}");
        assert_eq!(ran.stdout, run(&["explain", path]).stdout, "{name}");
    }
}

/// What `explain` and editors show are the docstrings, which are written for users.
#[test]
fn every_field_is_described_in_words_for_users() {
    let schema = schema::document_schema();
    let fields = Field::document_root(&schema).all_fields();
    assert!(fields.len() > 50);
    for field in fields {
        let text = field.description();
        assert!(text.len() > 10 && text.ends_with('.'), "{}: {text:?}", field.path);
        assert!(!text.contains(['`', '[']) && !text.contains("\n"), "{}: {text:?}", field.path);
    }
}

/// The pages of a section, written by `foundry man`: their folder and their names.
fn pages_of(directory: &Path, section: u8) -> (std::path::PathBuf, Vec<String>) {
    let folder = directory.join(format!("man{section}"));
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    (folder, names)
}

#[test]
fn there_is_a_clean_man_page_for_each_command() {
    let directory = tempfile::tempdir().unwrap();
    let ran = run(&["man", directory.path().to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let all = commands();
    let hidden: Vec<_> = all.iter().filter(|(_, command)| command.is_hide_set()).collect();
    let mut expected: Vec<String> = all
        .iter()
        .filter(|(path, _)| !hidden.iter().any(|(hidden, _)| path.starts_with(hidden)))
        .map(|(path, _)| format!("foundry-{}.1", path.join("-")))
        .chain(["foundry.1".to_owned()])
        .collect();
    expected.sort();
    let (pages, found) = pages_of(directory.path(), 1);
    assert_eq!(found, expected);
    for page in &found {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        for heading in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", "SEE ALSO"] {
            assert!(text.contains(heading), "{page}: {heading}");
        }
    }
    let create = std::fs::read_to_string(pages.join("foundry-create.1")).unwrap();
    assert!(create.contains("foundry create [OPTIONS] [FILE]..."), "several files may be given:\n{create}");
    lint(&pages, &found, "foundry image pull debian-13");
}

#[test]
fn the_manifest_has_a_clean_man_page_with_every_field() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(run(&["man", directory.path().to_str().unwrap()]).code, 0);
    let (pages, found) = pages_of(directory.path(), 5);
    assert_eq!(found, ["foundry.5"]);
    let page = std::fs::read_to_string(pages.join("foundry.5")).unwrap();
    let schema = schema::document_schema();
    let fields = Field::document_root(&schema).all_fields();
    assert!(fields.len() > 50);
    for field in fields {
        let entry = format!("\\fB{}\\fR", field.path);
        assert!(page.contains(&entry), "foundry(5) does not describe {}", field.path);
    }
    assert!(page.contains("\\fBspec.vcpus\\fR \\fIinteger, required\\fR"), "{page}");
    lint(&pages, &found, "sizeGiB: 20");
}

#[test]
fn the_guide_is_a_clean_man_page() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(run(&["man", directory.path().to_str().unwrap()]).code, 0);
    let (pages, found) = pages_of(directory.path(), 7);
    assert_eq!(found, ["foundry-guide.7"]);
    let page = std::fs::read_to_string(pages.join("foundry-guide.7")).unwrap();
    for mark in ["```", "**", "|---", "](", "\n## "] {
        assert!(!page.contains(mark), "{mark:?} is left of the Markdown");
    }
    lint(&pages, &found, "foundry image import disk.raw.xz --checksum SHA512SUMS");
    // A row of a table is an entry, with the headings of its columns.
    assert!(page.contains(".TP\n\\fBvmPool\\fR, \\fBimagePool\\fR\nflag: \\fB\\-\\-vm\\-pool\\fR"), "{page}");
}

/// mandoc and groff judge them; an example is shown in one line.
fn lint(pages: &Path, names: &[String], example: &str) {
    let mandoc = Program::new("mandoc")
        .args(["-T", "lint", "-W", "error"])
        .args(names)
        .current_dir(pages)
        .output_in_time();
    match mandoc {
        Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout)),
        Err(_) => skip_without("mandoc", "mandoc"),
    }
    let man = Program::new("man")
        .args(["--warnings", "-E", "UTF-8", "-l"])
        .args(names)
        .current_dir(pages)
        .env("MANWIDTH", "80")
        .output_in_time();
    match man {
        Ok(done) => {
            let told = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success() && told.is_empty(), "{told}");
            let shown = String::from_utf8_lossy(&done.stdout);
            assert!(shown.contains(example), "examples are shown: {shown}");
        }
        Err(_) => skip_without("man", "man-db"),
    }
}
