//! The commands of the documents, run in their order on a real libvirtd.
//!
//! What is the reader's own is put in their place: the bridge, the addresses, the VM's name, and for the image
//! of a distribution the tiny guest.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panic, and says aloud what it skips"
)]

mod documents;
#[path = "common/live/mod.rs"]
mod live;

use std::path::Path;
use std::process::Command;

use documents::{Block, blocks};
use live::Bed;

/// The name of the VM in the documents, and what it is here.
fn vm(bed: &Bed) -> String {
    bed.name("web")
}

fn in_this_bed(bed: &Bed, text: &str) -> String {
    text.replace("bridge: br0", &format!("bridge: {}", bed.bridge()))
        .replace("10.20.30.40", "10.77.0.95")
        .replace("10.20.30.", "10.77.0.")
        .replace("name: web\n", &format!("name: {}\n", vm(bed)))
}

/// A directory as a reader has it: the examples, a manifest, a downloaded image.
fn lay_out(bed: &Bed) {
    let examples = bed.home().join("examples");
    std::fs::create_dir(&examples).unwrap();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap() {
        let from = entry.unwrap().path();
        if from.extension().is_some_and(|e| e == "yaml") {
            let text = in_this_bed(bed, &std::fs::read_to_string(&from).unwrap());
            std::fs::write(examples.join(from.file_name().unwrap()), text).unwrap();
        }
    }
    std::fs::copy(examples.join("simple-vm.yaml"), bed.home().join("vm.yaml")).unwrap();
    std::fs::copy(bed.tiny(), bed.home().join("debian-12-genericcloud-amd64.qcow2")).unwrap();
}

/// Runs one line of a document as its reader would.
#[track_caller]
fn run(bed: &Bed, line: &str) {
    let line = line.split_whitespace().map(|w| if w == "web" { vm(bed) } else { w.to_owned() });
    let line = line.collect::<Vec<_>>().join(" ");
    let program = Path::new(env!("CARGO_BIN_EXE_foundry")).parent().unwrap();
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", &line]).current_dir(bed.home()).env_clear();
    for (name, value) in bed.variables() {
        let value = if name == "PATH" { format!("{}:{value}", program.display()) } else { value };
        command.env(name, value);
    }
    let done = command.output().unwrap();
    println!("$ {line}\n{}", String::from_utf8_lossy(&done.stdout));
    assert!(done.status.success(), "$ {line}\n{}", String::from_utf8_lossy(&done.stderr));
}

/// Lines that begin with another program are that program's business.
fn is_ours(line: &str) -> bool {
    line.contains("foundry ")
}

fn commands_of(file: &str) -> Vec<String> {
    let in_file = |block: &Block| block.file == file && block.info == "console";
    let ours = |block: Block| {
        println!("{}:{}", block.file, block.line);
        block.commands().filter(|line| is_ours(line)).map(str::to_owned).collect::<Vec<_>>()
    };
    blocks().into_iter().filter(in_file).flat_map(ours).collect()
}

#[test]
fn the_readers_tour_works_as_it_stands() {
    let Some(bed) = Bed::new("docs") else { return };
    lay_out(&bed);
    let readme = commands_of("README.md");
    let (first, tour) = readme.split_first().unwrap();
    tour.iter().for_each(|line| run(&bed, line));
    bed.uses_address("10.77.0.95");
    assert_eq!(bed.traces(), [], "the tour ends where it began");
    // The first screen comes before the tour, to a reader who has an image already.
    run(&bed, "foundry image import debian-12-genericcloud-amd64.qcow2 debian-12");
    run(&bed, first);
    commands_of("CLOUDINIT.md").iter().for_each(|line| run(&bed, line));
}
