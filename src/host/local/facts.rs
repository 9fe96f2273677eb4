//! The facts about this machine for doctor: KVM, sockets, confinement, firmware, links, directories.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::accounts::{Accounts, UnixPermissions, User, path_below, permissions_along, permissions_of};
use crate::is_up;

/// The state of this machine.
#[derive(Debug, Clone, Default)]
pub struct LocalFacts {
    /// The permissions of `/dev/kvm`; `None` if there is no such device.
    pub kvm_device: Option<UnixPermissions>,
    /// KVM's modules, built in or loaded: `kvm_intel`, `kvm_amd`, `kvm_pvm`, …
    pub kvm_modules: Vec<String>,
    /// Whether the processor offers virtualization (`vmx`, `svm`), for x86.
    pub virtualization: bool,
    /// Whether guests can use virtualization themselves; `None` if no module says.
    pub nested: Option<bool>,
    /// The user of this process.
    pub user: User,
    /// The users and groups.
    pub accounts: Accounts,
    /// The paths and permissions of libvirt's sockets that exist, the single daemon's first.
    pub sockets: Vec<(String, UnixPermissions)>,
    /// Whether AppArmor is enabled.
    pub apparmor: bool,
    /// Whether SELinux enforces; `None` without SELinux.
    pub selinux_enforces: Option<bool>,
    /// Whether virtlogd can be used.
    pub virtlogd: Virtlogd,
    /// Whether some firmware has Secure Boot; `None` if no firmware is described.
    pub secure_boot: Option<bool>,
    /// The network interfaces by name.
    pub links: BTreeMap<String, LinkFacts>,
    /// Whether iptables filters frames on bridges.
    pub bridges_are_filtered: bool,
    /// The directories that were asked for, by their paths as asked.
    pub directories: BTreeMap<String, PoolDirectory>,
}

/// The daemon that logs guest consoles. No guest starts without it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Virtlogd {
    /// Its socket accepts connections, or this user may not try.
    #[default]
    Available,
    /// There is no socket, or nothing listens on it.
    Missing,
    /// QEMU writes the logs itself (`stdio_handler` in qemu.conf).
    NotNeeded,
}

/// The state of a network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkFacts {
    /// Whether it is up.
    pub is_up: bool,
    /// Whether it has an address: a network is reached through it without a gateway.
    pub has_address: bool,
    /// The ports of a bridge, without those of guests.
    pub uplinks: Vec<String>,
}

/// The directory of a pool, which may not exist yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolDirectory {
    /// The part of its path that exists, links followed.
    pub real: String,
    /// The path and permissions of each directory from the root to `real`; `None` if this user may not look at one.
    pub components: Option<Vec<(String, UnixPermissions)>>,
    /// All and free inodes of its file system; both 0 if it does not count them.
    pub inodes: (u64, u64),
    /// The bytes that any user may still write.
    pub available: u64,
}

/// The sockets of libvirtd and of the modular daemon for QEMU (libvirt's page "Daemons").
const SOCKETS: [&str; 2] = ["run/libvirt/libvirt-sock", "run/libvirt/virtqemud-sock"];

impl LocalFacts {
    /// Reads the state; `targets` are the directories of pools.
    pub fn read(root: &Path, targets: &[String]) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        Self {
            kvm_device: kvm_device(root),
            kvm_modules: names_in(&root.join("sys/module"))
                .into_iter()
                .filter(|m| m.starts_with("kvm_"))
                .collect(),
            virtualization: has_virtualization(&text("proc/cpuinfo")),
            nested: nested_parameter(&text),
            accounts: Accounts::load(root),
            sockets: SOCKETS
                .iter()
                .filter_map(|path| Some((format!("/{path}"), permissions_of(&root.join(path))?)))
                .collect(),
            apparmor: text("sys/module/apparmor/parameters/enabled").trim() == "Y",
            selinux_enforces: parse_enforce(&text("sys/fs/selinux/enforce")),
            virtlogd: find_virtlogd(root, &text("etc/libvirt/qemu.conf")),
            secure_boot: has_secure_boot(root),
            links: read_links(root),
            bridges_are_filtered: text("proc/sys/net/bridge/bridge-nf-call-iptables").trim() == "1",
            directories: targets.iter().map(|path| (path.clone(), PoolDirectory::read(root, path))).collect(),
            user: User::of_this_process(root),
        }
    }
}

