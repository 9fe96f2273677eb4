//! Writes files atomically.
//!
//! The content is written to a new file with a random name (open(2), `O_EXCL`), which then replaces the old one. So no
//! predictable name is opened. A link that someone planted is replaced, and its target is not touched.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Replaces the text of a user's file. Other processes see the old text or the new one. A link of the user's own is
/// followed. A new file and its directories are created, the file with mode 0600.
pub fn replace_text(path: &Path, text: &str) -> io::Result<()> {
    let target = resolve_link(path)?;
    if let Some(folder) = folder_of(&target) {
        fs::create_dir_all(folder)?;
    }
    // A URL in it may contain a token.
    let mode = fs::metadata(&target).map_or(0o600, |meta| meta.mode() & 0o777);
    write_atomically(&target, text.as_bytes(), mode)
}

/// Writes a file with this mode and puts it in place.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = folder_of(path).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".foundry-").suffix(".new").tempfile_in(folder)?;
    // The mode must not depend on the umask.
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|e| e.error)
}

/// Returns the file to replace: the target of a link, if the link belongs to the user or root.
fn resolve_link(path: &Path) -> io::Result<PathBuf> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => found,
        _ => return Ok(path.to_owned()),
    };
    if found.uid() != 0 && found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("it is a link of user {}", found.uid())));
    }
    fs::canonicalize(path).or_else(|_| Ok(path.to_owned()))
}

fn folder_of(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use std::os::unix::fs::{lchown, symlink};

    #[test]
    fn planted_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("secret"), "secret").unwrap();
        fs::set_permissions(at("secret"), Permissions::from_mode(0o600)).unwrap();
        // The former naming scheme: the file, its process, "new".
        symlink(at("secret"), at(&format!("own.yaml.{}.new", std::process::id()))).unwrap();
        fs::write(at("own.yaml"), "old").unwrap();
        fs::set_permissions(at("own.yaml"), Permissions::from_mode(0o640)).unwrap();
        replace_text(&at("own.yaml"), "new").unwrap();
        assert_eq!(fs::read_to_string(at("own.yaml")).unwrap(), "new");
        assert_eq!(fs::metadata(at("own.yaml")).unwrap().mode() & 0o777, 0o640);
        symlink(at("secret"), at("page")).unwrap();
        write_atomically(&at("page"), b"page", 0o644).unwrap();
        assert!(!fs::symlink_metadata(at("page")).unwrap().is_symlink());
        let secret = fs::metadata(at("secret")).unwrap();
        assert_eq!((secret.len(), secret.mode() & 0o777), (6, 0o600));
    }

    #[test]
    fn own_link_is_followed_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        symlink(&file, &link).unwrap();
        replace_text(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        if rustix::process::geteuid().is_root() {
            lchown(&link, Some(12345), None).unwrap();
            assert!(replace_text(&link, "theirs").unwrap_err().to_string().contains("a link of user 12345"));
            assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        }
        replace_text(&dir.path().join("a/b/new"), "text").unwrap();
        assert_eq!(fs::metadata(dir.path().join("a/b/new")).unwrap().mode() & 0o777, 0o600);
    }
}
