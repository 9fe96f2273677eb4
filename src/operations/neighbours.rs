//! What a VM must not have in common with any other domain of the host.

use std::net::IpAddr;

use super::Session;
use super::preflight::Finding;
use super::usage::describe;
use crate::error::Error;
use crate::host::libvirt_xml::InterfaceDescription;
use crate::host::{Domain, View};
use crate::manifest::VirtualMachine;
use crate::plan::{Interface, VmPlan};
use crate::record::Owner;

/// Looks for MAC, tap and addresses among the domains of other names.
pub(super) fn check(
    session: &Session<'_>,
    plan: &VmPlan,
    domains: &[Domain],
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let others = domains.iter().filter(|d| d.name != plan.name.as_str());
    let (known, strangers): (Vec<&Domain>, Vec<&Domain>) =
        others.partition(|d| Owner::of_domain(d).manifest().is_some());
    check_known(plan, &known, findings);
    strangers.into_iter().try_for_each(|domain| check_stranger(session, plan, domain, findings))
}

/// MAC, tap and addresses must not be those of another VM of foundry's.
fn check_known(plan: &VmPlan, domains: &[&Domain], findings: &mut Vec<Finding>) {
    for domain in domains {
        let owner = Owner::of_domain(domain);
        let theirs = owner.manifest().map(addresses_of).unwrap_or_default();
        for (index, interface) in plan.interfaces.iter().enumerate() {
            let at = format!("spec.networkInterfaces[{index}]");
            if let Some(ip) =
                interface.ip.map(|net| net.addr()).filter(|ip| theirs.contains(&IpAddr::V4(*ip)))
            {
                let tap = interface.tap.as_deref().unwrap_or("-");
                findings.push(Finding::vm(format!(
                    "{at}.ip: VM '{}' has the address {ip}, and with it MAC {} and tap {tap}",
                    domain.name, interface.mac
                )));
            }
            for address in interface.addresses.iter().map(ipnet::IpNet::addr).filter(|a| theirs.contains(a)) {
                findings.push(Finding::vm(format!(
                    "{at}.addresses: VM '{}' has the address {address}",
                    domain.name
                )));
            }
        }
    }
}

/// What was copied from a VM of foundry's without its record has the MAC address. Its IP addresses nobody knows.
fn check_stranger(
    session: &Session<'_>,
    plan: &VmPlan,
    domain: &Domain,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    // One that vanished since has nothing.
    let Some(described) = describe(session, domain, View::Current)? else { return Ok(()) };
    for (index, interface) in plan.interfaces.iter().enumerate() {
        if let Some(what) = described.interfaces.iter().find_map(|theirs| in_common(interface, theirs)) {
            let at = format!("spec.networkInterfaces[{index}]");
            findings.push(
                Finding::vm(format!("{at}: domain '{}', which is not foundry's, has {what}", domain.name))
                    .hint("choose another address, or change that domain"),
            );
        }
    }
    Ok(())
}

fn in_common(ours: &Interface, theirs: &InterfaceDescription) -> Option<String> {
    let mac = ours.mac.to_string();
    if theirs.mac.as_ref() == Some(&mac) {
        return Some(format!("the MAC {mac} too"));
    }
    let tap = ours.tap.as_ref().filter(|tap| theirs.target.as_ref() == Some(tap))?;
    Some(format!("the tap {tap} too"))
}

fn addresses_of(manifest: &VirtualMachine) -> Vec<IpAddr> {
    let written = manifest.spec.network_interfaces.iter().flat_map(|i| i.ip.iter().chain(&i.addresses));
    written.filter_map(|text| text.split('/').next()?.trim().parse().ok()).collect()
}
