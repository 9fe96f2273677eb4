//! Users, groups, and what they may do with files: by owners and modes, as the kernel decides (path_resolution(7)).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use foundry_host::only_roots;

/// Who may do what with a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct UnixPermissions {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    /// Whether an access list says more than the mode.
    pub(crate) has_acl: bool,
}

impl UnixPermissions {
    /// Whether nobody but root reads and writes it: neither everybody nor a group that others are in.
    pub(crate) fn is_only_roots(&self) -> bool {
        !self.has_acl && only_roots(self.uid, self.gid, self.mode)
    }
}

/// A user as the kernel sees a process of its.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) groups: BTreeSet<u32>,
}

/// Names of users and groups, by this machine's own files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    /// Name, user and main group.
    pub(crate) users: Vec<(String, u32, u32)>,
    /// Name, group, names of members.
    pub(crate) groups: Vec<(String, u32, Vec<String>)>,
}

impl User {
    /// The one that this process is.
    pub(crate) fn current_user() -> Self {
        Self::from_status(&fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    /// From proc_pid_status(5): the effective ids are the second ones.
    pub(crate) fn from_status(status: &str) -> Self {
        let numbers = |key: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
        };
        let mut groups: BTreeSet<u32> = numbers("Groups:").into_iter().collect();
        groups.extend(numbers("Gid:").get(1));
        Self { uid: numbers("Uid:").get(1).copied().unwrap_or(0), groups }
    }

    /// Whether it may read and write what has these rights.
    pub(crate) fn may_use(&self, rights: &UnixPermissions) -> bool {
        self.uid == 0 || self.bits_of(rights) & 6 == 6
    }

    /// Whether it may read what has these rights.
    pub(crate) fn may_read(&self, rights: &UnixPermissions) -> bool {
        self.uid == 0 || self.bits_of(rights) & 4 == 4
    }

    /// Whether it may pass through a directory with these rights.
    pub(crate) fn may_pass(&self, rights: &UnixPermissions) -> bool {
        self.uid == 0 || self.bits_of(rights) & 1 == 1
    }

    /// The three bits that count for it.
    fn bits_of(&self, rights: &UnixPermissions) -> u32 {
        let shift = match self.class_of(rights) {
            'u' => 6,
            'g' => 3,
            _ => 0,
        };
        rights.mode >> shift & 7
    }

    /// Whose bits count for it, in the letters of chmod(1): the first class that it belongs to decides
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

    /// The name of a user, or its number.
    pub(crate) fn name_of(&self, uid: u32) -> String {
        let known = self.users.iter().find(|(_, id, _)| *id == uid);
        known.map_or_else(|| uid.to_string(), |(name, _, _)| name.clone())
    }

    /// A user with the groups that libvirt gives its process: the user's own and those that list it, and the one
    /// that libvirt itself says.
    pub(crate) fn user_with_groups(&self, uid: u32, gid: u32) -> User {
        let name = self.name_of(uid);
        let own = self.users.iter().filter(|(_, id, _)| *id == uid).map(|(_, _, group)| *group);
        let lists =
            self.groups.iter().filter(|(_, _, members)| members.contains(&name)).map(|(_, id, _)| *id);
        User { uid, groups: own.chain(lists).chain([gid]).collect() }
    }

    /// The name of a group, or its number.
    pub(crate) fn group_name(&self, gid: u32) -> String {
        let known = self.groups.iter().find(|(_, id, _)| *id == gid);
        known.map_or_else(|| gid.to_string(), |(name, _, _)| name.clone())
    }

    /// Whether the group's list names the user.
    pub(crate) fn is_member(&self, group: u32, user: &str) -> bool {
        self.groups.iter().any(|(_, id, members)| *id == group && members.iter().any(|m| m == user))
    }
}

/// Those of a file; `None` where this user cannot even look.
pub(crate) fn permissions_of(path: &Path) -> Option<UnixPermissions> {
    let found = fs::metadata(path).ok()?;
    // An access list is an attribute (acl(5)); asking for its length is enough.
    let has_acl =
        rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0_u8; 0][..]).is_ok_and(|n| n > 0);
    Some(UnixPermissions { uid: found.uid(), gid: found.gid(), mode: found.permissions().mode(), has_acl })
}

/// A path as it is for those for whom `root` is the root.
pub(crate) fn path_below(root: &Path, path: &Path) -> String {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    format!("/{}", path.strip_prefix(root).unwrap_or(path).display())
}

/// Each directory from the root to one, and it.
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
