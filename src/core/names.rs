//! The names that foundry uses; each is a type that accepts only valid names.
//!
//! A name ends up in a file path on the hypervisor (a volume), in a kernel interface name (a tap)
//! or in libvirt's own name space (a domain, a pool). Parsing it once, here, is what lets the rest
//! of foundry put it anywhere without asking again.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Why a word cannot be the name of something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub String);

/// The longest VM name: it is also the host name, and a DNS label has at most 63 octets
/// (RFC 1035, section 2.3.4).
pub const MAX_VM_NAME: usize = 63;

/// Declares a string newtype whose only constructor is its check.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The name of a VM: 2–63 characters of `a-z0-9_-`, beginning and ending with a letter or digit.
    VmName, check_vm_name
);
name_type!(
    /// The name of a storage pool.
    PoolName, check_file_name
);
name_type!(
    /// The name of a volume inside its pool: one path component, never a path.
    VolumeName, check_file_name
);
name_type!(
    /// The guest's name of a data disk, `vdb` to `vdz` (`vda` is the boot disk).
    DiskTarget, check_disk_target
);
name_type!(
    /// The serial number of a disk: 1–20 characters of `A-Za-z0-9_.+-` (`VIRTIO_BLK_ID_BYTES` of the virtio
    /// specification; what a by-id link of the guest's shows as it is).
    DiskSerial, check_serial
);
name_type!(
    /// A kernel network interface name: 1–15 octets, no blank, no `/`
    /// (the kernel's `dev_valid_name`, IFNAMSIZ).
    BridgeName, check_interface_name
);
name_type!(
    /// The name of a libvirt network.
    NetworkName, check_file_name
);

impl DiskTarget {
    /// All of them, in order.
    pub fn all_targets() -> impl Iterator<Item = Self> {
        ('b'..='z').map(|letter| Self(format!("vd{letter}")))
    }
}

impl VmName {
    /// Normalizes what a user wrote (blanks around it, capitals) and checks the result.
    ///
    /// # Errors
    /// Says what is wrong with the name.
    pub fn parse_normalized(text: &str) -> Result<Self, NameError> {
        text.trim().to_lowercase().parse()
    }

    /// The host name of a VM that has no FQDN; a host name has no underscore (RFC 952).
    pub fn to_host_name(&self) -> String {
        self.0.replace('_', "-")
    }

    /// The volume of the boot disk.
    pub fn boot_volume(&self) -> VolumeName {
        VolumeName(format!("{}_boot", self.0))
    }

    /// The volume of a data disk.
    pub fn data_volume(&self, target: &DiskTarget) -> VolumeName {
        VolumeName(format!("{}_data-{target}", self.0))
    }

    /// The target of a data disk, by the name of its volume and whichever VM it is of.
    pub fn target_of_volume(volume: &str) -> Option<DiskTarget> {
        volume.rsplit_once("_data-")?.1.parse().ok()
    }

    /// The volume of the cloud-init seed.
    pub fn seed_volume(&self) -> VolumeName {
        VolumeName(format!("{}_cloudinit", self.0))
    }

    /// Whether a volume name follows the convention for this VM, as this foundry writes it or,
    /// with an extension, as the first one did.
    pub fn owns_by_convention(&self, volume: &str) -> bool {
        VolumeNameParts::parse(volume).is_some_and(|of| of.vm == self.as_str())
    }
}

/// What the name of a volume says, where it is one that foundry gives to a VM's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeNameParts<'a> {
    /// The VM's name.
    pub vm: &'a str,
    /// What it is to that VM.
    pub part: VmPart,
}

/// What a volume is to a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VmPart {
    /// The boot disk.
    Boot,
    /// The data disk of that target.
    Data(DiskTarget),
    /// The cloud-init seed.
    Seed,
}

impl<'a> VolumeNameParts<'a> {
    /// Reads `VM_boot`, `VM_data-vdX` and `VM_cloudinit`, also with the extension that the first foundry gave; `None`
    /// of any other name.
    pub fn parse(volume: &'a str) -> Option<Self> {
        let extensions = [".qcow2", ".raw", ".iso"];
        let stem = extensions.iter().find_map(|end| volume.strip_suffix(end)).unwrap_or(volume);
        let (vm, part) = stem.rsplit_once('_')?;
        let part = match part {
            "boot" => VmPart::Boot,
            "cloudinit" => VmPart::Seed,
            data => VmPart::Data(data.strip_prefix("data-")?.parse().ok()?),
        };
        vm.parse::<VmName>().ok().map(|_| Self { vm, part })
    }
}

