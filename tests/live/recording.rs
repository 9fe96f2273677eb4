//! The recording that README.md shows: it is made anew, and says the same.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::arena::is_full;
use crate::support::deadline::{CommandInTime as _, of_a_whole_test, within_limit};
use crate::support::documents;

/// GitHub shows larger ones, too, and readers on the road wait for them.
const LARGEST: usize = 150 * 1024;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shown(name: &str) -> String {
    std::fs::read_to_string(root().join("examples").join(name)).unwrap()
}

/// What a variable of scripts/test.sh says; where nothing may be skipped, it has to.
fn environment(name: &str) -> Option<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        assert!(std::env::var("FOUNDRY_TEST_REQUIRE").as_deref() != Ok("1"), "{name} is not set");
        println!("skipped: {name} is not set");
    }
    value
}

/// What a script of the recording's prints; `None` without what it needs.
fn script(name: &str, arguments: &[&Path]) -> Option<String> {
    let python = PathBuf::from(std::env::var_os("FOUNDRY_TEST_PYTHON").unwrap_or("/usr/bin/python3".into()));
    let has = Command::new(&python).args(["-c", "import pyte"]).stderr(Stdio::null()).status_in_time();
    if !has.is_ok_and(|status| status.success()) {
        assert!(std::env::var("FOUNDRY_TEST_REQUIRE").as_deref() != Ok("1"), "python3-pyte is missing");
        println!("skipped: python3-pyte is missing");
        return None;
    }
    let mut command = Command::new(python);
    command.arg(root().join("scripts").join(name)).args(arguments).stdin(Stdio::null());
    command.env("FOUNDRY", env!("CARGO_BIN_EXE_foundry"));
    // A recording is tried three times.
    let done = within_limit(name, of_a_whole_test(), || command.output()).unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(String::from_utf8(done.stdout).unwrap())
}

fn text_of(cast: &Path) -> Option<String> {
    script("draw_cast.py", &[Path::new("--text"), cast])
}

/// A text without what is another each time: how long something took, and the columns that are as wide as that.
fn but_times(text: &str) -> String {
    let is_number = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    let is_time = |word: &str| {
        let word = word.trim_matches(['(', ')']);
        ["ms", "s", "m"].iter().any(|unit| word.strip_suffix(unit).is_some_and(is_number))
    };
    let but = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let seconds = |index: usize| is_number(words[index]) && words.get(index + 1) == Some(&"s");
        let word = |index: usize| if is_time(words[index]) || seconds(index) { "TIME" } else { words[index] };
        let mut words: Vec<&str> = (0..words.len()).map(word).collect();
        words.dedup_by(|a, b| a == b && *a == "TIME");
        words.join(" ")
    };
    // The guest's shell names its own version.
    text.lines().filter(|line| !line.starts_with("BusyBox ")).map(but).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_recording_is_what_foundry_says_today() {
    if environment("FOUNDRY_TEST_TINY").is_none() {
        return;
    }
    if !is_full() {
        println!("skipped: it takes minutes, and scripts/test.sh --full has it");
        return;
    }
    let Some(before) = text_of(&root().join("examples/tour.cast")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (cast, svg) = (folder.path().join("tour.cast"), folder.path().join("tour.svg"));
    script("record.py", &[&cast, &svg]);
    let today = text_of(&cast).unwrap();
    assert_eq!(but_times(&today), but_times(&before), "scripts/record.py makes it anew");
}

#[test]
fn the_picture_is_the_recordings() {
    let Some(drawn) = script("draw_cast.py", &[&root().join("examples/tour.cast")]) else { return };
    assert!(
        drawn == shown("tour.svg"),
        "scripts/draw_cast.py examples/tour.cast >examples/tour.svg draws it anew"
    );
}

/// GitHub shows an SVG as a picture: what acts or asks for something else is not shown, or not the same to everybody.
#[test]
fn the_picture_is_a_picture() {
    let svg = shown("tour.svg");
    assert!(svg.len() < LARGEST && shown("tour.cast").len() < LARGEST);
    let document = roxmltree::Document::parse(&svg).unwrap();
    let known = ["svg", "title", "style", "rect", "g", "text", "tspan"];
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        assert!(known.contains(&node.tag_name().name()), "{:?}", node.tag_name());
        for attribute in node.attributes() {
            let name = attribute.name();
            assert!(!name.starts_with("on") && name != "href", "{name}");
            assert!(!attribute.value().contains("url("), "{name}");
        }
    }
    assert!(!svg.contains("@import") && !svg.contains("url("));
}

/// Nothing of the machine that it was made on.
#[test]
fn the_recording_knows_no_machine() {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for text in [shown("tour.cast"), shown("tour.svg")] {
        for foreign in ["/root", "/home", "/var", "/tmp", "/usr", "foundry-test", "foundry-private"] {
            assert!(!text.contains(foreign), "{foreign}");
        }
        assert!(
            !text
                .split(|c: char| !c.is_alphanumeric() && c != '-')
                .any(|word| word == host.trim() && word.len() > 3)
        );
    }
}

/// The last picture, which stands still: somebody is in the VM.
#[test]
fn the_recording_ends_inside_of_the_vm() {
    let Some(text) = text_of(&root().join("examples/tour.cast")) else { return };
    let (_, inside) = text.split_once("$ foundry ssh web\n").unwrap_or_else(|| panic!("{text}"));
    assert!(inside.contains("~ # hostname\nweb\n"), "{text}");
    assert!(inside.trim_end().ends_with("~ #"), "{text}");
}

/// The reader's first screen has the picture; what it plays is what the reader is told to type, in the same order.
#[test]
fn the_readme_shows_it_and_its_commands() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let first = readme.split("\n## ").next().unwrap();
    assert!(first.contains("](examples/tour.svg)") && first.contains("](examples/tour.cast)"), "{first}");
    let Some(text) = text_of(&root().join("examples/tour.cast")) else { return };
    let played: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert!(played.len() >= 3, "{played:?}");
    let blocks = documents::blocks();
    let shown: Vec<_> = blocks
        .iter()
        .filter(|block| (block.file, block.info.as_str()) == ("README.md", "console"))
        .map(|block| (block.line, block.commands().take(played.len()).collect::<Vec<_>>()))
        .collect();
    let taught = shown.iter().any(|(_, commands)| *commands == played);
    assert!(taught, "README.md does not explain {played:?}, but by line {shown:#?}");
}
