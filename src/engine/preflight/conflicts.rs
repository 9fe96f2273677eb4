//! Checks that a VM shares no IP address, MAC address or tap name with another domain of the host.

use std::net::IpAddr;

use crate::Context;
use crate::preflight::issues::PreflightReport;
use foundry_core::error::{Code, Error, Issue};
use foundry_core::manifest::VirtualMachine;
use foundry_core::names::{MacAddress, VmName};
use foundry_core::plan::{InterfacePlan, VmPlan, mac_address};
use foundry_core::record::VolumeRef;
use foundry_host::libvirt_xml::{
    DiskDescription, DiskDevice, DiskSource, DomainDescription, InterfaceDescription,
};
use foundry_host::{Domain, Neighbourhood, View};

/// The domains of a host, with the descriptions of those that have no manifest.
#[derive(Debug)]
pub(crate) struct OtherDomains<'a> {
    domains: &'a [Domain],
    foreign: Vec<(&'a str, DomainDescription)>,
}

impl OtherDomains<'_> {
    /// Returns the domain that writes to a volume or names it in its record; such a volume cannot be an image.
    pub(crate) fn find_writer(&self, wanted: Option<&VolumeRef>, path: &str) -> Option<String> {
        let is_recorded = |d: &&Domain| {
            d.own_record().is_some_and(|r| r.all_volumes().any(|v| Some(&v.reference()) == wanted))
        };
        let recorded = self.domains.iter().find(is_recorded).map(|d| d.name.clone());
        let writes = |disk: &DiskDescription| {
            let is_it = match &disk.source {
                DiskSource::Volume { pool, volume } => wanted == Some(&VolumeRef::new(pool, volume)),
                source => source.path() == Some(path),
            };
            is_it && disk.device == DiskDevice::Disk && !disk.readonly
        };
        let foreign = || self.foreign.iter().find(|(_, described)| described.disks.iter().any(writes));
        recorded.or_else(|| foreign().map(|(name, _)| (*name).to_owned()))
    }
}

/// Checks the plan's addresses, MAC addresses and taps against all domains with other names.
pub(crate) fn check_conflicts<'a>(
    context: &Context,
    plan: &VmPlan,
    domains: &'a [Domain],
    report: &mut PreflightReport,
) -> Result<OtherDomains<'a>, Error> {
    report.extend(find_conflicts(plan, domains).into_iter().map(|(_, issue)| issue));
    let others = domains.iter().filter(|d| d.name != plan.name.as_str());
    let mut foreign = Vec::new();
    for domain in others.filter(|d| d.owner().manifest().is_none()) {
        let described = check_foreign(context, plan, domain, report)?;
        foreign.extend(described.map(|described| (domain.name.as_str(), described)));
    }
    Ok(OtherDomains { domains, foreign })
}

/// Returns the other foundry VMs that have one of the plan's IP or MAC addresses.
pub(crate) fn find_conflicts<'a>(plan: &VmPlan, domains: &'a [Domain]) -> Vec<(&'a Domain, Issue)> {
    let mut found = Vec::new();
    for domain in domains.iter().filter(|d| d.name != plan.name.as_str()) {
        let owner = domain.owner();
        let theirs = owner.manifest().map(addresses_of).unwrap_or_default();
        let macs = owner.manifest().map(|vm| macs_of(&domain.name, vm)).unwrap_or_default();
        for (index, interface) in plan.interfaces.iter().enumerate() {
            let at = format!("spec.networkInterfaces[{index}]");
            let shared = shared_addresses(interface, &theirs, &domain.name);
            // A MAC address that is derived from the IP address is reported together with it.
            if macs.contains(&interface.mac) && shared.is_empty() {
                let message = format!("{at}: VM '{}' already has MAC {}", domain.name, interface.mac);
                found.push((domain, Issue::new(Code::MacTaken, message).hint("choose another macAddress")));
            }
            let told = |said| {
                let message = format!("{at}.{said}");
                (domain, Issue::new(Code::AddressTaken, message).hint("choose another address"))
            };
            found.extend(shared.into_iter().map(told));
        }
    }
    found
}

/// Returns a sentence for each address of an interface that another VM has.
fn shared_addresses(interface: &InterfacePlan, theirs: &[IpAddr], vm: &str) -> Vec<String> {
    let ip = interface.ip.map(|net| net.addr()).filter(|ip| theirs.contains(&IpAddr::V4(*ip)));
    let tap = interface.tap.as_deref().unwrap_or("-");
    let first = ip.map(|ip| {
        if interface.mac == MacAddress::from_ipv4(ip) {
            format!(
                "ip: VM '{vm}' already has the address {ip}, and thereby MAC {} and tap {tap}",
                interface.mac
            )
        } else {
            format!("ip: VM '{vm}' already has the address {ip}, and thereby tap {tap}")
        }
    });
    let further = interface.addresses.iter().map(ipnet::IpNet::addr).filter(|a| theirs.contains(a));
    first
        .into_iter()
        .chain(further.map(|a| format!("addresses: VM '{vm}' already has the address {a}")))
        .collect()
}