/// A MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// `be:ef:` and the four octets of the address. `be` marks a locally administered unicast
    /// address (IEEE 802, bit 1 set and bit 0 clear in the first octet).
    pub fn from_ipv4(ip: Ipv4Addr) -> Self {
        let [a, b, c, d] = ip.octets();
        Self([0xbe, 0xef, a, b, c, d])
    }

    /// For an interface without an address of its own: `be:f0:` and four octets of a digest over
    /// the VM's name and the interface's index, so that it is the same at each creation.
    pub fn from_name(vm: &VmName, index: usize) -> Self {
        let digest = Sha256::digest(format!("{vm}/{index}"));
        Self([0xbe, 0xf0, digest[0], digest[1], digest[2], digest[3]])
    }
}

impl FromStr for MacAddress {
    type Err = NameError;

    /// Reads six octets in hexadecimal with `:` or `-` between them, of an address that a guest's interface can have.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = |why: &str| Err(NameError(why.to_owned()));
        let octet = |part: &str| {
            let is_hex = part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
            is_hex.then(|| u8::from_str_radix(part, 16).ok()).flatten()
        };
        let parts: Option<Vec<u8>> = text.split([':', '-']).map(octet).collect();
        let Some(octets) = parts.and_then(|parts| <[u8; 6]>::try_from(parts).ok()) else {
            return refused("is not a MAC address, such as 52:54:00:12:34:56");
        };
        match octets {
            [0, 0, 0, 0, 0, 0] => refused("is no interface's address"),
            [first, ..] if first & 1 == 1 => refused("is a multicast address; the first octet must be even"),
            // libvirt gives the host's end of the tap the guest's address with this octet (virNetDevTapCreateInBridgePort).
            [0xfe, ..] => {
                refused("begins with fe, which libvirt keeps for the host's end; 52:54:00 is QEMU's")
            }
            octets => Ok(Self(octets)),
        }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The name of the tap interface of an address: `vm` and the octets in hexadecimal.
pub fn tap_name(ip: Ipv4Addr) -> String {
    format!("vm{:08x}", u32::from(ip))
}

/// The known word that is most like `word`, if one is alike enough to have been meant.
pub fn find_nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|k| (similarity(&word.to_lowercase(), &k.to_lowercase()), k))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

/// From 0, nothing in common, to 1, the same. Of short words Jaro and Winkler find those with one other letter too
/// unlike.
fn similarity(word: &str, known: &str) -> f64 {
    let one_letter = word.chars().count() > 2 && strsim::osa_distance(word, known) == 1;
    strsim::jaro_winkler(word, known).max(if one_letter { 0.81 } else { 0.0 })
}

fn check_vm_name(name: &str) -> Result<(), NameError> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = |c: char| edge(c) || c == '-' || c == '_';
    let length = name.len();
    if !(2..=MAX_VM_NAME).contains(&length) {
        let plural = if length == 1 { "" } else { "s" };
        return Err(NameError(format!("has {length} character{plural}; a VM name has 2 to {MAX_VM_NAME}")));
    }
    if !name.starts_with(edge) || !name.ends_with(edge) {
        return Err(NameError("must begin and end with a letter or a digit".into()));
    }
    if !name.chars().all(inner) {
        return Err(NameError("may hold only a-z, 0-9, '-' and '_'".into()));
    }
    Ok(())
}

/// What can be one component of a path and one word of libvirt's: `virStorageVolCreateXML` refuses
/// `/`, but not every driver refuses `..` (the test driver accepts `../x`).
fn check_file_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError("is empty".into()));
    }
    if name.len() > 255 {
        return Err(NameError("is longer than 255 bytes".into()));
    }
    if name == "." || name == ".." || name.contains('/') {
        return Err(NameError("must be a name, not a path".into()));
    }
    if name.starts_with('-') {
        return Err(NameError("must not begin with '-'".into()));
    }
    if name.chars().any(char::is_control) {
        return Err(NameError("must not hold control characters".into()));
    }
    Ok(())
}

fn check_disk_target(target: &str) -> Result<(), NameError> {
    match target.as_bytes() {
        [b'v', b'd', b'b'..=b'z'] => Ok(()),
        [b'v', b'd', b'a'] => Err(NameError("is the boot disk; data disks are vdb to vdz".into())),
        _ => Err(NameError("must be one of vdb to vdz".into())),
    }
}

