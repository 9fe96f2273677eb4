//! Users, groups, and their access to files by owner and mode, as the kernel decides (path_resolution(7)).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The owner and the mode of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnixPermissions {
    /// The user id of the owner.
    pub uid: u32,
    /// The id of the file's group.
    pub gid: u32,
    /// The mode with all bits of stat(2), those of the file's type too.
    pub mode: u32,
    /// Whether the file has an access list (acl(5)), which may allow more than the mode.
    pub has_acl: bool,
}

impl UnixPermissions {
    /// Whether only root may read and write the file: neither everybody nor a group other than root's may.
    pub fn is_only_roots(&self) -> bool {
        let group_may = self.gid != 0 && self.mode & 0o060 == 0o060;
        let all_may = self.mode & 0o006 == 0o006;
        self.uid == 0 && !all_may && !group_may && !self.has_acl
    }
}

/// The effective ids of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The effective user id.
    pub uid: u32,
    /// The effective group id and the supplementary groups.
    pub groups: BTreeSet<u32>,
}

/// The users and groups of passwd(5) and group(5); those of a directory service are not in it.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// Name, user id and primary group id.
    pub users: Vec<(String, u32, u32)>,
    /// Name, group id and names of members.
    pub groups: Vec<(String, u32, Vec<String>)>,
}

impl User {
    /// The user of this process.
    pub fn current_user() -> Self {
        Self::of_this_process(Path::new("/"))
    }

    /// As [`Self::current_user`], from the files below `root`.
    pub fn of_this_process(root: &Path) -> Self {
        Self::parse_status(&fs::read_to_string(root.join("proc/self/status")).unwrap_or_default())
    }

    /// From proc_pid_status(5): the effective ids are the second ones.
    fn parse_status(status: &str) -> Self {
        let numbers = |key: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
        };
        let mut groups: BTreeSet<u32> = numbers("Groups:").into_iter().collect();
        groups.extend(numbers("Gid:").get(1));
        Self { uid: numbers("Uid:").get(1).copied().unwrap_or(0), groups }
    }

    /// Whether the user may read and write a file.
    pub fn may_use(&self, file: &UnixPermissions) -> bool {
        self.uid == 0 || self.bits_of(file) & 6 == 6
    }

    /// Whether the user may read a file.
    pub fn may_read(&self, file: &UnixPermissions) -> bool {
        self.uid == 0 || self.bits_of(file) & 4 == 4
    }

    /// Whether the user may pass through a directory.
    pub fn may_pass(&self, directory: &UnixPermissions) -> bool {
        self.uid == 0 || self.bits_of(directory) & 1 == 1
    }

    /// The three bits of the mode that apply to the user.
    fn bits_of(&self, file: &UnixPermissions) -> u32 {
        let shift = match self.class_of(file) {
            'u' => 6,
            'g' => 3,
            _ => 0,
        };
        file.mode >> shift & 7
    }

    /// The class of the user for a file, as a letter of chmod(1). The first class that a user belongs to decides
    /// (path_resolution(7)).
    pub fn class_of(&self, file: &UnixPermissions) -> char {
        if file.uid == self.uid {
            'u'
        } else if self.groups.contains(&file.gid) {
            'g'
        } else {
            'o'
        }
    }
}

impl Accounts {
    /// Reads both files below `root`. A file that cannot be read counts as empty.
    pub fn load(root: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        Self::parse(&text("etc/passwd"), &text("etc/group"))
    }

    /// Lines that are no entries are left out.
    pub(super) fn parse(passwd: &str, group: &str) -> Self {
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

    /// The name of a user, or the id of one that has no entry.
    pub fn name_of(&self, uid: u32) -> String {
        let known = self.users.iter().find(|(_, id, _)| *id == uid);
        known.map_or_else(|| uid.to_string(), |(name, _, _)| name.clone())
    }

    /// A user with the groups that libvirt gives to QEMU: the user's primary group, the groups that list the user, and
    /// `gid`, which libvirt itself names.
    pub fn user_with_groups(&self, uid: u32, gid: u32) -> User {
        let name = self.name_of(uid);
        let own = self.users.iter().filter(|(_, id, _)| *id == uid).map(|(_, _, group)| *group);
        let lists =
            self.groups.iter().filter(|(_, _, members)| members.contains(&name)).map(|(_, id, _)| *id);
        User { uid, groups: own.chain(lists).chain([gid]).collect() }
    }

    /// The id of a group.
    pub fn group_id(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|(known, ..)| known == name).map(|(_, gid, _)| *gid)
    }

