//! A host behind libvirt: the only code that knows the bindings.
//!
//! Each call of libvirt's goes through [`Libvirt::call`], which times it for whoever watches, ends
//! it when it has no answer, and turns libvirt's error into one that names what was asked. Lookups are not cached: a handle is
//! fetched where it is used, so that what foundry acts on is what is there now. What the host can do is asked once for
//! each connection: where libvirt looks at QEMU anew for each such answer, each takes seconds.

mod agent;
mod alive;
mod calling;
mod connecting;
mod direct;
mod disks;
mod domains;
mod linger;
mod machine;
mod patience;
mod sending;
mod sockets;
mod storage;
mod streams;
mod sys;
mod watchdog;
mod whereabouts;
mod why;
mod write_behind;

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use uuid::Uuid;
use virt::connect::Connect;

pub use self::alive::run_event_loop;
use self::calling::{Asked, Unanswered, storage, vm};
use self::machine::Told;
pub use self::patience::Patience;
use self::sockets::Sockets;
use self::watchdog::Watchdog;
use super::turn::Places;
use super::{
    AddressSource, Bridge, Capabilities, Domain, GuestAddress, GuestMachine, Host, HostError, Kept, Machine,
    Neighbourhood, Network, NoTurn, Pool, Reach, Result, StateNow, Turn, View, Volume, Zeros, libvirt_xml,
    netlink,
};
use crate::uri::is_local_uri;
use foundry_core::units::Bytes;
use foundry_fetch::content::{Content, Sink};

/// Is told of each call of libvirt's.
pub trait CallObserver: Send + Sync {
    /// `function` is libvirt's name of the call, `operation` what foundry wants with it.
    fn called(&self, function: &str, operation: &str, took: Duration, error: Option<&str>);
}

/// Watches nothing.
impl CallObserver for () {
    fn called(&self, _: &str, _: &str, _: Duration, _: Option<&str>) {}
}

/// A connection to libvirt.
pub struct Libvirt {
    connection: Connect,
    uri: String,
    observer: Arc<dyn CallObserver>,
    streams_only: bool,
    sockets: Sockets,
    patience: Patience,
    watchdog: Watchdog,
    /// The call that ended the connection by having no answer.
    unanswered: OnceLock<Unanswered>,
    told: Told,
    /// Whether the host is this machine, once somebody asked.
    is_here: OnceLock<bool>,
    /// The host's name, once somebody asked.
    name: OnceLock<String>,
}

impl Libvirt {
    /// Sends what is uploaded through libvirt's streams only, as to another machine, also where the volume's file
    /// is within reach.
    #[must_use]
    pub fn through_streams_only(self) -> Self {
        Self { streams_only: true, ..self }
    }
}

impl Libvirt {
    /// What another host calls itself, whatever address leads there; the address where it does not say.
    fn host_name(&self) -> &str {
        self.name.get_or_init(|| {
            let asked = vm("ask for the host's name");
            let name = self.call("virConnectGetHostname", &asked, || self.connection.hostname());
            name.unwrap_or_else(|_| self.uri.clone())
        })
    }

    /// Whether the daemon lives on this machine, among the files that foundry sees. Where the kernel does not say who
    /// is at the other end, the URI is all that there is.
    fn leads_here(&self) -> bool {
        let proc = Path::new("/proc");
        let asked = vm("ask for the host's name");
        let has_same_name = || {
            let name = self.call("virConnectGetHostname", &asked, || self.connection.hostname());
            name.is_ok_and(|name| whereabouts::is_own_name(proc, &name))
        };
        let peers = self.sockets.peers();
        peers.is_empty() || peers.into_iter().any(|peer| whereabouts::is_here(proc, peer, has_same_name))
    }
}

/// What a URI names on its host: `/system`, `/session`.
fn driver_of(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    path.split(['?', '#']).next().unwrap_or_default()
}

impl Host for Libvirt {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn is_local(&self) -> bool {
        *self.is_here.get_or_init(|| is_local_uri(&self.uri) && self.leads_here())
    }