fn check_serial(serial: &str) -> Result<(), NameError> {
    if serial.is_empty() || serial.len() > 20 {
        return Err(NameError(format!("has {} bytes; a disk's serial has 1 to 20", serial.len())));
    }
    if !serial.chars().all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c)) {
        return Err(NameError("may hold only A-Z, a-z, 0-9, '_', '.', '+' and '-'".into()));
    }
    Ok(())
}

fn check_interface_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() || name.len() > 15 {
        return Err(NameError(format!("has {} bytes; a network interface name has 1 to 15", name.len())));
    }
    if name == "."
        || name == ".."
        || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/' || c == ':')
    {
        return Err(NameError("must not hold blanks, control characters, '/' or ':'".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_and_tap_follow_the_design_document() {
        let ip = Ipv4Addr::new(10, 55, 22, 22);
        assert_eq!(MacAddress::from_ipv4(ip).to_string(), "be:ef:0a:37:16:16");
        assert_eq!(tap_name(ip), "vm0a371616");
        assert_eq!(tap_name(Ipv4Addr::new(10, 250, 250, 10)), "vm0afafa0a");
        assert_eq!(tap_name(Ipv4Addr::new(192, 168, 1, 100)), "vmc0a80164");
    }

    #[test]
    fn a_mac_from_a_name_is_local_unicast_and_differs_by_index() {
        let vm: VmName = "web".parse().unwrap();
        let (a, b) = (MacAddress::from_name(&vm, 0), MacAddress::from_name(&vm, 1));
        assert_ne!(a, b);
        assert_eq!(a.0[0] & 0b11, 0b10);
        assert_eq!(a, MacAddress::from_name(&vm, 0));
    }

    #[test]
    fn mac_addresses_are_read_as_people_write_them() {
        for text in ["52:54:00:ab:cd:ef", "52-54-00-AB-CD-EF"] {
            assert_eq!(text.parse::<MacAddress>().unwrap().to_string(), "52:54:00:ab:cd:ef");
        }
        for bad in [
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:ef:01",
            "5254.00ab.cdef",
            "52:54:00:ab:cd:e",
            "52:54:00:ab:cd:+f",
            "00:00:00:00:00:00",
            "01:00:5e:00:00:01",
            "ff:ff:ff:ff:ff:ff",
            "fe:54:00:00:00:01",
        ] {
            bad.parse::<MacAddress>().unwrap_err();
        }
    }

    #[test]
    fn vm_names() {
        for good in ["web", "a1", "web_1", "a-b_c"] {
            assert_eq!(VmName::parse_normalized(&good.to_uppercase()).unwrap().as_str(), good);
        }
        for bad in ["", "a", "-web", "web-", "we b", "../x", "wéb", "a/b", &"a".repeat(64)] {
            VmName::parse_normalized(bad).unwrap_err();
        }
    }

    #[test]
    fn volumes_of_a_vm_are_told_from_those_of_its_prefix_neighbour() {
        let web: VmName = "web".parse().unwrap();
        for own in [
            "web_boot",
            "web_data-vdb",
            "web_cloudinit",
            "web_boot.qcow2",
            "web_data-vdz.qcow2",
            "web_cloudinit.iso",
        ] {
            assert!(web.owns_by_convention(own), "{own}");
        }
        for other in [
            "web_1_boot",
            "web_1_boot.qcow2",
            "web",
            "web_",
            "web_data-vda",
            "web_data-",
            "web2_boot",
            "web_bootx",
        ] {
            assert!(!web.owns_by_convention(other), "{other}");
        }
    }

    #[test]
    fn names_that_would_leave_their_directory_are_refused() {
        for bad in ["..", ".", "a/b", "../x", "", "a\0b", "a\nb", "-x"] {
            bad.parse::<VolumeName>().unwrap_err();
            bad.parse::<PoolName>().unwrap_err();
        }
        for bad in ["", "a b", "a/b", "sixteen-letters-", ".", "..", "a:b"] {
            bad.parse::<BridgeName>().unwrap_err();
        }
        for bad in ["vda", "sda", "vdaa", "vd", "../x", "vdB"] {
            bad.parse::<DiskTarget>().unwrap_err();
        }
    }

    #[test]
    fn the_nearest_word_is_found_only_if_it_is_near() {
        let known = ["foundry-images", "br0", "networkInterfaces"];
        assert_eq!(find_nearest("networkInterface", known), Some("networkInterfaces"));
        assert_eq!(find_nearest("zzz", known), None);
    }
}
