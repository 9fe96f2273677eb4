//! MAC addresses and tap names, both derived from an interface's IPv4 address.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::{NameError, VmName};

/// A MAC address that a guest's interface can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// Derives a MAC address from an IPv4 address: `be:ef:` and the four octets. `be` marks a locally administered
    /// unicast address (IEEE 802: bit 1 set and bit 0 clear in the first octet).
    pub fn from_ipv4(ip: Ipv4Addr) -> Self {
        let [a, b, c, d] = ip.octets();
        Self([0xbe, 0xef, a, b, c, d])
    }

    /// Derives a MAC address for an interface without an IPv4 address: `be:f0:` and four octets of a digest of the VM's
    /// name and the interface's index. So it is the same at each creation.
    pub fn from_name(vm: &VmName, index: usize) -> Self {
        let digest = Sha256::digest(format!("{vm}/{index}"));
        Self([0xbe, 0xf0, digest[0], digest[1], digest[2], digest[3]])
    }
}

impl FromStr for MacAddress {
    type Err = NameError;

    /// Reads six hexadecimal octets, separated by `:` or `-`, and refuses addresses that no guest's interface can have.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = |why: &str| Err(NameError(why.to_owned()));
        let octet = |part: &str| {
            // from_str_radix would also accept a sign.
            let is_hex = part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
            is_hex.then(|| u8::from_str_radix(part, 16).ok()).flatten()
        };
        let parts: Option<Vec<u8>> = text.split([':', '-']).map(octet).collect();
        let Some(octets) = parts.and_then(|parts| <[u8; 6]>::try_from(parts).ok()) else {
            return refused("is not a MAC address, such as 52:54:00:12:34:56");
        };
        match octets {
            [0, 0, 0, 0, 0, 0] => refused("is not a valid interface address"),
            [first, ..] if first & 1 == 1 => refused("is a multicast address; the first octet must be even"),
            // libvirt gives the host's end of the tap the guest's address with this octet (virNetDevTapCreateInBridgePort).
            [0xfe, ..] => refused(
                "begins with fe, which libvirt reserves for the host's end; use QEMU's prefix 52:54:00",
            ),
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

/// Derives the name of a tap interface from an IPv4 address: `vm` and the octets in hexadecimal.
pub fn tap_name(ip: Ipv4Addr) -> String {
    format!("vm{:08x}", u32::from(ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_and_tap_from_ipv4_follow_the_design_document() {
        let ip = Ipv4Addr::new(10, 55, 22, 22);
        assert_eq!(MacAddress::from_ipv4(ip).to_string(), "be:ef:0a:37:16:16");
        assert_eq!(tap_name(ip), "vm0a371616");
        assert_eq!(tap_name(Ipv4Addr::new(10, 250, 250, 10)), "vm0afafa0a");
        assert_eq!(tap_name(Ipv4Addr::new(192, 168, 1, 100)), "vmc0a80164");
    }

    #[test]
    fn mac_from_name_is_local_unicast_and_differs_by_index() {
        let vm: VmName = "web".parse().unwrap();
        let (a, b) = (MacAddress::from_name(&vm, 0), MacAddress::from_name(&vm, 1));
        assert_ne!(a, b);
        assert_eq!(a.0[0] & 0b11, 0b10);
        assert_eq!(a, MacAddress::from_name(&vm, 0));
    }

    #[test]
    fn mac_addresses_are_read_with_colons_or_dashes() {
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
}
