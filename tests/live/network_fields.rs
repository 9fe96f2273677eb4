//! The fields of an interface beyond one IPv4 address, read inside a Debian guest with real cloud-init: one guest, with as
//! many of them as go together, as it takes a minute or two to come up.

use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::arena::is_full;
use crate::support::live::{Bed, Guest, Manifest, environment, program};

/// Where QEMU emulates the processor, the guest takes ten minutes: `tests/live/debian.rs` has its like in every run, and
/// `scripts/test.sh --full` this one, too.
fn is_for_this_run() -> bool {
    let is = is_full() || std::env::var("FOUNDRY_VIRT_TYPE").as_deref() == Ok("kvm");
    if !is {
        println!("skipped: there is no KVM, and scripts/test.sh --full has it");
    }
    is
}

/// A bridge with the host's addresses on it; gone with this.
struct Bridge(&'static str);

impl Bridge {
    fn new(name: &'static str, addresses: &[&str]) -> Self {
        program("ip", &["link", "delete", name]);
        program("ip", &["link", "add", name, "type", "bridge"]).exits(0);
        let bridge = Self(name);
        for address in addresses {
            // An IPv6 address stays tentative on a bridge without ports.
            let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
            program("ip", &[&["address", "add", address, "dev", name], nodad].concat()).exits(0);
        }
        program("ip", &["link", "set", name, "up"]).exits(0);
        bridge
    }

    fn mtu(&self) -> String {
        std::fs::read_to_string(format!("/sys/class/net/{}/mtu", self.0)).unwrap().trim().to_owned()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        program("ip", &["link", "delete", self.0]);
    }
}

/// A DHCP server on a bridge, as a LAN has one.
struct DhcpServer(Child);

impl DhcpServer {
    /// `None` where there is none to run.
    fn new(bed: &Bed, bridge: &str) -> Option<Self> {
        let leases = bed.home().join("leases");
        let child = Command::new("dnsmasq")
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--port=0",
                "--bind-interfaces",
                "--except-interface=lo",
            ])
            .args(["--user=root", "--no-hosts", "--no-resolv", "--dhcp-authoritative", "--no-ping"])
            .arg(format!("--interface={bridge}"))
            .arg(format!("--pid-file={}", bed.home().join("dnsmasq.pid").display()))
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .args(["--dhcp-range=10.79.2.50,10.79.2.59,1h", "--dhcp-option=option:router,10.79.2.1"])
            .args([
                "--dhcp-option=option:domain-search,lease.example.com",
                "--dhcp-option=option:dns-server,10.79.2.1",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => Some(Self(child)),
            Err(error) => {
                println!("skipped: no dnsmasq: {error}");
                None
            }
        }
    }
}

impl Drop for DhcpServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const MAC: &str = "52:54:00:79:01:5b";
const LEASED_MAC: &str = "52:54:00:79:02:5b";

/// A gateway outside of the network and a small MTU; a lease; IPv6 alone.
fn manifest(bed: &Bed) -> Manifest {
    bed.uses_address("10.79.1.91");
    bed.manifest("fields", 91).memory("1").boot_disk("{sizeGB: 4, image: debian.qcow2}").interfaces(&[
        &format!(
            "{{ip: 10.79.1.91/24, gateway: 10.79.9.1, onLink: true, mtu: 1400, macAddress: \"{MAC}\", \
             dnsServers: [10.79.1.1], searchDomains: [lab.example.com, example.net], bridge: fdtf0}}"
        ),
        &format!("{{macAddress: \"{LEASED_MAC}\", bridge: fdtf1}}"),
        "{addresses: [\"fd00:79:3::91/64\"], gateway6: \"fd00:79:3::1\", bridge: fdtf2}",
    ])
}

#[test]
fn a_guest_has_the_network_that_its_manifest_says() {
    let Some(image) = environment("FOUNDRY_TEST_DEBIAN") else { return };
    if !is_for_this_run() {
        return;
    }
    let Some(bed) = Bed::new("fields") else { return };
    // 10.79.77.1 and fd00:79:77::1 stand for what lies behind the gateways.
    let first = Bridge::new("fdtf0", &["10.79.1.1/24", "10.79.9.1/32", "10.79.77.1/32"]);
    let second = Bridge::new("fdtf1", &["10.79.2.1/24"]);
    let third = Bridge::new("fdtf2", &["fd00:79:3::1/64", "fd00:79:77::1/128"]);
    let Some(_server) = DhcpServer::new(&bed, second.0) else { return };
    bed.import(&image, "debian.qcow2");
    let manifest = manifest(&bed);
    let begun = Instant::now();
    bed.foundry(&["create", "-", "--wait=cloud-init", "--timeout", "20m"]).reads(&manifest).run().exits(0);
    println!("cloud-init was done after {:?}", begun.elapsed());
    let guest = bed.guest("10.79.1.91");
    let links = Links::of(&guest);

    the_first_has_what_it_was_given(&guest, &links);
    packets_are_as_large_as_the_mtu(&guest, &first);
    the_second_has_a_lease(&guest, &links);
    the_third_has_ipv6_alone(&bed, &guest, &links);
    names_are_looked_up_where_it_says(&guest, &links);
    assert_eq!(third.mtu(), "1500", "the bridges of others keep theirs");
    assert_eq!(second.mtu(), "1500");

    bed.foundry(&["destroy", &manifest.name, "--timeout", "60s"]).run().exits(0);
    assert_eq!(bed.traces(), []);
}

