//! No file of tests is forgotten: each is a module that a program of tests reaches.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::sources::files_below;

/// The lines `mod NAME;` of a file, whatever is before them.
fn modules(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("pub(crate) ");
        line.strip_prefix("mod ")?.strip_suffix(';')
    })
}

/// Adds the file of a module in `folder`, and those of the modules in it.
fn reach(folder: &Path, name: &str, found: &mut BTreeSet<PathBuf>) {
    let (file, within) = (folder.join(format!("{name}.rs")), folder.join(name));
    let file = if file.exists() { file } else { within.join("mod.rs") };
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert!(found.insert(file), "{name} twice");
    modules(&text).for_each(|module| reach(&within, module, found));
}

#[test]
fn every_file_is_reached() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let programs = ["pure", "live"];
    let mut found = BTreeSet::new();
    for program in programs {
        let file = root.join(format!("{program}.rs"));
        let text = fs::read_to_string(&file).unwrap();
        found.insert(file);
        // Each inline module stands for a folder, and helpers may be of both programs.
        let mut folder = None;
        let mut shared = BTreeSet::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(" {")) {
                folder = Some(root.join(name));
            }
            if let Some(name) = modules(line).next() {
                reach(folder.as_ref().unwrap(), name, &mut shared);
            }
        }
        found.extend(shared);
    }
    assert!(found.len() > 100, "{found:?}");
    assert_eq!(found, files_below(&root, "rs"));
    let tests = |text: &str| text.matches("#[test]").count();
    let live = files_below(&root.join("live"), "rs");
    assert!(live.iter().map(|file| tests(&fs::read_to_string(file).unwrap())).sum::<usize>() > 50);
}
