//! Finds what keeps a user from a file: the directories on the way to it, and the file itself.

use std::fs;
use std::path::Path;

use super::accounts::{Accounts, UnixPermissions, User, permissions_along};
use crate::diagnosis::Barrier;

/// The first directory on the way to a file that a user may not pass; or the file, if the user may not read it and
/// libvirt does not change its owner. What has an access list is passed over, because the list may allow more than
/// the mode.
pub fn find_barrier(root: &Path, path: &str, user: impl Fn(&Accounts) -> Option<User>) -> Option<Barrier> {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let accounts = Accounts::load(root);
    let user = user(&accounts)?;
    let there = root.join(path.trim_start_matches('/'));
    // libvirtd may see other files than this process: of one that does not exist here, nothing is known.
    if matches!(there.symlink_metadata(), Err(e) if e.kind() == std::io::ErrorKind::NotFound) {
        return None;
    }
    let there = there.ancestors().find_map(|part| part.canonicalize().ok())?;
    let components = permissions_along(root, &there)?;
    let is_file = there.is_file();
    let (file, directories) =
        if is_file { components.split_last()? } else { (components.last()?, components.as_slice()) };
    let barred = |(path, rights): &(String, UnixPermissions), is_directory| {
        let may = if is_directory { user.may_pass(rights) } else { user.may_read(rights) };
        (!may && !rights.has_acl).then(|| Barrier {
            path: path.clone(),
            is_directory,
            mode: rights.mode,
            class: user.class_of(rights),
            user: accounts.name_of(user.uid),
        })
    };
    let first = directories.iter().find_map(|directory| barred(directory, true));
    first
        .or_else(|| (is_file && keeps_owners(&text("etc/libvirt/qemu.conf"))).then(|| barred(file, false))?)
}

/// Whether libvirt leaves the owners of guests' files unchanged (qemu.conf).
fn keeps_owners(qemu_conf: &str) -> bool {
    qemu_conf.lines().any(|line| line.split('=').map(str::trim).eq(["dynamic_ownership", "0"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::tests::make_root;
    use std::collections::BTreeSet;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn set_mode(root: &tempfile::TempDir, path: &str, mode: u32) {
        fs::set_permissions(root.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A user who owns none of these files and is in none of their groups.
    fn other_user(_: &Accounts) -> Option<User> {
        Some(User { uid: 64055, groups: BTreeSet::from([64055]) })
    }

    #[test]
    fn the_first_directory_that_a_user_may_not_pass_is_the_barrier() {
        let root = make_root(&[
            ("srv/vms/deep/web_boot", ""),
            ("etc/passwd", "libvirt-qemu:x:64055:64055::/:/bin/false\n"),
        ]);
        for path in ["srv", "srv/vms", "srv/vms/deep"] {
            set_mode(&root, path, 0o711);
        }
        let found = |path| find_barrier(root.path(), path, other_user);
        assert_eq!(found("/srv/vms/deep/web_boot"), None);
        set_mode(&root, "srv/vms", 0o700);
        symlink("srv/vms/deep", root.path().join("link")).unwrap();
        assert_eq!(found("/srv/vms/deep/not/there"), None);
        for path in ["/srv/vms/deep/web_boot", "/link/web_boot"] {
            let barrier = found(path).unwrap();
            assert_eq!(
                (barrier.path.as_str(), barrier.user.as_str()),
                ("/srv/vms", "libvirt-qemu"),
                "{path}"
            );
            assert!(barrier.is_directory && barrier.mode & 0o777 == 0o700);
        }
        assert_eq!(find_barrier(root.path(), "/srv/vms/deep/web_boot", |_| None), None);
    }

    /// The mode for others does not apply to members of the group.
    #[test]
    fn the_class_of_the_user_is_named() {
        let root = make_root(&[("srv/vms/web_boot", "")]);
        set_mode(&root, "srv", 0o755);
        set_mode(&root, "srv/vms", 0o701);
        let owner = fs::metadata(root.path().join("srv/vms")).unwrap();
        let barred = |user: User| find_barrier(root.path(), "/srv/vms/web_boot", |_| Some(user.clone()));
        let member = User { uid: owner.uid() + 1, groups: BTreeSet::from([owner.gid()]) };
        assert_eq!(barred(member).map(|found| found.class), Some('g'));
        set_mode(&root, "srv/vms", 0o710);
        assert_eq!(barred(other_user(&Accounts::default()).unwrap()).map(|found| found.class), Some('o'));
    }

    /// libvirt gives a file to QEMU's user before a start, and restores its owner after a failed one.
    #[test]
    fn the_file_is_a_barrier_only_if_libvirt_keeps_its_owner() {
        let root = make_root(&[("srv/web_boot", ""), ("etc/libvirt/qemu.conf", "#dynamic_ownership = 0\n")]);
        set_mode(&root, "srv", 0o755);
        set_mode(&root, "srv/web_boot", 0o600);
        assert_eq!(find_barrier(root.path(), "/srv/web_boot", other_user), None);
        fs::write(root.path().join("etc/libvirt/qemu.conf"), "user = \"x\"\ndynamic_ownership = 0\n")
            .unwrap();
        let found = find_barrier(root.path(), "/srv/web_boot", other_user).unwrap();
        assert!(!found.is_directory && found.path == "/srv/web_boot", "{found:?}");
    }
}