    fn turn(&self, thing: &str) -> std::result::Result<Turn, NoTurn> {
        let driver = driver_of(&self.uri);
        // This machine's libvirt has several addresses.
        let host = if self.is_local() { "this machine" } else { self.host_name() };
        let is_users = self.is_local() && driver == "/session";
        let places = if is_users { Places::of_user() } else { Places::of_all() };
        Turn::take(&places, &format!("{thing} of {host}{driver}"))
    }

    fn capabilities(&self) -> Result<Capabilities> {
        let hostname = self
            .call("virConnectGetHostname", &vm("ask for the host's name"), || self.connection.hostname())?;
        let libvirt_version =
            self.call("virConnectGetLibVersion", &vm("ask for libvirt's version"), || {
                self.connection.lib_version()
            })?;
        let (xml, took) = self.capabilities_xml()?;
        let (arch, guests) = libvirt_xml::capabilities(xml)?;
        let (security, _) = libvirt_xml::host_machine(xml)?;
        Ok(Capabilities { hostname, libvirt_version, arch, guests, security, took: *took })
    }

    fn machine(&self) -> Result<Machine> {
        self.look_at_machine()
    }

    fn guest_machine(&self, arch: &str, machine: &str, virt_type: &str) -> Result<GuestMachine> {
        self.look_at_guest_machine(arch, machine, virt_type)
    }

    fn run_for_a_moment(&self, xml: &str) -> Result<Uuid> {
        self.run_for_this_connection(xml)
    }

    fn domains(&self, active_only: bool) -> Result<Vec<Domain>> {
        self.list_domains(active_only)
    }

    fn domain(&self, name: &str) -> Result<Option<Domain>> {
        self.find_domain(name)
    }

    fn state(&self, domain: Uuid) -> Result<Option<StateNow>> {
        self.state_now(domain)
    }

    fn define_domain(&self, xml: &str) -> Result<Uuid> {
        self.define(xml)
    }

    fn domain_xml(&self, domain: Uuid, view: View) -> Result<Option<String>> {
        self.description(domain, view)
    }

    fn set_record(&self, domain: Uuid, text: &str) -> Result<()> {
        self.write_record(domain, text)
    }

    fn set_autostart(&self, domain: Uuid, on: bool) -> Result<()> {
        self.on_domain(domain, "virDomainSetAutostart", "set autostart of", |d| d.set_autostart(on))
    }

    fn start(&self, domain: Uuid) -> Result<()> {
        self.on_domain(domain, "virDomainCreate", "start", virt::domain::Domain::create)
    }

    fn request_shutdown(&self, domain: Uuid) -> Result<()> {
        self.press_power_button(domain)
    }

    fn resume(&self, domain: Uuid) -> Result<()> {
        self.wake(domain)
    }

    fn force_off(&self, domain: Uuid) -> Result<()> {
        self.pull_the_plug(domain)
    }

    fn undefine_but(&self, domain: Uuid, kept: Kept) -> Result<()> {
        self.forget(domain, kept)
    }

    fn saved_xml(&self, domain: Uuid) -> Result<Option<String>> {
        self.saved_description(domain)
    }

    fn attach_disk(&self, domain: Uuid, xml: &str, reach: Reach) -> Result<()> {
        self.plug(domain, xml, reach)
    }

    fn detach_disk(&self, domain: Uuid, target: &str, reach: Reach) -> Result<()> {
        self.unplug(domain, target, reach)
    }

    fn resize_disk(&self, domain: Uuid, target: &str, capacity: Bytes) -> Result<()> {
        self.grow(domain, target, capacity)
    }

    fn has_block_job(&self, domain: Uuid, target: &str) -> Result<bool> {
        self.block_job(domain, target)
    }

    fn snapshots(&self, domain: Uuid) -> Result<Vec<String>> {
        self.snapshot_names(domain)
    }

    fn all_snapshots(&self) -> Result<Vec<(Uuid, String)>> {
        self.snapshots_of_all()
    }

    fn addresses(&self, domain: Uuid, source: AddressSource) -> Result<Vec<GuestAddress>> {
        self.guest_addresses(domain, source)
    }

