//! What the commands on images refuse and ask for, before a byte of an image is read.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod support;

use std::process::{Command, Stdio};

use support::command::{Ran, foundry, skip_without};
use support::deadline::CommandInTime as _;

/// libvirt's test driver with one image that is surely whole and one of which it shows nothing.
const NODE: &str = "<node><pool type='dir'><name>foundry-images</name><target><path>/nowhere</path></target>\
    <volume><name>one.qcow2</name><capacity>1048576</capacity><allocation>0</allocation><target><path>/nowhere/one.qcow2</path><format type='qcow2'/></target></volume>\
    <volume><name>two.raw</name><capacity>1048576</capacity><allocation>0</allocation><target><path>/nowhere/two.raw</path><format type='raw'/></target></volume>\
    </pool></node>";

struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("node.xml"), NODE).unwrap();
        Self(folder)
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn uri(&self) -> String {
        format!("test://{}", self.at("node.xml"))
    }

    fn run(&self, args: &[&str]) -> Ran {
        let uri = self.uri();
        let mut command = foundry(&[&["-c", uri.as_str(), "image"], args].concat());
        Ran::from(command.stdin(Stdio::null()).output_in_time().unwrap())
    }
}

#[test]
fn nothing_is_pruned_where_nobody_can_be_asked() {
    let node = Node::new();
    let ran = node.run(&["prune", "--all"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("--yes") && ran.stderr.contains("nothing was deleted"), "{}", ran.stderr);
    let ran = node.run(&["prune", "--all", "--dry-run"]);
    assert_eq!(ran.stdout, "Would delete:\n  one.qcow2  0 B  of unknown origin\n", "{}", ran.stderr);
    let ran = node.run(&["prune", "--all", "--yes"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Successfully deleted 1 image, 0 B\n"), "{}", ran.stderr);
}

#[test]
fn an_image_that_cannot_be_read_is_listed_as_unknown() {
    let ran = Node::new().run(&["list", "--no-headers"]);
    let formats: Vec<&str> = ran.stdout.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(formats, ["qcow2", "unknown"], "{}", ran.stderr);
}

#[test]
fn only_a_regular_file_is_replaced_by_an_export() {
    let node = Node::new();
    let (file, link, folder) = (node.at("file"), node.at("link"), node.at("folder"));
    std::fs::write(&file, "mine").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let refused = |args: &[&str], why: &str| {
        let ran = node.run(&[&["export", "one.qcow2"], args].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    };
    refused(&[&file], "--force replaces it");
    for odd in [&link, &folder] {
        refused(&[odd], "is no regular file");
        refused(&[odd, "--force"], "is no regular file");
    }
    assert_eq!(std::fs::read_link(&link).unwrap().display().to_string(), file);
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}

#[test]
fn an_image_is_not_written_to_a_terminal() {
    let node = Node::new();
    for target in ["-", "/dev/tty", "/dev/stdout"] {
        let command =
            format!("{} -c {} image export one.qcow2 {target}", env!("CARGO_BIN_EXE_foundry"), node.uri());
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).env_clear().env("PATH", "/usr/bin:/bin");
        let Ok(out) = script.stdin(Stdio::null()).output_in_time() else {
            skip_without("script", "bsdutils");
            return;
        };
        let said = String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(1), "{target}: {said}");
        assert!(said.contains("nothing for a terminal"), "{target}: {said}");
    }
}
