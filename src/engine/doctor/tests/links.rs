//! Bridges and networks.

use super::*;

#[test]
fn bridge_without_traffic_is_found() {
    let link = |act: fn(&mut LinkFacts)| local_but(|l| act(l.links.get_mut("br0").unwrap()));
    let down = link(|l| l.is_up = false);
    assert_only(&down, "bridge br0", CheckState::Warning, &["is down", "ip link set br0 up"]);
    let alone = link(|l| (l.has_address, l.uplinks) = (false, vec![]));
    assert_only(
        &alone,
        "bridge br0",
        CheckState::Warning,
        &["only each other", "ip address add ADDRESS/PREFIX dev br0"],
    );
    let filtered = local_but(|l| l.bridges_are_filtered = true);
    assert_only(
        &filtered,
        "bridge-filter",
        CheckState::Warning,
        &["iptables -I DOCKER-USER -i BRIDGE -o BRIDGE -j ACCEPT"],
    );
}

#[test]
fn link_used_by_vm_must_work() {
    let on = |bridge: &str, vlan| healthy_but(|f| f.domains = Ok(vec![vm(bridge, vlan)]));
    assert_eq!(findings(&on("br0", false)), []);
    assert_only(
        &on("br0", true),
        "bridge br0",
        CheckState::Problem,
        &["VM 'web'", "ip link add NAME type bridge vlan_filtering 1"],
    );
    assert_only(
        &on("br7", false),
        "bridge br7",
        CheckState::Problem,
        &["VM 'web'", "ip link add br7 type bridge"],
    );
    let mut down = on("br0", false);
    down.local.as_mut().unwrap().links.get_mut("br0").unwrap().is_up = false;
    assert_only(&down, "bridge br0", CheckState::Problem, &["VM 'web' is attached to it"]);
}

#[test]
fn no_link_to_attach_to_is_found() {
    let no_bridge = healthy_but(|f| f.bridges = Ok(Some(vec![])));
    assert_eq!(findings(&no_bridge), [], "there is the network");
    let mut nothing = no_bridge;
    nothing.networks = Ok(vec![]);
    assert_only(&nothing, "network", CheckState::Problem, &["neither"]);
    let stopped = healthy_but(|f| f.networks.as_mut().unwrap()[0].active = false);
    assert_only(&stopped, "network default", CheckState::Warning, &["virsh net-start default"]);
}