    fn agent(&self, domain: Uuid, command: &str, timeout: Duration) -> Result<Option<String>> {
        self.ask_agent(domain, command, timeout)
    }

    fn pools(&self) -> Result<Vec<Pool>> {
        self.list_pools()
    }

    fn pool(&self, name: &str) -> Result<Option<Pool>> {
        self.find_pool(name)
    }

    fn define_pool(&self, xml: &str) -> Result<()> {
        self.call("virStoragePoolDefineXML", &storage("define the storage pool"), || {
            self.connection.define_storage_pool_xml(xml, 0).map(drop)
        })
    }

    fn build_pool(&self, name: &str) -> Result<()> {
        self.on_pool(name, "virStoragePoolBuild", "make the target of", |p| p.build(0))
    }

    fn start_pool(&self, name: &str) -> Result<()> {
        self.on_pool(name, "virStoragePoolCreate", "start", |p| p.create(0))
    }

    fn stop_pool(&self, name: &str) -> Result<()> {
        self.on_pool(name, "virStoragePoolDestroy", "stop", virt::storage_pool::StoragePool::destroy)
    }

    fn set_pool_autostart(&self, name: &str, on: bool) -> Result<()> {
        self.on_pool(name, "virStoragePoolSetAutostart", "set autostart of", |p| p.set_autostart(on))
    }

    fn refresh_pool(&self, name: &str) -> Result<()> {
        self.on_pool(name, "virStoragePoolRefresh", "refresh", |p| p.refresh(0))
    }

    fn undefine_pool(&self, name: &str) -> Result<()> {
        self.on_pool(name, "virStoragePoolUndefine", "undefine", virt::storage_pool::StoragePool::undefine)
    }

    fn volumes(&self, pool: &str) -> Result<Vec<Volume>> {
        self.list_volumes(pool)
    }

    fn volume(&self, pool: &str, name: &str) -> Result<Option<Volume>> {
        self.find_volume(pool, name)
    }

    fn volume_at(&self, path: &str) -> Result<Option<Volume>> {
        self.find_volume_at(path)
    }

    fn create_volume(&self, pool: &str, xml: &str) -> Result<Volume> {
        self.make_volume(pool, xml, None)
    }

    fn clone_volume(&self, pool: &str, xml: &str, from_pool: &str, from_name: &str) -> Result<Volume> {
        self.make_volume(pool, xml, Some((from_pool, from_name)))
    }

    fn resize_volume(&self, pool: &str, name: &str, capacity: Bytes) -> Result<()> {
        let asked = storage(format!("resize volume '{name}' in pool '{pool}'"));
        let volume = self.volume_handle(pool, name, &asked)?;
        self.call("virStorageVolResize", &asked, || volume.resize(capacity.0, 0))
    }

    fn delete_volume(&self, pool: &str, name: &str) -> Result<()> {
        self.remove_volume(pool, name)
    }

    fn upload(
        &self,
        pool: &str,
        name: &str,
        content: &mut dyn Content,
        offset: u64,
        length: u64,
        zeros: Zeros,
    ) -> Result<u64> {
        self.send((pool, name), content, offset, length, zeros)
    }

    fn download_span(&self, pool: &str, name: &str, into: &mut dyn Sink, span: (u64, u64)) -> Result<()> {
        self.receive(pool, name, into, span)
    }

    fn network(&self, name: &str) -> Result<Option<Network>> {
        let asked = vm(format!("look up network '{name}'"));
        let Some(network) =
            self.find("virNetworkLookupByName", &asked, || self.connection.lookup_network_by_name(name))?
        else {
            return Ok(None);
        };
        let active = self.call("virNetworkIsActive", &asked, || network.is_active())?;
        let xml = self.call("virNetworkGetXMLDesc", &asked, || network.xml_desc(0))?;
        let (forward, subnets) = libvirt_xml::network(&xml)?;
        Ok(Some(Network { name: name.to_owned(), active, forward, subnets }))
    }