/// Checks a domain that is not foundry's. A copy of a foundry VM has its MAC address; its IP addresses are unknown.
fn check_foreign(
    context: &Context,
    plan: &VmPlan,
    domain: &Domain,
    report: &mut PreflightReport,
) -> Result<Option<DomainDescription>, Error> {
    let described = match context.host.describe(domain.uuid, View::Current) {
        Err(lost) if lost.outcome_unknown() => return Err(lost.into()),
        described => described,
    };
    // A domain that was deleted since has no conflicts. One that cannot be read must not block every new VM.
    let Ok(Some(described)) = described else { return Ok(None) };
    for (index, interface) in plan.interfaces.iter().enumerate() {
        if let Some((code, what)) =
            described.interfaces.iter().find_map(|theirs| in_common(interface, theirs))
        {
            let at = format!("spec.networkInterfaces[{index}]");
            report.push(
                Issue::new(
                    code,
                    format!("{at}: domain '{}', which foundry did not create, has {what}", domain.name),
                )
                .hint("choose another address, or change that domain"),
            );
        }
    }
    Ok(Some(described))
}

fn in_common(ours: &InterfacePlan, theirs: &InterfaceDescription) -> Option<(Code, String)> {
    let mac = ours.mac.to_string();
    if theirs.mac.as_ref() == Some(&mac) {
        return Some((Code::MacTaken, format!("the same MAC {mac}")));
    }
    let tap = ours.tap.as_ref().filter(|tap| theirs.target.as_ref() == Some(tap))?;
    Some((Code::TapTaken, format!("the same tap {tap}")))
}

/// A VM's MAC addresses, including those that are derived from its name or IP addresses.
pub(crate) fn macs_of(name: &str, manifest: &VirtualMachine) -> Vec<MacAddress> {
    let Ok(name) = VmName::parse_normalized(name) else { return Vec::new() };
    let interfaces = manifest.spec.network_interfaces.iter().enumerate();
    interfaces.filter_map(|(index, interface)| mac_address(&name, index, interface)).collect()
}

/// Returns whether an IP address is known to belong to this host or to a machine with none of these MAC addresses.
pub(crate) fn is_other_machine(around: &Neighbourhood, ip: IpAddr, macs: &[MacAddress]) -> bool {
    let is_own = around.addresses.iter().any(|own| own.net.addr() == ip);
    let mut known = around.neighbours.iter().filter(|n| n.ip == ip && !n.mac.is_empty()).peekable();
    let is_known = known.peek().is_some();
    is_own || is_known && !known.any(|n| macs.iter().any(|mac| mac.to_string() == n.mac))
}

fn addresses_of(manifest: &VirtualMachine) -> Vec<IpAddr> {
    let written = manifest.spec.network_interfaces.iter().flat_map(|i| i.ip.iter().chain(&i.addresses));
    written.filter_map(|text| text.split('/').next()?.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use foundry_host::{LinkAddress, Neighbour};

    #[test]
    fn an_address_is_anothers_by_its_mac_address_or_as_the_hosts_own() {
        let neighbour =
            |ip: &str, mac: &str| Neighbour { link: "br0".into(), ip: ip.parse().unwrap(), mac: mac.into() };
        let around = Neighbourhood {
            addresses: vec![LinkAddress { link: "br0".into(), net: "10.0.0.254/24".parse().unwrap() }],
            routes: Vec::new(),
            neighbours: vec![
                neighbour("10.0.0.1", "be:ef:0a:00:00:01"),
                neighbour("10.0.0.2", "52:54:00:00:00:02"),
                neighbour("10.0.0.3", ""),
            ],
        };
        let macs = ["be:ef:0a:00:00:01".parse().unwrap(), "be:ef:0a:00:00:02".parse().unwrap()];
        for (ip, expected) in [
            ("10.0.0.1", false),
            ("10.0.0.2", true),
            ("10.0.0.3", false),
            ("10.0.0.4", false),
            ("10.0.0.254", true),
        ] {
            assert_eq!(is_other_machine(&around, ip.parse().unwrap(), &macs), expected, "{ip}");
        }
    }
}
