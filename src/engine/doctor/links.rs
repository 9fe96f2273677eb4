//! Checks the bridges and networks that VMs can attach to, and those that VMs use.

use super::Check;
use super::facts::Facts;
use super::local::{Link, Local};
use foundry_core::error::Code;
use foundry_core::manifest::NetworkInterface;
use foundry_core::text::quote_for_shell;
use foundry_host::diagnosis::advice::BRIDGE_WITH_VLANS;
use foundry_host::{Bridge, Domain, Network};

pub(super) fn check(facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    let bridges = match &facts.bridges {
        Ok(bridges) => bridges.as_deref(),
        Err(why) => {
            checks.push(Check::unknown("bridge", why.clone()));
            None
        }
    };
    let uses = uses(facts.domains.as_deref().unwrap_or_default());
    if let (Some(bridges), Some(local)) = (bridges, &facts.local) {
        checks.extend(bridges.iter().map(|bridge| judge(local, bridge, &uses)));
        checks.extend(uses.iter().filter(|u| !bridges.iter().any(|b| b.name == u.bridge)).map(Use::dangles));
        checks.extend(filter(local, bridges));
    }
    match &facts.networks {
        Ok(networks) => checks.extend(networks.iter().map(network)),
        Err(why) => checks.push(Check::unknown("network", why.clone())),
    }
    if bridges.is_some_and(<[Bridge]>::is_empty) && !facts.networks.iter().flatten().any(|n| n.active) {
        checks.push(nothing());
    }
    checks
}

/// An interface of a foundry VM that is on a bridge.
struct Use {
    vm: String,
    bridge: String,
    has_vlan: bool,
}

fn uses(domains: &[Domain]) -> Vec<Use> {
    let mut uses = Vec::new();
    for domain in domains {
        let owner = domain.owner();
        let interfaces: &[NetworkInterface] =
            owner.manifest().map(|manifest| manifest.spec.network_interfaces.as_slice()).unwrap_or_default();
        uses.extend(interfaces.iter().filter_map(|interface| {
            let bridge = interface.bridge.clone()?;
            Some(Use { vm: domain.name.clone(), bridge, has_vlan: interface.vlan.is_some() })
        }));
    }
    uses
}

impl Use {
    fn dangles(&self) -> Check {
        Check::problem("bridge", format!("there is none of that name, and VM '{}' is on it", self.vm))
            .known_as(Code::BridgeMissing)
            .of(&self.bridge)
            .todo(format!("ip link add {0} type bridge && ip link set {0} up", quote_for_shell(&self.bridge)))
    }
}

fn judge(local: &Local, bridge: &Bridge, uses: &[Use]) -> Check {
    const NAME: &str = "bridge";
    let uses: Vec<&Use> = uses.iter().filter(|u| u.bridge == bridge.name).collect();
    let word = quote_for_shell(&bridge.name);
    let link = local.links.get(&bridge.name).cloned().unwrap_or_default();
    let check = if let Some(tagged) = uses.iter().find(|u| u.has_vlan && !bridge.filters_vlans) {
        Check::problem(NAME, format!("does not tell VLANs apart, and VM '{}' has one", tagged.vm))
            .known_as(Code::VlanUnsupported)
            .todo(BRIDGE_WITH_VLANS)
    } else if !link.is_up {
        let found = "is down: nothing passes it";
        let check = match uses.first() {
            Some(used) => Check::problem(NAME, format!("{found}, and VM '{}' is on it", used.vm))
                .known_as(Code::BridgeDown),
            None => Check::warning(NAME, found),
        };
        check.todo(format!("ip link set {word} up"))
    } else if !link.has_address && link.uplinks.is_empty() {
        Check::warning(NAME, "has neither an address nor an uplink: guests on it reach only each other")
            .todo(format!("ip address add ADDRESS/PREFIX dev {word} makes the host reachable from there"))
            .todo("an uplink is given to it in the host's own network configuration, which moves the uplink's addresses to the bridge: without that the host is cut off")
    } else {
        Check::ok(NAME, described(&link, bridge.filters_vlans))
    };
    check.of(&bridge.name)
}

fn described(link: &Link, filters_vlans: bool) -> String {
    let mut parts = vec!["up".to_owned()];
    if link.has_address {
        parts.push("with an address".into());
    }
    if !link.uplinks.is_empty() {
        parts.push(format!("with uplink {}", link.uplinks.join(", ")));
    }
    if filters_vlans {
        parts.push("tells VLANs apart".into());
    }
    parts.join(", ")
}

/// Docker turns this on, and has the filter drop what it does not know.
fn filter(local: &Local, bridges: &[Bridge]) -> Option<Check> {
    (local.bridges_are_filtered && !bridges.is_empty()).then(|| {
        Check::warning("bridge-filter", "what passes a bridge passes the machine's IP filter, too; where Docker runs, that drops it")
            .todo("where guests of one bridge do not reach each other: sudo iptables -I DOCKER-USER -i BRIDGE -o BRIDGE -j ACCEPT, for that bridge only (without Docker: FORWARD in place of DOCKER-USER)")
    })
}

fn network(network: &Network) -> Check {
    const NAME: &str = "network";
    let check = if network.active {
        Check::ok(NAME, "started")
    } else {
        Check::warning(NAME, "not started")
            .todo(format!("virsh net-start {}", quote_for_shell(&network.name)))
    };
    check.of(&network.name)
}

fn nothing() -> Check {
    Check::problem("network", "there is neither a bridge nor a started network to attach a VM to")
        .todo("ip link add br0 type bridge && ip link set br0 up, or: virsh net-start default")
}
