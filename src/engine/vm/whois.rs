//! Finds the VM that has an address, a MAC address, a tap or a volume, and why it is that VM's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Serialize;

use super::inspect::guest_addresses;
use crate::Context;
use crate::preflight::conflicts::macs_of;
use crate::storage::usage::Usage;
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::manifest::VirtualMachine;
use foundry_core::names::MacAddress;
use foundry_core::record::{Owner, Record, VolumeRef, VolumeRole};
use foundry_host::libvirt_xml::{DiskSource, DomainDescription, InterfaceDescription};
use foundry_host::{Domain, View};

/// A VM that has what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhoisMatch {
    /// The name of the domain.
    pub vm: String,
    /// Its UUID.
    pub uuid: String,
    /// Whether foundry created it.
    pub managed: bool,
    /// Its state, as 'foundry list' shows it.
    pub state: String,
    /// How the VM is known to have it, each in a few words.
    pub reasons: Vec<String>,
}

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Address(IpAddr),
    Mac([u8; 6]),
    /// The name of a tap, a volume or a file.
    Name(String),
}

impl Wanted {
    fn parse(text: &str) -> Self {
        let address =
            text.parse::<IpAddr>().ok().or_else(|| text.parse::<IpNet>().ok().map(|net| net.addr()));
        match (address, mac_octets(text)) {
            (Some(address), _) => Self::Address(address),
            (None, Some(mac)) => Self::Mac(mac),
            (None, None) => Self::Name(text.to_owned()),
        }
    }
}

fn mac_octets(text: &str) -> Option<[u8; 6]> {
    let is_hex = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let octet = |part: &str| is_hex(part).then(|| u8::from_str_radix(part, 16).ok()).flatten();
    let octets: Option<Vec<u8>> = text.split([':', '-']).map(octet).collect();
    octets?.try_into().ok()
}

/// A domain with its definitions.
struct Candidate {
    domain: Domain,
    owner: Owner,
    /// The running definition, and the one of its next start.
    views: Vec<DomainDescription>,
    reasons: Vec<String>,
}

impl Candidate {
    fn read(context: &Context, domain: Domain) -> Result<Self, Error> {
        let mut views = Vec::new();
        let wanted = [(View::Current, domain.state.is_active()), (View::Config, domain.persistent)];
        for (view, _) in wanted.into_iter().filter(|(_, is_wanted)| *is_wanted) {
            match context.host.describe(domain.uuid, view) {
                Ok(described) => views.extend(described),
                Err(lost) if lost.outcome_unknown() => return Err(lost.into()),
                // One domain that cannot be read must not hide the others.
                Err(unreadable) => context.warn(format!("domain '{}' is skipped: {unreadable}", domain.name)),
            }
        }
        let owner = domain.owner();
        Ok(Self { domain, owner, views, reasons: Vec::new() })
    }

    fn manifest(&self) -> Option<&VirtualMachine> {
        self.owner.manifest()
    }

    fn record(&self) -> Option<&Record> {
        match &self.owner {
            Owner::Foundry(record) => Some(record),
            _ => None,
        }
    }

