//! Users, groups, and their access to files by owner and mode, as the kernel decides it (path_resolution(7)).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use foundry_host::only_roots;

/// The owner and mode of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct UnixPermissions {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    /// Whether it has an access control list, which can grant more than the mode.
    pub(crate) has_acl: bool,
}

impl UnixPermissions {
    /// Returns whether only root may read and write it: no other user, and no group with other members.
    pub(crate) fn is_only_roots(&self) -> bool {
        !self.has_acl && only_roots(self.uid, self.gid, self.mode)
    }
}

/// The effective user and groups of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) groups: BTreeSet<u32>,
}

/// The users and groups of this machine, from passwd(5) and group(5).
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    /// Name, uid and primary gid of each user.
    pub(crate) users: Vec<(String, u32, u32)>,
    /// Name, gid and member names of each group.
    pub(crate) groups: Vec<(String, u32, Vec<String>)>,
}

impl User {
    /// The user of this process.
    pub(crate) fn current_user() -> Self {
        Self::from_status(&fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    /// Parses proc_pid_status(5), in which the effective id is the second of four.
    pub(crate) fn from_status(status: &str) -> Self {
        let numbers = |key: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
        };
        let mut groups: BTreeSet<u32> = numbers("Groups:").into_iter().collect();
        groups.extend(numbers("Gid:").get(1));
        Self { uid: numbers("Uid:").get(1).copied().unwrap_or(0), groups }
    }

    /// Whether it may read and write a file with these permissions.
    pub(crate) fn may_use(&self, rights: &UnixPermissions) -> bool {
        self.uid == 0 || self.bits_of(rights) & 6 == 6
    }

    /// Whether it may read a file with these permissions.
    pub(crate) fn may_read(&self, rights: &UnixPermissions) -> bool {
        self.uid == 0 || self.bits_of(rights) & 4 == 4
    }

    /// Whether it may enter a directory with these permissions.
    pub(crate) fn may_pass(&self, rights: &UnixPermissions) -> bool {
        self.uid == 0 || self.bits_of(rights) & 1 == 1
    }

    /// The three permission bits that apply to this user.
    fn bits_of(&self, rights: &UnixPermissions) -> u32 {
        let shift = match self.class_of(rights) {
            'u' => 6,
            'g' => 3,
            _ => 0,
        };
        rights.mode >> shift & 7
    }

    /// Which bits apply to this user, as a letter of chmod(1): `u`, `g` or `o`. Only the first class that matches applies
    /// (path_resolution(7)).
    pub(crate) fn class_of(&self, rights: &UnixPermissions) -> char {
        if rights.uid == self.uid {
            'u'
        } else if self.groups.contains(&rights.gid) {
            'g'
        } else {
            'o'
        }
    }
}

impl Accounts {
    pub(crate) fn read(passwd: &str, group: &str) -> Self {
        let user = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            Some((fields.first()?.to_string(), fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
        };
        let group_of = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let members = fields.get(3)?.split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect();
            Some((fields.first()?.to_string(), fields.get(2)?.parse().ok()?, members))
        };
        Self {
            users: passwd.lines().filter_map(user).collect(),
            groups: group.lines().filter_map(group_of).collect(),
        }
    }

    /// The name of a user, or the uid if it has none.
    pub(crate) fn name_of(&self, uid: u32) -> String {
        let known = self.users.iter().find(|(_, id, _)| *id == uid);
        known.map_or_else(|| uid.to_string(), |(name, _, _)| name.clone())
    }

    /// A user with the groups that libvirt gives its QEMU process: the user's primary and supplementary groups, and the
    /// gid that libvirt reports.
    pub(crate) fn user_with_groups(&self, uid: u32, gid: u32) -> User {
        let name = self.name_of(uid);
        let own = self.users.iter().filter(|(_, id, _)| *id == uid).map(|(_, _, group)| *group);
        let lists =
            self.groups.iter().filter(|(_, _, members)| members.contains(&name)).map(|(_, id, _)| *id);
        User { uid, groups: own.chain(lists).chain([gid]).collect() }
    }

    /// The name of a group, or the gid if it has none.
    pub(crate) fn group_name(&self, gid: u32) -> String {
        let known = self.groups.iter().find(|(_, id, _)| *id == gid);
        known.map_or_else(|| gid.to_string(), |(name, _, _)| name.clone())
    }

    /// Whether the group lists the user as a member.
    pub(crate) fn is_member(&self, group: u32, user: &str) -> bool {
        self.groups.iter().any(|(_, id, members)| *id == group && members.iter().any(|m| m == user))
    }
}

/// Reads the permissions of a file; `None` if this user may not look.
pub(crate) fn permissions_of(path: &Path) -> Option<UnixPermissions> {
    let found = fs::metadata(path).ok()?;
    // An access control list is an extended attribute (acl(5)); its length shows whether there is one.
    let has_acl =
        rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0_u8; 0][..]).is_ok_and(|n| n > 0);
    Some(UnixPermissions { uid: found.uid(), gid: found.gid(), mode: found.permissions().mode(), has_acl })
}

/// The absolute path of a file as seen from inside `root`.
pub(crate) fn path_below(root: &Path, path: &Path) -> String {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    format!("/{}", path.strip_prefix(root).unwrap_or(path).display())
}

/// The path and permissions of each directory from `root` down to `directory`, inclusive.
pub(crate) fn permissions_along(root: &Path, directory: &Path) -> Option<Vec<(String, UnixPermissions)>> {
    let top = root.canonicalize().ok()?;
    let mut steps: Vec<PathBuf> =
        directory.ancestors().take_while(|p| p.starts_with(&top)).map(Path::to_owned).collect();
    steps.reverse();
    steps.into_iter().map(|step| Some((path_below(root, &step), permissions_of(&step)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_class_that_a_user_belongs_to_decides() {
        let user = User { uid: 5, groups: [7].into() };
        let rights = |uid, gid, mode| UnixPermissions { uid, gid, mode, has_acl: false };
        for (rights, passes, uses) in [
            (rights(5, 7, 0o100), true, false),
            (rights(5, 7, 0o077), false, false),
            (rights(1, 7, 0o617), true, false),
            (rights(1, 7, 0o701), false, false),
            (rights(1, 7, 0o660), false, true),
            (rights(1, 2, 0o117), true, true),
        ] {
            assert_eq!((user.may_pass(&rights), user.may_use(&rights)), (passes, uses), "{rights:?}");
        }
        let root = User { uid: 0, groups: BTreeSet::new() };
        assert!(root.may_pass(&rights(1, 1, 0)) && root.may_use(&rights(1, 1, 0)));
    }
}
