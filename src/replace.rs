//! A user's own small files, written as a whole.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Gives a file another text. Whoever reads it meanwhile sees it as it was or as it is. A link stays one; a new file and
/// its directories are made, the file for its owner alone (mode 0600).
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    // An address may hold a token.
    let mode = fs::metadata(&target).map_or(0o600, |meta| meta.mode() & 0o777);
    let temporary = beside(&target);
    let written = write_new(&temporary, text, mode).and_then(|()| fs::rename(&temporary, &target));
    // It is there only where something failed.
    written.inspect_err(|_| drop(fs::remove_file(&temporary)))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    name.into()
}

fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // Not by the umask, and also where a killed run left the file.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
