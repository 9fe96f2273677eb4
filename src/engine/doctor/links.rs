//! Checks the bridges and networks of the host: those that VMs use, and whether there is any to attach a new VM to.

use super::HostCheck;
use super::facts::HostFacts;
use foundry_core::error::Code;
use foundry_core::manifest::NetworkInterface;
use foundry_core::text::quote_for_shell;
use foundry_host::diagnosis::advice::BRIDGE_WITH_VLANS;
use foundry_host::local::{LinkFacts, LocalFacts};
use foundry_host::{Bridge, Domain, Network};

pub(super) fn check_links(facts: &HostFacts) -> Vec<HostCheck> {
    let mut checks = Vec::new();
    let bridges = match &facts.bridges {
        Ok(bridges) => bridges.as_deref(),
        Err(why) => {
            checks.push(HostCheck::unknown("bridge", why.clone()));
            None
        }
    };
    let uses = bridge_uses(facts.domains.as_deref().unwrap_or_default());
    if let (Some(bridges), Some(local)) = (bridges, &facts.local) {
        checks.extend(bridges.iter().map(|bridge| check_bridge(local, bridge, &uses)));
        checks.extend(
            uses.iter()
                .filter(|u| !bridges.iter().any(|b| b.name == u.bridge))
                .map(BridgeUse::missing_bridge),
        );
        checks.extend(check_filter(local, bridges));
    }
    match &facts.networks {
        Ok(networks) => checks.extend(networks.iter().map(check_network)),
        Err(why) => checks.push(HostCheck::unknown("network", why.clone())),
    }
    if bridges.is_some_and(<[Bridge]>::is_empty) && !facts.networks.iter().flatten().any(|n| n.active) {
        checks.push(nothing_to_attach_to());
    }
    checks
}

/// An interface of a foundry VM that is attached to a bridge.
struct BridgeUse {
    vm: String,
    bridge: String,
    has_vlan: bool,
}

fn bridge_uses(domains: &[Domain]) -> Vec<BridgeUse> {
    let mut uses = Vec::new();
    for domain in domains {
        let owner = domain.owner();
        let interfaces: &[NetworkInterface] =
            owner.manifest().map(|manifest| manifest.spec.network_interfaces.as_slice()).unwrap_or_default();
        uses.extend(interfaces.iter().filter_map(|interface| {
            let bridge = interface.bridge.clone()?;
            Some(BridgeUse { vm: domain.name.clone(), bridge, has_vlan: interface.vlan.is_some() })
        }));
    }
    uses
}

impl BridgeUse {
    fn missing_bridge(&self) -> HostCheck {
        HostCheck::problem("bridge", format!("no such bridge, but VM '{}' is attached to it", self.vm))
            .with_code(Code::BridgeMissing)
            .about(&self.bridge)
            .add_advice(format!(
                "ip link add {0} type bridge && ip link set {0} up",
                quote_for_shell(&self.bridge)
            ))
    }
}

fn check_bridge(local: &LocalFacts, bridge: &Bridge, uses: &[BridgeUse]) -> HostCheck {
    const NAME: &str = "bridge";
    let uses: Vec<&BridgeUse> = uses.iter().filter(|u| u.bridge == bridge.name).collect();
    let word = quote_for_shell(&bridge.name);
    let link = local.links.get(&bridge.name).cloned().unwrap_or_default();
    let check = if let Some(tagged) = uses.iter().find(|u| u.has_vlan && !bridge.filters_vlans) {
        HostCheck::problem(NAME, format!("does not filter VLANs, but VM '{}' uses one", tagged.vm))
            .with_code(Code::VlanUnsupported)
            .add_advice(BRIDGE_WITH_VLANS)
    } else if !link.is_up {
        let found = "is down and passes no traffic";
        let check = match uses.first() {
            Some(used) => {
                HostCheck::problem(NAME, format!("{found}, but VM '{}' is attached to it", used.vm))
                    .with_code(Code::BridgeDown)
            }
            None => HostCheck::warning(NAME, found),
        };
        check.add_advice(format!("ip link set {word} up"))
    } else if !link.has_address && link.uplinks.is_empty() {
        HostCheck::warning(NAME, "has neither an address nor an uplink: its guests reach only each other")
            .add_advice(format!("ip address add ADDRESS/PREFIX dev {word} makes the host reachable from the guests"))
            .add_advice("to add an uplink, use the host's network configuration, which also moves the uplink's addresses to the bridge; otherwise the host loses its network")
    } else {
        HostCheck::ok(NAME, describe_link(&link, bridge.filters_vlans))
    };
    check.about(&bridge.name)
}

fn describe_link(link: &LinkFacts, filters_vlans: bool) -> String {
    let mut parts = vec!["up".to_owned()];
    if link.has_address {
        parts.push("with an address".into());
    }
    if !link.uplinks.is_empty() {
        parts.push(format!("with uplink {}", link.uplinks.join(", ")));
    }
    if filters_vlans {
        parts.push("filters VLANs".into());
    }
    parts.join(", ")
}

/// Docker enables this (bridge-nf-call-iptables), and its FORWARD rules drop traffic that is not its own.
fn check_filter(local: &LocalFacts, bridges: &[Bridge]) -> Option<HostCheck> {
    (local.bridges_are_filtered && !bridges.is_empty()).then(|| {
        HostCheck::warning("bridge-filter", "iptables filters bridged traffic; if Docker runs, its rules drop it")
            .add_advice("if guests on one bridge do not reach each other: sudo iptables -I DOCKER-USER -i BRIDGE -o BRIDGE -j ACCEPT, for that bridge only (without Docker: FORWARD instead of DOCKER-USER)")
    })
}

fn check_network(network: &Network) -> HostCheck {
    const NAME: &str = "network";
    let check = if network.active {
        HostCheck::ok(NAME, "started")
    } else {
        HostCheck::warning(NAME, "not started")
            .add_advice(format!("virsh net-start {}", quote_for_shell(&network.name)))
    };
    check.about(&network.name)
}

fn nothing_to_attach_to() -> HostCheck {
    HostCheck::problem("network", "neither a bridge nor a started network to attach a VM to")
        .add_advice("ip link add br0 type bridge && ip link set br0 up, or: virsh net-start default")
}