    fn networks(&self) -> Result<Vec<String>> {
        let asked = vm("list the networks");
        let networks =
            self.call("virConnectListAllNetworks", &asked, || self.connection.list_all_networks(0))?;
        networks.iter().map(|n| n.name().map_err(|e| self.failed(&asked, &e))).collect()
    }

    fn bridges(&self) -> Result<Option<Vec<Bridge>>> {
        if !self.is_local() {
            return Ok(None);
        }
        kernel_bridges().map(Some).map_err(unreadable_network)
    }

    fn neighbourhood(&self, wanted: &[IpAddr]) -> Result<Option<Neighbourhood>> {
        if !self.is_local() {
            return Ok(None);
        }
        netlink::neighbourhood(wanted).map(Some).map_err(unreadable_network)
    }

    fn memory(&self) -> Result<Bytes> {
        let asked = vm("ask for what the host has");
        let node = self.call("virNodeGetInfo", &asked, || self.connection.node_info())?;
        Ok(Bytes(node.memory.saturating_mul(1024)))
    }
}

fn unreadable_network(error: std::io::Error) -> HostError {
    HostError::Unreadable {
        what: "the list of this machine's network interfaces".into(),
        cause: error.to_string(),
    }
}

/// The bridges of this machine: interfaces with a `bridge` directory in sysfs (the kernel's
/// Documentation/ABI/testing/sysfs-class-net), and those of Open vSwitch's in the kernel, of which one is the bridge's own.
fn kernel_bridges() -> std::io::Result<Vec<Bridge>> {
    let addresses = netlink::addresses()?;
    let links = netlink::links()?;
    let bridges = links.into_iter().filter_map(|(number, link)| {
        let settings = Path::new("/sys/class/net").join(&link.name).join("bridge");
        // Besides its bridges, Open vSwitch has one interface for itself.
        let is_open_vswitch = link.kind == "openvswitch" && link.name != "ovs-system";
        let filtering = std::fs::read_to_string(settings.join("vlan_filtering")).unwrap_or_default();
        (settings.is_dir() || is_open_vswitch).then(|| Bridge {
            name: link.name,
            filters_vlans: is_open_vswitch || filtering.trim() == "1",
            is_up: link.is_up,
            is_open_vswitch,
            mtu: link.mtu,
            addresses: addresses.iter().filter(|(at, _)| *at == number).map(|(_, net)| *net).collect(),
        })
    });
    let mut bridges: Vec<Bridge> = bridges.collect();
    bridges.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(bridges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use foundry_core::error::Kind;

    #[test]
    fn only_this_machines_qemu_is_local() {
        for local in ["qemu:///system", "qemu:///session", "qemu+unix:///system?socket=/run/x/libvirt-sock"] {
            assert!(is_local_uri(local), "{local}");
        }
        for other in
            ["qemu+ssh://root@hv1/system", "qemu+tcp://10.0.0.1/system", "test:///default", "nonsense"]
        {
            assert!(!is_local_uri(other), "{other}");
        }
    }

    #[test]
    fn a_uri_names_a_driver() {
        for (uri, driver) in [
            ("qemu:///system", "/system"),
            ("qemu+unix:///session?socket=/run/x", "/session"),
            ("qemu+ssh://root@hv1/system", "/system"),
            ("qemu+tcp://10.0.0.1", ""),
            ("nonsense", ""),
        ] {
            assert_eq!(driver_of(uri), driver, "{uri}");
        }
    }

    #[test]
    fn a_refused_connection_says_which_and_why() {
        let Err(error) = Libvirt::connect("qemu+unix:///system?socket=/nonexistent/sock", Arc::new(()))
        else {
            panic!("connected to a socket that does not exist");
        };
        assert_eq!(error.kind(), Kind::Connection);
        assert!(error.cause().is_some_and(|c| c.contains("/nonexistent/sock")), "{error:?}");
        assert!(error.hint().is_some_and(|h| h.contains("libvirtd")));
    }

    #[test]
    fn a_nul_byte_in_a_uri_is_an_error_and_no_panic() {
        assert!(matches!(Libvirt::connect("a\0b", Arc::new(())), Err(HostError::Connect { .. })));
    }
}
