//! A root directory for the tests of this folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

/// A root directory with these files: their paths below it and their contents.
pub(super) fn make_root(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
    root
}
