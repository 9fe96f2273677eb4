//! What this machine's kernel and files tell: everything below one root, so that a test can have its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// This machine, as far as the checks ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Local {
    /// Owner and mode of `/dev/kvm`; `None` where there is no such device.
    pub(super) kvm_device: Option<Rights>,
    /// KVM's modules that are there, built in or loaded: `kvm_intel`, `kvm_amd`, `kvm_pvm`, …
    pub(super) kvm_modules: Vec<String>,
    /// Whether the processor offers virtualization (`vmx`, `svm`), for x86.
    pub(super) virtualization: bool,
    /// Whether KVM lets guests have that, too; `None` where the module does not say.
    pub(super) nested: Option<bool>,
    /// Who runs this.
    pub(super) user: User,
    pub(super) accounts: Accounts,
    /// libvirt's sockets that are there, the one of the single daemon first.
    pub(super) sockets: Vec<(String, Rights)>,
    pub(super) apparmor: bool,
    /// Whether SELinux enforces; `None` where there is none.
    pub(super) selinux_enforces: Option<bool>,
    pub(super) virtlogd: Logd,
    /// Whether some firmware on this machine has Secure Boot; `None` where nothing describes any.
    pub(super) secure_boot: Option<bool>,
    /// By name.
    pub(super) links: BTreeMap<String, Link>,
    /// Whether frames on bridges pass the machine's IP filter.
    pub(super) bridges_are_filtered: bool,
    /// By the path that libvirt gives.
    pub(super) directories: BTreeMap<String, Directory>,
}

/// Who may do what with a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    /// Whether an access list says more than the mode.
    pub(super) has_acl: bool,
}

/// A user as the kernel sees a process of its.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) groups: BTreeSet<u32>,
}

/// Names of users and groups, by this machine's own files.
#[derive(Debug, Clone, Default)]
pub(super) struct Accounts {
    /// Name, user and main group.
    pub(super) users: Vec<(String, u32, u32)>,
    /// Name, group, names of members.
    pub(super) groups: Vec<(String, u32, Vec<String>)>,
}

/// The daemon that writes consoles into logs; without it no guest starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Logd {
    /// Its socket takes connections, or may.
    #[default]
    There,
    /// There is no socket, or nobody listens at it.
    Missing,
    /// QEMU writes files itself (`stdio_handler` in qemu.conf).
    NotNeeded,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) is_up: bool,
    /// Whether a network is reached by it directly, so that it has an address.
    pub(super) has_address: bool,
    /// What is attached to it, guests apart.
    pub(super) uplinks: Vec<String>,
}

/// Where a pool's files are, or will be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Directory {
    /// The part of it that exists, links followed.
    pub(super) real: String,
    /// Each directory from the root to it; `None` where this user cannot even look.
    pub(super) way: Option<Vec<(String, Rights)>>,
    /// Inodes of its file system, and how many are left; both 0 where it counts none.
    pub(super) inodes: (u64, u64),
    /// Bytes left to anybody.
    pub(super) available: u64,
}

/// Where the sockets of libvirt's daemons are.
const SOCKETS: [&str; 2] = ["run/libvirt/libvirt-sock", "run/libvirt/virtqemud-sock"];

impl Local {
    /// `targets` are the directories of pools.
    pub(super) fn read(root: &Path, targets: &[String]) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let user = User::from_status(&text("proc/self/status"));
        Self {
            kvm_device: rights(&root.join("dev/kvm")),
            kvm_modules: names_in(&root.join("sys/module"))
                .into_iter()
                .filter(|m| m.starts_with("kvm_"))
                .collect(),
            virtualization: has_virtualization(&text("proc/cpuinfo")),
            nested: nested(&text),
            accounts: Accounts::read(&text("etc/passwd"), &text("etc/group")),
            sockets: SOCKETS
                .iter()
                .filter_map(|path| Some((format!("/{path}"), rights(&root.join(path))?)))
                .collect(),
            apparmor: text("sys/module/apparmor/parameters/enabled").trim() == "Y",
            selinux_enforces: enforces(&text("sys/fs/selinux/enforce")),
            virtlogd: virtlogd(root, &text("etc/libvirt/qemu.conf")),
            secure_boot: secure_boot(root),
            links: links(root),
            bridges_are_filtered: text("proc/sys/net/bridge/bridge-nf-call-iptables").trim() == "1",
            directories: targets.iter().map(|path| (path.clone(), Directory::read(root, path))).collect(),
            user,
        }
    }
}