    /// The name of a group, or the id of one that has no entry.
    pub fn group_name(&self, gid: u32) -> String {
        let known = self.groups.iter().find(|(_, id, _)| *id == gid);
        known.map_or_else(|| gid.to_string(), |(name, _, _)| name.clone())
    }

    /// Whether a group's list of members names the user.
    pub fn is_member(&self, group: u32, user: &str) -> bool {
        self.groups.iter().any(|(_, id, members)| *id == group && members.iter().any(|m| m == user))
    }
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The permissions of a file, links followed; `None` if this user may not even look at it.
pub fn permissions_of(path: &Path) -> Option<UnixPermissions> {
    let found = fs::metadata(path).ok()?;
    // An access list is an attribute (acl(5)); asking for its length is enough.
    let has_acl =
        rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0_u8; 0][..]).is_ok_and(|n| n > 0);
    Some(UnixPermissions { uid: found.uid(), gid: found.gid(), mode: found.permissions().mode(), has_acl })
}

/// A path as processes see it whose root directory is `root`.
pub fn path_below(root: &Path, path: &Path) -> String {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    format!("/{}", path.strip_prefix(root).unwrap_or(path).display())
}

/// The path and permissions of each directory from `root` to `directory`; `None` if this user may not look at one.
pub fn permissions_along(root: &Path, directory: &Path) -> Option<Vec<(String, UnixPermissions)>> {
    let top = root.canonicalize().ok()?;
    let mut components: Vec<PathBuf> =
        directory.ancestors().take_while(|p| p.starts_with(&top)).map(Path::to_owned).collect();
    components.reverse();
    components
        .into_iter()
        .map(|component| Some((path_below(root, &component), permissions_of(&component)?)))
        .collect()
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

    #[test]
    fn what_group_and_others_may_not_use_is_only_roots() {
        for (uid, gid, mode, is_only_roots) in [
            (0, 0, 0o600, true),
            (0, 0, 0o660, true),
            (0, 993, 0o660, false),
            (0, 993, 0o640, true),
            (0, 0, 0o666, false),
            (5, 0, 0o600, false),
        ] {
            let device = UnixPermissions { uid, gid, mode, has_acl: false };
            assert_eq!(device.is_only_roots(), is_only_roots, "{uid} {gid} {mode:o}");
            assert!(!UnixPermissions { has_acl: true, ..device }.is_only_roots());
        }
    }

    #[test]
    fn a_status_has_effective_ids_and_all_groups() {
        let status = "Name:\tx\nUid:\t1000\t1001\t0\t0\nGid:\t5\t6\t5\t5\nGroups:\t106 993 \n";
        assert_eq!(User::parse_status(status), User { uid: 1001, groups: [6, 106, 993].into() });
    }

    #[test]
    fn qemus_user_has_its_own_group_those_that_list_it_and_the_one_that_libvirt_names() {
        let accounts = Accounts::parse(
            "root:x:0:0::/root:/bin/sh\nlibvirt-qemu:x:64055:993::/:/sbin/nologin\n",
            "kvm:x:993:\nimages:x:77:alice,libvirt-qemu\nlibvirt:x:106:alice\n",
        );
        assert_eq!(accounts.user_with_groups(64055, 64055).groups, [77, 993, 64055].into());
        assert_eq!((accounts.name_of(64055).as_str(), accounts.name_of(7).as_str()), ("libvirt-qemu", "7"));
        assert!(accounts.is_member(106, "alice") && !accounts.is_member(106, "lice"));
    }

    #[test]
    fn a_group_is_found_by_its_name() {
        let group = |text| Accounts::parse("", text).group_id("libvirt");
        assert_eq!(group("root:x:0:\nlibvirt-qemu:x:64055:\nlibvirt:x:106:alice,bob\n"), Some(106));
        assert_eq!(group("libvirt:x\nkvm:x:3:"), None);
    }
}
