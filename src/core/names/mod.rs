//! Validated names: each type accepts only names that are safe to use.
//!
//! A name ends up in a file path on the hypervisor (a volume), in a kernel interface name (a tap) or in libvirt's own
//! name space (a domain, a pool). It is checked once, when it is parsed, so all other code can use it as it is.

mod mac;
mod nearest;
mod volumes;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use mac::{MacAddress, tap_name};
pub use nearest::find_nearest;
pub use volumes::{VmPart, VolumeNameParts};

/// Why a text is not a valid name, as the rest of a sentence that begins with the name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub String);

/// Maximum length of a VM name, in bytes. The name is also the host name, and a DNS label has at most 63 octets
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
    /// The name of a VM: 2–63 characters of `a-z0-9_-`, with a letter or digit at both ends.
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
    /// The device name of a data disk in the guest, `vdb` to `vdz` (`vda` is the boot disk).
    DiskTarget, check_disk_target
);
name_type!(
    /// The serial number of a disk: 1–20 characters of `A-Za-z0-9_.+-`. The length is `VIRTIO_BLK_ID_BYTES` of the
    /// virtio specification; the guest's by-id links show these characters unchanged.
    DiskSerial, check_serial
);
name_type!(
    /// The name of a kernel network interface: 1–15 octets, without spaces and `/` (the kernel's `dev_valid_name`,
    /// IFNAMSIZ).
    BridgeName, check_interface_name
);
name_type!(
    /// The name of a libvirt network.
    NetworkName, check_file_name
);

name_type!(
    /// The name of a snapshot: 1–63 characters of `a-z0-9-`, with a letter or digit at both ends (a label of RFC 1123).
    /// libvirt also makes a file name of it.
    SnapshotName, check_snapshot_name
);

impl DiskTarget {
    /// Returns `vdb` to `vdz`, in order.
    pub fn all_targets() -> impl Iterator<Item = Self> {
        ('b'..='z').map(|letter| Self(format!("vd{letter}")))
    }
}

impl VmName {
    /// Normalizes a user's text (trims it, converts it to lower case) and checks the result.
    ///
    /// # Errors
    /// Says what is wrong with the name.
    pub fn parse_normalized(text: &str) -> Result<Self, NameError> {
        text.trim().to_lowercase().parse()
    }

    /// Returns the host name of a VM without an FQDN. A host name has no underscore (RFC 952).
    pub fn to_host_name(&self) -> String {
        self.0.replace('_', "-")
    }
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
        return Err(NameError("may contain only a-z, 0-9, '-' and '_'".into()));
    }
    Ok(())
}

fn check_snapshot_name(name: &str) -> Result<(), NameError> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() || name.len() > 63 {
        return Err(NameError(format!("has {} characters; the name of a snapshot has 1 to 63", name.len())));
    }
    if !name.starts_with(edge) || !name.ends_with(edge) {
        return Err(NameError("must begin and end with a lower-case letter or a digit".into()));
    }
    if !name.chars().all(|c| edge(c) || c == '-') {
        return Err(NameError("may contain only a-z, 0-9 and '-'".into()));
    }
    Ok(())
}

/// Checks a name that becomes a path component and a libvirt name. `virStorageVolCreateXML` refuses `/`, but not every
/// driver refuses `..` (the test driver accepts `../x`).
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
    // A command line would take it for an option.
    if name.starts_with('-') {
        return Err(NameError("must not begin with '-'".into()));
    }
    if name.chars().any(char::is_control) {
        return Err(NameError("must not contain control characters".into()));
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
        return Err(NameError("may contain only A-Z, a-z, 0-9, '_', '.', '+' and '-'".into()));
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
        return Err(NameError("must not contain spaces, control characters, '/' or ':'".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vm_names_are_normalized_and_checked() {
        for good in ["web", "a1", "web_1", "a-b_c"] {
            assert_eq!(VmName::parse_normalized(&good.to_uppercase()).unwrap().as_str(), good);
        }
        for bad in ["", "a", "-web", "web-", "we b", "../x", "wéb", "a/b", &"a".repeat(64)] {
            VmName::parse_normalized(bad).unwrap_err();
        }
    }

    #[test]
    fn names_that_leave_their_directory_are_refused() {
        for bad in ["..", ".", "a/b", "../x", "", "a\0b", "a\nb", "-x"] {
            bad.parse::<VolumeName>().unwrap_err();
            bad.parse::<PoolName>().unwrap_err();
        }
        for bad in ["", "a b", "../x", "A", "-a", "a-", "a.b", "a_b", &"a".repeat(64)] {
            bad.parse::<SnapshotName>().unwrap_err();
        }
        "2026-11-29-190155".parse::<SnapshotName>().unwrap();
        for bad in ["", "a b", "a/b", "sixteen-letters-", ".", "..", "a:b"] {
            bad.parse::<BridgeName>().unwrap_err();
        }
        for bad in ["vda", "sda", "vdaa", "vd", "../x", "vdB"] {
            bad.parse::<DiskTarget>().unwrap_err();
        }
    }
}
