//! The documents say what is true: each YAML block in them is rendered, each command is one that foundry takes.
//! What the commands do on a real host is `tests/live/docs.rs`.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::support::deadline::{ChildInTime as _, CommandInTime as _};
use crate::support::documents;
use crate::support::documents::{Block, blocks};
use clap::Parser;
use foundry::Cli;

fn foundry(args: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_foundry"))
        .args(args)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output_in_time().unwrap()
}

fn render(block: &Block, what: &str) -> String {
    let done = foundry(&["render", "-", "--what", what], &block.text);
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}:{}: {told}", block.file, block.line);
    String::from_utf8(done.stdout).unwrap()
}

/// A manifest of which a fragment is the `cloudInit`.
fn around(fragment: &str) -> String {
    let head = blocks().into_iter().find(|b| b.info == "yaml").unwrap().text;
    let head = head.split("  cloudInit:").next().unwrap();
    let indented: String = fragment.lines().map(|line| format!("  {line}\n")).collect();
    format!("{head}{indented}")
}

#[test]
fn every_yaml_block_is_what_it_says_it_is() {
    let mut manifests = 0;
    for block in blocks().into_iter().filter(|b| b.info.starts_with("yaml")) {
        let place = format!("{}:{}", block.file, block.line);
        match block.info.as_str() {
            "yaml" => {
                render(&block, "all");
                manifests += 1;
            }
            "yaml fragment" => {
                let text = around(&block.text);
                render(&Block { text, ..block }, "user-data");
            }
            "yaml user-data" => {
                assert_eq!(foundry::cloud_init::check_raw_user_data(&block.text), Ok(()), "{place}");
            }
            "yaml runners" => {
                foundry_runner::load_runner_pools(&block.text, &place).unwrap_or_else(|e| panic!("{e}"));
            }
            "yaml garm" => {
                foundry::garm::ProviderConfig::parse(&block.text, &place).unwrap_or_else(|e| panic!("{e}"));
            }
            "yaml executor" => {
                let defaults = crate::support::manifests::defaults();
                let read =
                    foundry::gitlab::executor_config::ExecutorConfig::parse(&block.text, &place, &defaults);
                read.unwrap_or_else(|e| panic!("{e:?}"));
            }
            // What `image catalog add` writes.
            "yaml catalog" => {}
            // What stands above a manifest.
            "yaml comment" => assert!(block.text.lines().all(|line| line.starts_with('#')), "{place}"),
            info => assert!(info.starts_with("yaml rendered "), "{place}: {info:?}"),
        }
    }
    assert!(manifests >= 2, "README.md and CLOUDINIT.md show a manifest each");
}

#[test]
fn what_is_shown_as_rendered_is_what_the_manifest_before_it_renders_to() {
    let mut manifest: Option<Block> = None;
    let mut compared = Vec::new();
    for block in blocks() {
        if block.info == "yaml" {
            manifest = Some(block);
        } else if let Some(what) = block.info.strip_prefix("yaml rendered ") {
            let rendered = render(manifest.as_ref().unwrap(), what);
            assert_eq!(rendered.trim_end(), block.text.trim_end(), "{}:{}", block.file, block.line);
            compared.push(what.to_owned());
        }
    }
    assert_eq!(compared, ["user-data", "meta-data", "network-config"]);
}

/// Each catalogue is what the commands in the block before it make of an empty one.
#[test]
fn what_is_shown_as_a_catalogue_is_what_the_commands_before_it_write() {
    let blocks = blocks();
    let mut compared = 0;
    for pair in blocks.windows(2).filter(|pair| pair[1].info == "yaml catalog") {
        let (commands, shown) = (&pair[0], &pair[1]);
        let home = tempfile::tempdir().unwrap();
        for line in commands.commands().filter(|line| line.starts_with("foundry image catalog")) {
            let done = Command::new(env!("CARGO_BIN_EXE_foundry"))
                .args(line.split_whitespace().skip(1))
                .env_clear()
                .env("XDG_CONFIG_HOME", home.path())
                .output_in_time()
                .unwrap();
            assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        }
        let written = std::fs::read_to_string(home.path().join("foundry/catalog.yaml")).unwrap();
        assert_eq!(written.trim_end(), shown.text.trim_end(), "{}:{}", shown.file, shown.line);
        compared += 1;
    }
    assert_eq!(compared, 1, "the guide shows a catalogue");
}

#[test]
fn every_command_is_one_that_foundry_takes() {
    let mut seen = 0;
    for block in blocks().into_iter().filter(|b| b.info == "console") {
        for command in block.commands() {
            for part in command.split('|').map(str::trim).filter(|part| part.starts_with("foundry ")) {
                let words = part.split(" > ").next().unwrap_or(part).split_whitespace();
                if let Err(e) = Cli::try_parse_from(words) {
                    panic!("{}:{}: {part}\n{e}", block.file, block.line);
                }
                seen += 1;
            }
        }
    }
    assert!(seen >= 15, "only {seen} commands were found: does this test still read the documents?");
}

/// The name by which a link leads to a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

#[test]
fn every_file_and_heading_that_is_linked_to_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in documents::FILES {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { file } else { path };
            assert!(root.join(path).exists(), "{file}: {target}");
            if !heading.is_empty() {
                let text = std::fs::read_to_string(root.join(path)).unwrap();
                let found = text.lines().any(|line| line.starts_with('#') && anchor(line) == heading);
                assert!(found, "{file}: {target}");
            }
        }
    }
}

/// Also in an editor that does not break lines, or beside the code.
#[test]
fn no_line_of_the_design_is_longer_than_120_columns() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("DESIGN.md")).unwrap();
    let long: Vec<usize> = text
        .lines()
        .zip(1..)
        .filter(|(line, _)| line.chars().count() > 120)
        .map(|(_, number)| number)
        .collect();
    assert!(long.is_empty(), "lines {long:?}");
}

/// The page that README.md leads to for them.
#[test]
fn every_command_and_exit_code_is_in_the_man_page() {
    let directory = tempfile::tempdir().unwrap();
    let written = foundry(&["man", directory.path().to_str().unwrap()], "");
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let page = std::fs::read_to_string(directory.path().join("man1/foundry.1")).unwrap();
    let help = String::from_utf8(foundry(&["--help"], "").stdout).unwrap();
    let listed = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    // Descriptions are broken into lines, which are indented more.
    let names =
        listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()));
    for name in names.filter(|name| *name != "help") {
        let name = name.replace('-', "\\-");
        assert!(
            page.contains(&format!("foundry\\-{name}(1)")),
            "foundry(1) does not mention the command {name}"
        );
    }
    for code in ["0", "1", "2", "3", "4", "5", "6", "64", "130, 143, 129"] {
        assert!(page.contains(&format!("\\fB{code}\\fR\n")), "foundry(1) does not mention exit code {code}");
    }
}
