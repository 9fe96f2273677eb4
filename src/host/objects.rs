//! The objects of a host except storage: domains, guests' addresses, bridges, networks.

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

/// The capabilities of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The host name, as libvirt reports it.
    pub hostname: String,
    /// libvirt's version on the host: major × 1,000,000 + minor × 1,000 + release.
    pub libvirt_version: u32,
    /// The host's architecture, such as `x86_64`.
    pub arch: String,
    /// The host's CPU: its model, and a digest of its features. Empty if libvirt does not say.
    pub cpu: String,
    /// The domain types (`kvm`, `qemu`) for each guest architecture of full virtualization.
    pub guests: BTreeMap<String, Vec<String>>,
    /// libvirt's security drivers, in their order (libvirt's `<secmodel>`).
    pub security: Vec<SecurityModel>,
    /// How long libvirt took to answer.
    pub took: Duration,
}

impl Capabilities {
    /// The user and group of guests, if libvirt says so.
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

/// A domain, made by foundry or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    /// Its identity. Unlike the name, it never refers to another domain.
    pub uuid: Uuid,
    /// Its name when it was read.
    pub name: String,
    /// The state when it was read.
    pub state: DomainState,
    /// The reason of the state.
    pub why: StateReason,
    /// Number of virtual CPUs.
    pub vcpus: u32,
    /// Memory assigned to the guest.
    pub memory: Bytes,
    /// Whether its definition remains when it stops.
    pub persistent: bool,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// Whether it is off with its memory saved (libvirt's managed save). Its next start continues from there, with the
    /// disks that it had then.
    pub saved: bool,
    /// The inner text of foundry's metadata element, if there is one; see [`foundry_core::record`].
    pub record: Option<String>,
}

/// The counters of a running domain at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainSample {
    /// The domain.
    pub uuid: Uuid,
    /// Its name when it was read.
    pub name: String,
    /// Processor time that it has used since it started.
    pub cpu_time: Duration,
    /// Number of virtual CPUs.
    pub vcpus: u32,
    /// Memory that the guest has now.
    pub memory: Bytes,
    /// Memory of the host that its QEMU uses; `None` if libvirt does not say.
    pub resident: Option<Bytes>,
    /// Bytes read from all its disks.
    pub disk_read: Bytes,
    /// Bytes written to all its disks.
    pub disk_written: Bytes,
    /// Bytes that the guest received by all its interfaces.
    pub net_received: Bytes,
    /// Bytes that the guest sent.
    pub net_sent: Bytes,
}

/// What is kept when a definition is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeptOnUndefine {
    /// The file with its EFI variables.
    pub nvram: bool,
    /// Its saved memory. If there is any, libvirt then refuses to delete the definition.
    pub saved: bool,
}

/// The name of a domain, quoted for a shell, or its UUID if the name has invisible characters: such a name can look
/// like another's.
pub fn shell_name(name: &str, uuid: Uuid) -> Cow<'_, str> {
    if name.chars().any(is_unseen) { uuid.to_string().into() } else { quote_for_shell(name) }
}

/// The name of a domain in a command, or its UUID if the name has invisible characters.
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

    /// Foundry's record of the domain, if foundry made it and the record can be read.
    pub fn own_record(&self) -> Option<Record> {
        match self.owner() {
            Owner::Foundry(record) => Some(*record),
            _ => None,
        }
    }
}

/// The description of a domain to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The running domain, or the definition if it is off.
    Current,
    /// The definition, in effect from the next start.
    Config,
}

/// The descriptions that a device change applies to (libvirt's `virDomainModificationImpact`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affect {
    /// The running domain only; undone at its next start.
    Live,
    /// The definition only, from its next start on.
    Config,
    /// Both, or neither if one of them refuses.
    Both,
}

impl Affect {
    /// The descriptions to change; `None` if there is none.
    pub fn of(live: bool, persistent: bool) -> Option<Self> {
        match (live, persistent) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Live),
            (false, true) => Some(Self::Config),
            (false, false) => None,
        }
    }
}

/// The source of a guest's addresses (libvirt's `virDomainInterfaceAddressesSource`).
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
    /// The address, IPv4 or IPv6.
    pub ip: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
}

/// The state of a domain, for polling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateNow {
    /// The state when it was read.
    pub state: DomainState,
    /// The reason of the state.
    pub why: StateReason,
}

impl Domain {
    /// Whether an error stopped the domain, so the guest will not continue by itself.
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

/// A bridge of the host, of the kernel or of Open vSwitch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name on the host.
    pub name: String,
    /// Whether it filters VLANs (`vlan_filtering` of ip-link(8), type bridge).
    pub filters_vlans: bool,
    /// Whether it is up (`ip link set NAME up`).
    pub is_up: bool,
    /// Whether it is an Open vSwitch bridge, which the domain's XML must say.
    pub is_open_vswitch: bool,
    /// The MTU, in bytes.
    pub mtu: u32,
    /// The host's own addresses on it.
    pub addresses: Vec<IpNet>,
}

/// A bridge with Ethernet's usual MTU.
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

/// The addresses, routes and neighbours of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbourhood {
    /// Its own addresses.
    pub addresses: Vec<LinkAddress>,
    /// Destinations of its routes, without the default routes.
    pub routes: Vec<IpNet>,
    /// Machines that were seen lately, by address.
    pub neighbours: Vec<Neighbour>,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkAddress {
    /// Name of the interface.
    pub link: String,
    /// The address in its network.
    pub net: IpNet,
}

/// A machine on the same link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The interface that it was seen on.
    pub link: String,
    /// Its IP address.
    pub ip: IpAddr,
    /// Its MAC address, lower case.
    pub mac: String,
}

/// Whether a network interface is up, by its flags in sysfs: the first bit is IFF_UP (netdevice(7)).
pub fn is_up(flags: &str) -> bool {
    u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).is_ok_and(|flags| flags & 1 == 1)
}

/// A libvirt network, active or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Its name on the host.
    pub name: String,
    /// Whether it is started.
    pub active: bool,
    /// Its bridge on the host; `None` for one that hands out another network's interfaces.
    pub bridge: Option<String>,
    /// How libvirt forwards its packets (`nat`, `route`, `bridge`, …); `None` isolates it.
    pub forward: Option<String>,
    /// Its subnets. Without any, libvirt does not manage addresses.
    pub subnets: Vec<Subnet>,
}

/// A subnet of a libvirt network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// The host's address in it.
    pub host: IpNet,
    /// Whether libvirt serves DHCP.
    pub has_dhcp: bool,
    /// The DHCP ranges, inclusive.
    pub ranges: Vec<(IpAddr, IpAddr)>,
}
