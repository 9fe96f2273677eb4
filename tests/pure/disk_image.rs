//! The format of an image by its first bytes, compared with what qemu-img makes and reports.

mod other_formats;
mod qcow2_headers;
mod random_headers;

use crate::support::deadline::CommandInTime as _;
use foundry::disk_image::{DiskImage, HEADER_LENGTH, Qcow2, detect_format};
use std::path::Path;
use std::process::Command;

/// Runs a program in a directory and gives what it printed.
fn run(directory: &Path, program: &str, arguments: &[&str]) -> Vec<u8> {
    let done = Command::new(program).current_dir(directory).args(arguments).output_in_time().unwrap();
    assert!(done.status.success(), "{program} {arguments:?}: {done:?}");
    done.stdout
}

/// The beginning of what `qemu-img create` makes of these arguments under the name `a.img`.
fn made(directory: &Path, arguments: &[&str]) -> Vec<u8> {
    let _ = std::fs::remove_file(directory.join("a.img"));
    run(directory, "qemu-img", &[&["create", "-q"], arguments].concat());
    head(&directory.join("a.img"))
}

fn head(file: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(file).unwrap();
    bytes.truncate(HEADER_LENGTH.try_into().unwrap());
    bytes
}

fn qcow2(head: &[u8]) -> Qcow2 {
    match detect_format(head) {
        Ok(DiskImage::Qcow2(header)) => header,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(head: &[u8], words: &str) {
    let refusal = detect_format(head).unwrap().refusal().unwrap();
    assert!(refusal.contains(words), "{refusal}");
}

fn patched(head: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut patched = head.to_vec();
    patched[at..at + bytes.len()].copy_from_slice(bytes);
    patched
}