/// The permissions of `/dev/kvm`; `None` if there is no such device.
pub fn kvm_device(root: &Path) -> Option<UnixPermissions> {
    permissions_of(&root.join("dev/kvm"))
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

fn nested_parameter(text: &impl Fn(&str) -> String) -> Option<bool> {
    let said = ["kvm_intel", "kvm_amd"].map(|module| text(&format!("sys/module/{module}/parameters/nested")));
    // kvm_intel has a bool (Y, N), kvm_amd an int (1, 0).
    said.iter().find_map(|word| match word.trim() {
        "Y" | "1" => Some(true),
        "N" | "0" => Some(false),
        _ => None,
    })
}

fn parse_enforce(word: &str) -> Option<bool> {
    match word.trim() {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

/// A plain user may neither read qemu.conf nor use the socket; then the daemon counts as available.
fn find_virtlogd(root: &Path, qemu_conf: &str) -> Virtlogd {
    let set =
        |line: &str| line.split('=').map(str::trim).collect::<Vec<_>>() == ["stdio_handler", "\"file\""];
    if qemu_conf.lines().any(|line| set(line.trim())) {
        return Virtlogd::NotNeeded;
    }
    match UnixStream::connect(root.join("run/libvirt/virtlogd-sock")) {
        Err(e)
            if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) =>
        {
            Virtlogd::Missing
        }
        _ => Virtlogd::Available,
    }
}

/// Reads the descriptions of firmware in QEMU's packages (QEMU's docs/interop/firmware.json).
fn has_secure_boot(root: &Path) -> Option<bool> {
    let directory = root.join("usr/share/qemu/firmware");
    let texts = names_in(&directory).into_iter().filter_map(|name| fs::read(directory.join(name)).ok());
    let described: Vec<serde_json::Value> =
        texts.filter_map(|text| serde_json::from_slice(&text).ok()).collect();
    let has = |one: &serde_json::Value| {
        one["features"].as_array().is_some_and(|features| features.iter().any(|f| f == "secure-boot"))
    };
    (!described.is_empty()).then(|| described.iter().any(has))
}

fn read_links(root: &Path) -> BTreeMap<String, LinkFacts> {
    let routed = routed_links(root);
    let net = root.join("sys/class/net");
    let link = |name: String| {
        let flags = fs::read_to_string(net.join(&name).join("flags")).unwrap_or_default();
        let ports = names_in(&net.join(&name).join("brif"));
        // The port of a guest is a TUN/TAP device, which has this file.
        let uplinks = ports.into_iter().filter(|port| !net.join(port).join("tun_flags").exists()).collect();
        (name.clone(), LinkFacts { is_up: is_up(&flags), has_address: routed.contains(&name), uplinks })
    };
    names_in(&net).into_iter().map(link).collect()
}

/// The interfaces through which a network is reached without a gateway. Every address adds such a route; the link-local
/// ones of IPv6 do not count.
fn routed_links(root: &Path) -> BTreeSet<String> {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let v4 = text("proc/net/route");
    let v4 = v4.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // The third field is the gateway.
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

impl PoolDirectory {
    fn read(root: &Path, target: &str) -> Self {
        let wanted = root.join(target.trim_start_matches('/'));
        // A pool that is made on first use has no directory yet: its first existing parent counts.
        let Some(there) = wanted.ancestors().find_map(|path| path.canonicalize().ok()) else {
            return Self::default();
        };
        let room = rustix::fs::statvfs(&there).ok();
        Self {
            components: permissions_along(root, &there),
            inodes: room.as_ref().map_or((0, 0), |r| (r.f_files, r.f_favail)),
            // Not f_bfree, which includes the blocks that are reserved for root.
            available: room.as_ref().map_or(0, |r| r.f_bavail.saturating_mul(r.f_frsize)),
            real: path_below(root, &there),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::tests::make_root;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    /// The root directory of a machine.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(files: &[(&str, &str)]) -> Self {
            Self(make_root(files))
        }

        fn make_directory(&self, path: &str, mode: u32) {
            let path = self.0.path().join(path);
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }

        fn read(&self, targets: &[&str]) -> LocalFacts {
            LocalFacts::read(self.0.path(), &targets.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>())
        }
    }

    #[test]
    fn an_empty_machine_has_nothing() {
        let local = Tree::new(&[]).read(&[]);
        assert_eq!((local.kvm_device, local.kvm_modules.len(), local.virtualization), (None, 0, false));
        assert_eq!((local.nested, local.selinux_enforces, local.secure_boot), (None, None, None));
        assert_eq!((local.virtlogd, local.apparmor, local.sockets.len()), (Virtlogd::Missing, false, 0));
    }

    #[test]
    fn kvm_is_a_device_a_module_and_a_flag() {
        let tree = Tree::new(&[
            ("dev/kvm", ""),
            ("proc/cpuinfo", "processor : 0\nflags\t\t: fpu svm sse\n"),
            ("sys/module/kvm_amd/parameters/nested", "1\n"),
            ("sys/module/ext4/x", ""),
        ]);
        let local = tree.read(&[]);
        assert!(local.kvm_device.is_some() && local.virtualization);
        assert_eq!((local.kvm_modules, local.nested), (vec!["kvm_amd".to_owned()], Some(true)));
    }

    #[test]
    fn virtlogd_is_available_if_it_listens_or_is_not_needed() {
        let tree = Tree::new(&[("run/libvirt/x", "")]);
        let socket = tree.0.path().join("run/libvirt/virtlogd-sock");
        let listens = UnixListener::bind(&socket).unwrap();
        assert_eq!(tree.read(&[]).virtlogd, Virtlogd::Available);
        drop(listens);
        assert_eq!(tree.read(&[]).virtlogd, Virtlogd::Missing, "its socket is left behind");
        fs::create_dir_all(tree.0.path().join("etc/libvirt")).unwrap();
        let conf = |text: &str| fs::write(tree.0.path().join("etc/libvirt/qemu.conf"), text).unwrap();
        conf("#stdio_handler = \"file\"\n");
        assert_eq!(tree.read(&[]).virtlogd, Virtlogd::Missing);
        conf("user = \"root\"\nstdio_handler=\"file\"\n");
        assert_eq!(tree.read(&[]).virtlogd, Virtlogd::NotNeeded);
    }

    #[test]
    fn secure_boot_is_read_from_firmware_descriptions() {
        let plain = ("usr/share/qemu/firmware/60-plain.json", "{\"features\": [\"acpi-s3\"]}");
        assert_eq!(Tree::new(&[plain]).read(&[]).secure_boot, Some(false));
        let secure = (
            "usr/share/qemu/firmware/40-secure.json",
            "{\"features\": [\"enrolled-keys\", \"secure-boot\"]}",
        );
        assert_eq!(
            Tree::new(&[plain, secure, ("usr/share/qemu/firmware/x", "no JSON")]).read(&[]).secure_boot,
            Some(true)
        );
    }

    #[test]
    fn a_link_has_a_state_an_address_and_uplinks() {
        let tree = Tree::new(&[
            ("sys/class/net/br0/flags", "0x1003\n"),
            ("sys/class/net/br0/brif/eth0/x", ""),
            ("sys/class/net/br0/brif/vnet3/x", ""),
            ("sys/class/net/vnet3/tun_flags", "0x5002"),
            ("sys/class/net/eth0/flags", "0x1003\n"),
            ("sys/class/net/br1/flags", "0x1002\n"),
            ("sys/class/net/br2/flags", "0x1003\n"),
            (
                "proc/net/route",
                "Iface\tDestination\tGateway\nbr1\t00000000\t010200C0\t0003\nbr0\t00004D0A\t00000000\t0001\n",
            ),
            (
                "proc/net/if_inet6",
                "fe80000000000000 05 40 20 80 br1\nfd000000000000000000000000000001 04 40 00 80 br2\n",
            ),
        ]);
        let links = tree.read(&[]).links;
        let link = |is_up, has_address, uplinks: &[&str]| LinkFacts {
            is_up,
            has_address,
            uplinks: uplinks.iter().map(|u| (*u).to_owned()).collect(),
        };
        assert_eq!(links["br0"], link(true, true, &["eth0"]));
        assert_eq!(links["br1"], link(false, false, &[]));
        assert_eq!(links["br2"], link(true, true, &[]));
    }

    #[test]
    fn links_on_the_way_to_a_directory_are_followed() {
        let tree = Tree::new(&[]);
        tree.make_directory("srv/vms", 0o711);
        tree.make_directory("srv", 0o700);
        symlink("srv/vms", tree.0.path().join("link")).unwrap();
        let found = tree.read(&["/link", "/srv/vms/not/yet"]).directories;
        let modes = |path: &str| -> Vec<(String, u32)> {
            let way = found[path].components.clone().unwrap();
            way.into_iter().map(|(directory, rights)| (directory, rights.mode & 0o777)).skip(1).collect()
        };
        assert_eq!(modes("/link"), [("/srv".to_owned(), 0o700), ("/srv/vms".to_owned(), 0o711)]);
        assert_eq!(modes("/srv/vms/not/yet"), modes("/link"), "a new directory is made below it");
        assert!(found["/link"].inodes.1 <= found["/link"].inodes.0 && found["/link"].available > 0);
    }
}
