//! The objects of a host besides its storage: domains, guests' addresses, bridges, networks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use uuid::Uuid;

use super::{DomainState, SecurityModel, StateReason};
use foundry_core::record::{Owner, Record};
use foundry_core::text::{is_unseen, quote_for_shell};
use foundry_core::units::Bytes;

/// What a host can run, from its capabilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The host's own name, as libvirt gives it.
    pub hostname: String,
    /// libvirt's version on the host: major × 1,000,000 + minor × 1,000 + release.
    pub libvirt_version: u32,
    /// The host's architecture, `x86_64` for one.
    pub arch: String,
    /// For each guest architecture of full virtualization, the domain types that it can be run with
    /// (`kvm`, `qemu`).
    pub guests: BTreeMap<String, Vec<String>>,
    /// libvirt's security drivers, in their order (libvirt's `<secmodel>`).
    pub security: Vec<SecurityModel>,
    /// How long libvirt took to say so.
    pub took: Duration,
}

impl Capabilities {
    /// User and group that guests run as, where libvirt says so.
    pub fn guest_ids(&self) -> Option<(u32, u32)> {
        let label = self.security.iter().find(|model| model.name == "dac")?.label.as_deref()?;
        let (uid, gid) = label.split_once(':')?;
        let number = |text: &str| text.trim_start_matches('+').parse::<u32>().ok();
        Some((number(uid)?, number(gid)?))
    }

    /// Whether a security driver of that name confines guests.
    pub fn confines_by(&self, name: &str) -> bool {
        self.security.iter().any(|model| model.name == name)
    }
}

/// A domain, foundry's or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    /// Its identity: stays while its name may come to mean another.
    pub uuid: Uuid,
    /// Its name at the time of the look.
    pub name: String,
    /// What it is doing.
    pub state: DomainState,
    /// Why it is doing that.
    pub why: StateReason,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory.
    pub memory: Bytes,
    /// Whether a definition stays when it stops.
    pub persistent: bool,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// Whether it is off with its memory saved (libvirt's managed save): its next start goes on from there, with the
    /// disks that it had then.
    pub saved: bool,
    /// The inner text of foundry's metadata element, if there is one; see [`foundry_core::record`].
    pub record: Option<String>,
}

/// What stays when a definition goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeptOnUndefine {
    /// The file with its EFI variables.
    pub nvram: bool,
    /// Its saved memory: where there is any, libvirt refuses to remove the definition then.
    pub saved: bool,
}

/// A domain in a command to be copied: its name, or, where that holds what nobody sees, its UUID. Whoever copies a name
/// that looks like another's means the other.
pub fn shell_name(name: &str, uuid: Uuid) -> Cow<'_, str> {
    if name.chars().any(is_unseen) { uuid.to_string().into() } else { quote_for_shell(name) }
}

/// What a command calls a domain: its name, or its UUID if the name holds something unseen.
pub fn command_name(name: &str, uuid: Uuid) -> String {
    if name.chars().any(is_unseen) { uuid.to_string() } else { name.to_owned() }
}

impl Domain {
    /// As [`command_name`].
    pub fn command_name(&self) -> String {
        command_name(&self.name, self.uuid)
    }

    /// As [`shell_name`].
    pub fn shell_name(&self) -> Cow<'_, str> {
        shell_name(&self.name, self.uuid)
    }

    /// Whose it is, by its metadata.
    pub fn owner(&self) -> Owner {
        Owner::of_domain(self.uuid, self.record.as_deref())
    }

    /// Foundry's record of it, if it is foundry's and the record can be read.
    pub fn own_record(&self) -> Option<Record> {
        match self.owner() {
            Owner::Foundry(record) => Some(*record),
            _ => None,
        }
    }
}

/// Which description of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// As it is now.
    Current,
    /// As it is at its next start.
    Config,
}

/// Where a change of a domain's devices takes place (libvirt's `virDomainModificationImpact`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affect {
    /// In the running domain only: gone at its next start.
    Live,
    /// In the definition only: from its next start on.
    Config,
    /// In both, or in neither where one of them refuses.
    Both,
}

impl Affect {
    /// The places where a change is needed; `None` where it is needed in neither.
    pub fn of(live: bool, persistent: bool) -> Option<Self> {
        match (live, persistent) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Live),
            (false, true) => Some(Self::Config),
            (false, false) => None,
        }
    }
}

/// Where the host can learn a guest's addresses (libvirt's `virDomainInterfaceAddressesSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressSource {
    /// DHCP leases of libvirt's networks.
    Lease,
    /// The guest agent.
    Agent,
    /// The host's ARP table.
    Arp,
}

/// One address of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestAddress {
    /// MAC address of the interface, lower case.
    pub mac: String,
    /// The address.
    pub ip: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
}

/// What a domain is doing, for a look that is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateNow {
    /// What it is doing.
    pub state: DomainState,
    /// Why it is doing that.
    pub why: StateReason,
}

impl Domain {
    /// Whether an error stopped it: the guest will not go on by itself.
    pub fn stopped_by_error(&self) -> bool {
        self.why.is_error(self.state)
    }
}

impl StateNow {
    /// As [`Domain::stopped_by_error`].
    pub fn stopped_by_error(&self) -> bool {
        self.why.is_error(self.state)
    }
}

/// A bridge of the host: the kernel's own, or one of Open vSwitch's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Whether it tells VLANs apart (`vlan_filtering` of ip-link(8), type bridge).
    pub filters_vlans: bool,
    /// Whether it carries anything at all (`ip link set NAME up`).
    pub is_up: bool,
    /// Whether it is an Open vSwitch bridge, which the domain's XML must say.
    pub is_open_vswitch: bool,
    /// The largest packet that passes it, in bytes.
    pub mtu: u32,
    /// The host's own addresses on it.
    pub addresses: Vec<IpNet>,
}

/// One that passes Ethernet's usual packets.
impl Default for Bridge {
    fn default() -> Self {
        let name = String::new();
        Self {
            name,
            filters_vlans: false,
            is_up: true,
            is_open_vswitch: false,
            mtu: 1500,
            addresses: Vec::new(),
        }
    }
}

/// What a machine is among its neighbours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbourhood {
    /// Its own addresses.
    pub addresses: Vec<LinkAddress>,
    /// Where it has routes to, the default routes left out.
    pub routes: Vec<IpNet>,
    /// Who was heard of lately at which address.
    pub neighbours: Vec<Neighbour>,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkAddress {
    /// The interface.
    pub link: String,
    /// The address in its network.
    pub net: IpNet,
}

/// A machine on the same wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The interface behind which it is.
    pub link: String,
    /// Its address.
    pub ip: IpAddr,
    /// Its MAC address, lower case.
    pub mac: String,
}

/// Whether a network interface is up, by its flags as sysfs has them: the first one is IFF_UP (netdevice(7)).
pub fn is_up(flags: &str) -> bool {
    u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).is_ok_and(|flags| flags & 1 == 1)
}

/// A libvirt network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Whether it is started.
    pub active: bool,
    /// What libvirt does with its packets (`nat`, `route`, `bridge`, …); `None` keeps them inside.
    pub forward: Option<String>,
    /// Its own addresses. Without any, libvirt has no say in who has which.
    pub subnets: Vec<Subnet>,
}

/// One of the networks of a libvirt network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// The host's address in it.
    pub host: IpNet,
    /// Whether libvirt gives addresses by DHCP.
    pub has_dhcp: bool,
    /// From where to where, first and last included.
    pub ranges: Vec<(IpAddr, IpAddr)>,
}