    fn add(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// Its interfaces, each with its number from 1.
    fn interfaces(&self) -> impl Iterator<Item = (usize, &InterfaceDescription)> {
        self.views.iter().flat_map(|view| view.interfaces.iter().enumerate().map(|(i, one)| (i + 1, one)))
    }

    fn has_mac(&self, mac: &str) -> bool {
        let written = self.manifest().map(|vm| macs_of(&self.domain.name, vm)).unwrap_or_default();
        self.interfaces().any(|(_, one)| one.mac.as_deref() == Some(mac))
            || written.iter().any(|one| one.to_string() == mac)
    }

    fn into_match(self) -> WhoisMatch {
        WhoisMatch {
            vm: self.domain.name,
            uuid: self.domain.uuid.to_string(),
            managed: !matches!(self.owner, Owner::Foreign),
            state: self.domain.state.to_string(),
            reasons: self.reasons,
        }
    }
}

/// Finds the VMs, made by foundry or not, that have an IP address, a MAC address, a tap or a volume; sorted by name. A
/// volume is `POOL/NAME`, its name alone, or its path.
///
/// # Errors
/// [`Code::VmMissing`] if no VM has it.
pub fn find_whois(context: &Context, text: &str) -> Result<Vec<WhoisMatch>, Error> {
    let domains = context.host.domains(false)?;
    let mut candidates =
        domains.into_iter().map(|domain| Candidate::read(context, domain)).collect::<Result<Vec<_>, _>>()?;
    candidates.sort_by(|a, b| a.domain.name.cmp(&b.domain.name));
    let not_a_vm = match Wanted::parse(text) {
        Wanted::Address(ip) => find_address(context, &mut candidates, ip)?,
        Wanted::Mac(octets) => {
            find_mac(&mut candidates, octets);
            None
        }
        Wanted::Name(name) => {
            find_tap(&mut candidates, &name);
            find_volume(context, &mut candidates, &name)?;
            None
        }
    };
    let found: Vec<_> = candidates.into_iter().filter(|c| !c.reasons.is_empty()).collect();
    if found.is_empty() {
        let error = Error::new(Code::VmMissing, format!("no VM has '{text}'"));
        let error = match not_a_vm {
            Some(why) => error.because(why),
            None => error.because("no record, definition, lease or neighbour of this host names it"),
        };
        return Err(error.hint(Advice::from(Verb::ListAll).text(" shows all VMs")));
    }
    Ok(found.into_iter().map(Candidate::into_match).collect())
}

/// Adds the reasons for an address. If it is no VM's, returns whose it is, if that is known.
fn find_address(
    context: &Context,
    candidates: &mut [Candidate],
    ip: IpAddr,
) -> Result<Option<String>, Error> {
    for candidate in candidates.iter_mut() {
        let has_it = |text: &String| text.split('/').next().is_some_and(|a| a.trim().parse() == Ok(ip));
        let interfaces = candidate.manifest().into_iter().flat_map(|vm| &vm.spec.network_interfaces);
        if interfaces.flat_map(|i| i.ip.iter().chain(&i.addresses)).any(has_it) {
            candidate.add("fixed address in its manifest");
        }
        if candidate.domain.state.is_active() {
            let of_source = |a: &foundry_core::manifest::VmAddress| a.address.parse() == Ok(ip);
            let found = guest_addresses(context, &candidate.domain)?.into_iter().find(of_source);
            if let Some(address) = found {
                candidate.add(source_text(&address.source));
            }
        }
    }
    let Some(around) = context.host.neighbourhood(&[ip])? else { return Ok(None) };
    let macs: Vec<&str> = around
        .neighbours
        .iter()
        .filter(|n| n.ip == ip && !n.mac.is_empty())
        .map(|n| n.mac.as_str())
        .collect();
    for mac in &macs {
        for candidate in candidates.iter_mut().filter(|c| c.has_mac(mac)) {
            candidate.add(format!("its MAC {mac} answers at that address"));
        }
    }
    let own = around.addresses.iter().find(|own| own.net.addr() == ip);
    let own = own.map(|own| format!("it is the host's own, on {}", own.link));
    Ok(own.or_else(|| macs.first().map(|mac| format!("a machine with MAC {mac} has it, which is no VM's"))))
}

fn source_text(source: &str) -> String {
    match source {
        "lease" => "DHCP lease".into(),
        "agent" => "its guest agent reports it".into(),
        "arp" => "the host's ARP table".into(),
        other => other.into(),
    }
}

/// libvirt gives the host's end of a tap the guest's MAC address with `fe` in the first octet.
fn find_mac(candidates: &mut [Candidate], octets: [u8; 6]) {
    let text = |octets: &[u8; 6]| octets.map(|octet| format!("{octet:02x}")).join(":");
    let (whole, is_host_end) = (text(&octets), octets[0] == 0xfe);
    let tail = &whole[2..];
    for candidate in candidates {
        let mut found: Vec<String> = Vec::new();
        for (number, interface) in candidate.interfaces() {
            let Some(mac) = interface.mac.as_deref() else { continue };
            if mac == whole {
                found.push(format!("MAC of its interface {number}{}", attachment(interface)));
            } else if is_host_end && mac.get(2..) == Some(tail) {
                found.push(format!("the host's end of the tap of its interface {number} (MAC {mac})"));
            }
        }
        if found.is_empty() {
            let written = candidate.manifest().map(|vm| macs_of(&candidate.domain.name, vm));
            let is_it = |mac: &MacAddress| mac.to_string() == whole;
            found.extend(written.unwrap_or_default().iter().any(is_it).then(|| "MAC by its manifest".into()));
        }
        found.into_iter().for_each(|reason| candidate.add(reason));
    }
}

fn find_tap(candidates: &mut [Candidate], name: &str) {
    for candidate in candidates {
        let found: Vec<String> = candidate
            .interfaces()
            .filter(|(_, interface)| interface.target.as_deref() == Some(name))
            .map(|(number, interface)| format!("tap of its interface {number}{}", attachment(interface)))
            .collect();
        found.into_iter().for_each(|reason| candidate.add(reason));
    }
}

/// What an interface is attached to, as the end of a sentence.
fn attachment(interface: &InterfaceDescription) -> String {
    match &interface.source {
        Some(source) => format!(", on {} '{source}'", interface.kind),
        None => String::new(),
    }
}

fn find_volume(context: &Context, candidates: &mut [Candidate], name: &str) -> Result<(), Error> {
    let reference = name.split_once('/').filter(|(pool, _)| !pool.is_empty());
    let reference = reference.map(|(pool, volume)| VolumeRef::new(pool, volume));
    let volume = match &reference {
        Some(reference) => context.host.volume(reference)?,
        None if name.starts_with('/') => context.host.volume_at(name)?,
        None => None,
    };
    let wanted = WantedVolume {
        reference: reference.or_else(|| volume.as_ref().map(foundry_host::Volume::reference)),
        path: volume.as_ref().map(|v| v.path.clone()).or_else(|| name.starts_with('/').then(|| name.into())),
        name: (!name.contains('/')).then_some(name),
    };
    for candidate in candidates.iter_mut() {
        let found = wanted.reasons(candidate);
        found.into_iter().for_each(|reason| candidate.add(reason));
    }
    if let Some(volume) = volume {
        // Backing files of VMs that are off, snapshots, and whatever else names a path.
        let users = Usage::collect(context, None)?.users_of(&volume.reference(), &volume.path);
        for candidate in candidates.iter_mut().filter(|c| users.vms.contains(&c.domain.name)) {
            if candidate.reasons.is_empty() {
                candidate.add("it uses it, as a backing file or in a snapshot");
            }
        }
    }
    Ok(())
}

/// A volume, as far as it is known.
struct WantedVolume<'a> {
    reference: Option<VolumeRef>,
    path: Option<String>,
    name: Option<&'a str>,
}