fn rights(path: &Path) -> Option<Rights> {
    let found = fs::metadata(path).ok()?;
    // An access list is an attribute (acl(5)); asking for its length is enough.
    let has_acl =
        rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0_u8; 0][..]).is_ok_and(|n| n > 0);
    Some(Rights { uid: found.uid(), gid: found.gid(), mode: found.permissions().mode(), has_acl })
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn has_virtualization(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| matches!(flag, "vmx" | "svm"))
}

fn nested(text: &impl Fn(&str) -> String) -> Option<bool> {
    let said = ["kvm_intel", "kvm_amd"].map(|module| text(&format!("sys/module/{module}/parameters/nested")));
    said.iter().find_map(|word| match word.trim() {
        "Y" | "1" => Some(true),
        "N" | "0" => Some(false),
        _ => None,
    })
}

fn enforces(word: &str) -> Option<bool> {
    match word.trim() {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

/// A plain user may not read qemu.conf nor use the socket; then it counts as there.
fn virtlogd(root: &Path, qemu_conf: &str) -> Logd {
    let set =
        |line: &str| line.split('=').map(str::trim).collect::<Vec<_>>() == ["stdio_handler", "\"file\""];
    if qemu_conf.lines().any(|line| set(line.trim())) {
        return Logd::NotNeeded;
    }
    match UnixStream::connect(root.join("run/libvirt/virtlogd-sock")) {
        Err(e)
            if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) =>
        {
            Logd::Missing
        }
        _ => Logd::There,
    }
}

/// By the descriptions of firmware that QEMU's packages bring (QEMU's docs/interop/firmware.json).
fn secure_boot(root: &Path) -> Option<bool> {
    let directory = root.join("usr/share/qemu/firmware");
    let texts = names_in(&directory).into_iter().filter_map(|name| fs::read(directory.join(name)).ok());
    let described: Vec<serde_json::Value> =
        texts.filter_map(|text| serde_json::from_slice(&text).ok()).collect();
    let has = |one: &serde_json::Value| {
        one["features"].as_array().is_some_and(|features| features.iter().any(|f| f == "secure-boot"))
    };
    (!described.is_empty()).then(|| described.iter().any(has))
}

fn links(root: &Path) -> BTreeMap<String, Link> {
    let routed = routed_links(root);
    let net = root.join("sys/class/net");
    let link = |name: String| {
        let flags = fs::read_to_string(net.join(&name).join("flags")).unwrap_or_default();
        let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).unwrap_or(0);
        let ports = names_in(&net.join(&name).join("brif"));
        // A guest's end is a TUN/TAP device, which has this file.
        let uplinks = ports.into_iter().filter(|port| !net.join(port).join("tun_flags").exists()).collect();
        // The first bit is IFF_UP (netdevice(7)).
        (name.clone(), Link { is_up: flags & 1 == 1, has_address: routed.contains(&name), uplinks })
    };
    names_in(&net).into_iter().map(link).collect()
}

/// The interfaces by which a network is reached without a gateway. An address brings such a route, IPv6's own of
/// each link apart.
fn routed_links(root: &Path) -> BTreeSet<String> {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let v4 = text("proc/net/route");
    let v4 = v4.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(2) == Some(&"00000000")).then(|| fields[0].to_owned())
    });
    // Address, index, length of prefix, scope (00 is global), flags, name.
    let v6 = text("proc/net/if_inet6");
    let v6 = v6.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(3) == Some(&"00")).then(|| fields.get(5).map(|name| (*name).to_owned()))?
    });
    v4.chain(v6).collect()
}

