//! The project's own files, for tests that read them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All files with that extension in a folder and in those below it.
pub(crate) fn files_below(folder: &Path, extension: &str) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let has_it = |path: &PathBuf| path.extension().is_some_and(|found| found == extension);
    let mut all: BTreeSet<PathBuf> = files.into_iter().filter(has_it).collect();
    folders.iter().for_each(|folder| all.extend(files_below(folder, extension)));
    all
}

/// Whether one of these names is a folder of the path within the project, or its file.
pub(crate) fn is_at(path: &Path, names: &[&str]) -> bool {
    let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
    path.iter().any(|part| names.iter().any(|name| part == *name))
}

/// The text of a source file up to the tests in it.
pub(crate) fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}