impl WantedVolume<'_> {
    fn reasons(&self, candidate: &Candidate) -> Vec<String> {
        // By words of a disk, each once.
        let mut found: BTreeMap<String, ()> = BTreeMap::new();
        for disk in candidate.views.iter().flat_map(|view| &view.disks) {
            let is_it = match &disk.source {
                DiskSource::Volume { pool, volume } => self.is_volume(pool, volume),
                source => source.path().is_some_and(|path| self.is_path(path)),
            };
            if is_it {
                found.insert(format!("its disk {}", disk.target), ());
            } else if disk.backing_chain.iter().any(|path| self.is_path(path)) {
                found.insert(format!("backing file of its disk {}", disk.target), ());
            }
        }
        for recorded in candidate.record().iter().flat_map(|record| record.all_volumes()) {
            let target = recorded.disk_target().unwrap_or_else(|| "-".into());
            if self.is_volume(&recorded.pool, &recorded.name) || self.is_path(&recorded.path) {
                let what = if recorded.role == VolumeRole::Seed { "its seed" } else { "made for its disk" };
                found.insert(format!("{what} {target}, by its record"), ());
            } else if recorded.backing.as_deref().is_some_and(|path| self.is_path(path)) {
                found.insert(format!("backing file of its disk {target}"), ());
            }
        }
        found.into_keys().collect()
    }

    fn is_volume(&self, pool: &str, name: &str) -> bool {
        self.reference.as_ref().is_some_and(|r| r.pool == pool && r.name == name) || self.name == Some(name)
    }

    fn is_path(&self, path: &str) -> bool {
        let file = || Path::new(path).file_name().and_then(|name| name.to_str());
        self.path.as_deref() == Some(path) || self.name.is_some_and(|name| file() == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_an_address_a_mac_or_a_name() {
        let ip = |text: &str| Wanted::Address(text.parse().unwrap());
        for (text, wanted) in [
            ("10.0.0.1", ip("10.0.0.1")),
            ("10.0.0.1/24", ip("10.0.0.1")),
            ("2001:db8::1", ip("2001:db8::1")),
            ("BE:EF:0a:00:00:01", Wanted::Mac([0xbe, 0xef, 10, 0, 0, 1])),
            ("be-ef-0a-00-00-01", Wanted::Mac([0xbe, 0xef, 10, 0, 0, 1])),
            ("vm0a000001", Wanted::Name("vm0a000001".into())),
            ("foundry-vms/web_boot", Wanted::Name("foundry-vms/web_boot".into())),
            ("+1:00:00:00:00:00", Wanted::Name("+1:00:00:00:00:00".into())),
        ] {
            assert_eq!(Wanted::parse(text), wanted, "{text}");
        }
    }
}
