//! What the tests of manifests share.
#![allow(dead_code, reason = "each of them takes what it needs")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::{Path, PathBuf};

use foundry::plan::Defaults;

/// The defaults of a host that nobody has configured.
pub(crate) fn defaults() -> Defaults {
    Defaults {
        vm_pool: "foundry-vms".parse().unwrap(),
        image_pool: "foundry-images".parse().unwrap(),
        pool_override: None,
        bridge: None,
        dns: Vec::new(),
    }
}

/// The YAML files of a directory, in order.
pub(crate) fn yaml_files(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new(directory)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(!files.is_empty(), "no YAML in {directory}");
    files
}