impl User {
    /// From proc_pid_status(5): the effective ids are the second ones.
    fn from_status(status: &str) -> Self {
        let numbers = |key: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
        };
        let mut groups: BTreeSet<u32> = numbers("Groups:").into_iter().collect();
        groups.extend(numbers("Gid:").get(1));
        Self { uid: numbers("Uid:").get(1).copied().unwrap_or(0), groups }
    }

    /// Whether it may read and write what has these rights.
    pub(super) fn may_use(&self, rights: &Rights) -> bool {
        self.uid == 0 || self.class_of(rights) & 6 == 6
    }

    /// Whether it may pass through a directory with these rights.
    pub(super) fn may_pass(&self, rights: &Rights) -> bool {
        self.uid == 0 || self.class_of(rights) & 1 == 1
    }

    /// The three bits that count for it: the first class that it belongs to decides (path_resolution(7)).
    fn class_of(&self, rights: &Rights) -> u32 {
        if rights.uid == self.uid {
            rights.mode >> 6 & 7
        } else if self.groups.contains(&rights.gid) {
            rights.mode >> 3 & 7
        } else {
            rights.mode & 7
        }
    }
}

impl Accounts {
    fn read(passwd: &str, group: &str) -> Self {
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
    pub(super) fn name_of(&self, uid: u32) -> String {
        let known = self.users.iter().find(|(_, id, _)| *id == uid);
        known.map_or_else(|| uid.to_string(), |(name, _, _)| name.clone())
    }

    /// A user with all the groups that it gets when it is given a process (initgroups(3)).
    pub(super) fn user(&self, uid: u32, gid: u32) -> User {
        let name = self.name_of(uid);
        let groups =
            self.groups.iter().filter(|(_, _, members)| members.contains(&name)).map(|(_, id, _)| *id);
        User { uid, groups: groups.chain([gid]).collect() }
    }

    /// The name of a group, or its number.
    pub(super) fn group_name(&self, gid: u32) -> String {
        let known = self.groups.iter().find(|(_, id, _)| *id == gid);
        known.map_or_else(|| gid.to_string(), |(name, _, _)| name.clone())
    }

    /// Whether the group's list names the user.
    pub(super) fn lists(&self, group: u32, user: &str) -> bool {
        self.groups.iter().any(|(_, id, members)| *id == group && members.iter().any(|m| m == user))
    }
}

impl Directory {
    fn read(root: &Path, target: &str) -> Self {
        let wanted = root.join(target.trim_start_matches('/'));
        // Of a pool that is made on its first use, the part that exists.
        let Some(there) = wanted.ancestors().find_map(|path| path.canonicalize().ok()) else {
            return Self::default();
        };
        let room = rustix::fs::statvfs(&there).ok();
        Self {
            way: way(root, &there),
            inodes: room.as_ref().map_or((0, 0), |r| (r.f_files, r.f_favail)),
            available: room.as_ref().map_or(0, |r| r.f_bavail.saturating_mul(r.f_frsize)),
            real: below(root, &there),
        }
    }
}

/// A path as it is for those for whom `root` is the root.
fn below(root: &Path, path: &Path) -> String {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    format!("/{}", path.strip_prefix(root).unwrap_or(path).display())
}

fn way(root: &Path, directory: &Path) -> Option<Vec<(String, Rights)>> {
    let top = root.canonicalize().ok()?;
    let mut steps: Vec<PathBuf> =
        directory.ancestors().take_while(|p| p.starts_with(&top)).map(Path::to_owned).collect();
    steps.reverse();
    steps.into_iter().map(|step| Some((below(root, &step), rights(&step)?))).collect()
}