/// The guest's links, as iproute2 in it shows them.
struct Links(Vec<serde_json::Value>);

impl Links {
    fn of(guest: &Guest) -> Self {
        Self(serde_json::from_str(&guest.says("ip -j addr")).unwrap())
    }

    /// The link with that hardware address.
    fn with_mac(&self, mac: &str) -> &serde_json::Value {
        self.0.iter().find(|link| link["address"] == mac).unwrap_or_else(|| panic!("no {mac}: {:?}", self.0))
    }

    /// Its addresses with prefix lengths, those of a link's own apart.
    fn addresses(link: &serde_json::Value) -> Vec<String> {
        let all = link["addr_info"].as_array().unwrap().iter().filter(|a| a["scope"] != "link");
        all.map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"])).collect()
    }

    fn name(link: &serde_json::Value) -> &str {
        link["ifname"].as_str().unwrap()
    }

    /// The link that is none of these two.
    fn third(&self) -> &serde_json::Value {
        let known = [MAC, LEASED_MAC];
        let is_other = |link: &&serde_json::Value| {
            link["link_type"] == "ether" && !known.iter().any(|mac| link["address"] == *mac)
        };
        self.0.iter().find(is_other).unwrap()
    }
}

fn the_first_has_what_it_was_given(guest: &Guest, links: &Links) {
    let link = links.with_mac(MAC);
    assert_eq!(Links::addresses(link), ["10.79.1.91/24"]);
    assert_eq!(link["mtu"], 1400);
    let name = Links::name(link);
    let defaults = guest.says("ip -4 route show default");
    assert_eq!(defaults.lines().count(), 1, "the lease's way out is not taken: {defaults}");
    assert!(defaults.starts_with(&format!("default via 10.79.9.1 dev {name} ")), "{defaults}");
    assert!(defaults.contains("onlink"), "{defaults}");
    reaches(guest, "10.79.77.1");
}

/// The guest comes through to an address of the host's.
fn reaches(guest: &Guest, address: &str) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    guest.says(&format!("timeout 20 bash -c 'exec 3<>/dev/tcp/{address}/{port}'"));
}

/// 28 bytes are the headers of IPv4 and UDP. What is larger is refused by the guest's own kernel.
fn packets_are_as_large_as_the_mtu(guest: &Guest, bridge: &Bridge) {
    let socket = UdpSocket::bind("10.79.1.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let port = socket.local_addr().unwrap().port();
    let send = |bytes: u32| {
        // ip(7): IP_MTU_DISCOVER is 10, and IP_PMTUDISC_DO is 2.
        guest.tries(&format!(
            "python3 -c \"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); \
             s.setsockopt(socket.IPPROTO_IP, 10, 2); s.sendto(b'x' * {bytes}, ('10.79.1.1', {port}))\""
        ))
    };
    send(1372).exits(0);
    assert_eq!(socket.recv(&mut [0; 2000]).unwrap(), 1372);
    let larger = send(1373);
    assert!(larger.code != 0 && larger.stderr.contains("Message too long"), "{larger:?}");
    // A bridge whose MTU nobody has set takes its smallest port's (the kernel's `br_mtu_auto_adjust`).
    println!("the bridge of the interface with mtu 1400 has {}", bridge.mtu());
}

fn the_second_has_a_lease(guest: &Guest, links: &Links) {
    let link = links.with_mac(LEASED_MAC);
    let addresses = Links::addresses(link);
    assert!(addresses.len() == 1 && addresses[0].starts_with("10.79.2.5"), "{addresses:?}");
    assert!(addresses[0].ends_with("/24") && link["mtu"] == 1500, "{link}");
    reaches(guest, "10.79.2.1");
}

fn the_third_has_ipv6_alone(bed: &Bed, guest: &Guest, links: &Links) {
    let link = links.third();
    assert_eq!(Links::addresses(link), ["fd00:79:3::91/64"]);
    let defaults = guest.says("ip -6 route show default");
    let way = format!("default via fd00:79:3::1 dev {} ", Links::name(link));
    assert!(defaults.lines().count() == 1 && defaults.starts_with(&way), "{defaults}");
    reaches(guest, "fd00:79:77::1");
    let by_ipv6 = bed.guest("fd00:79:3::91");
    by_ipv6.answers_within(Duration::from_secs(60));
    assert_eq!(by_ipv6.says("hostname"), guest.says("hostname"));
}

fn names_are_looked_up_where_it_says(guest: &Guest, links: &Links) {
    let name = Links::name(links.with_mac(MAC));
    let seen = guest.says(&format!(
        "resolvectl domain {name} 2>/dev/null; resolvectl dns {name} 2>/dev/null; \
         networkctl status {name} --no-pager 2>/dev/null; cat /etc/resolv.conf"
    ));
    for word in ["lab.example.com", "example.net", "10.79.1.1"] {
        assert!(seen.contains(word), "no {word}: {seen}");
    }
}
