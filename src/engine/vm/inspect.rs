//! The VMs of a host, as manifests with a status.

use std::collections::BTreeMap;

use foundry_core::error::{Advice, Error};
use foundry_core::manifest::{
    API_VERSION, Condition, KIND, Metadata, Number, Phase, Spec, Status, VirtualMachine, VmAddress,
};
use foundry_core::record::{Liveness, Owner, Record, Repave, RepaveStage, split_secrets};
use foundry_core::units::{Bytes, GIB};
use foundry_host::local::check_liveness;
use foundry_host::{AddressSource, Domain, DomainState};

use super::lookup::{find_vm_to_show, vm_not_found};
pub use super::phase::REPAVING;
use super::phase::{finish_advice, judge_phase, repaving_condition, unreadable_condition};
use super::repave;
use crate::Context;

/// One VM, created by foundry or not.
#[derive(Debug, Clone, PartialEq)]
pub struct VmView {
    /// The domain as libvirt listed it.
    pub domain: Domain,
    /// Who created it, as its metadata says.
    pub owner: Owner,
    /// The manifest, completed with the current status.
    pub vm: VirtualMachine,
    /// How to finish an interrupted creation or destroy.
    pub advice: Option<Advice>,
    /// How to end a repave, if it has the condition [`REPAVING`].
    pub repave_advice: Option<Advice>,
}

impl VmView {
    /// The record, if foundry created the VM.
    pub fn record(&self) -> Option<&Record> {
        match &self.owner {
            Owner::Foundry(record) => Some(record),
            _ => None,
        }
    }

    /// Whether foundry manages it, as a word: `yes`, `no`, or `unreadable` if its record cannot be read.
    pub fn managed_word(&self) -> &'static str {
        match self.owner {
            Owner::Foundry(_) | Owner::FirstFoundry(_) => "yes",
            Owner::Foreign => "no",
            Owner::Unreadable(_) | Owner::Newer(_) => "unreadable",
        }
    }

    /// When its creation began, RFC 3339.
    pub fn created_at(&self) -> Option<&str> {
        self.record().map(|record| record.created_at.as_str())
    }
}

/// Lists the VMs of a host, sorted by name; `all` includes stopped ones.
///
/// # Errors
/// A failed call to the host.
pub fn list_vms(context: &Context, all: bool) -> Result<Vec<VmView>, Error> {
    let mut domains = context.host.domains(!all)?;
    if !all {
        domains.retain(|d| d.state != DomainState::ShutOff);
    }
    domains.sort_by(|a, b| a.name.cmp(&b.name));
    domains.into_iter().map(|domain| view_vm(context, domain, false)).collect()
}

/// Finds one VM by its name.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if there is none.
pub fn get_vm(context: &Context, name: &str) -> Result<VmView, Error> {
    match find_vm_to_show(context, name)? {
        Some(domain) => view_vm(context, domain, true),
        None => Err(vm_not_found(context, name)?),
    }
}

/// Builds the view of a domain. With `closely`, the guest's addresses are queried even if the manifest has some.
pub(super) fn view_vm(context: &Context, domain: Domain, closely: bool) -> Result<VmView, Error> {
    let owner = domain.owner();
    // The first foundry kept secrets in its record; they are shown only on request.
    let (mut vm, secrets) = match &owner {
        Owner::Foundry(record) => (record.manifest.clone(), record.secrets.clone()),
        Owner::FirstFoundry(manifest) => split_secrets(manifest),
        Owner::Foreign | Owner::Unreadable(_) | Owner::Newer(_) => {
            (manifest_of_foreign(&domain), BTreeMap::new())
        }
    };
    let addresses = list_addresses(context, &domain, &vm, closely)?;
    vm.api_version = API_VERSION.into();
    vm.kind = KIND.into();
    vm.metadata.name = Some(domain.name.clone());
    vm.metadata.uid = Some(domain.uuid.to_string());
    if let Owner::Foundry(record) = &owner {
        vm.metadata.creation_timestamp = Some(record.created_at.clone());
        vm.metadata.generation = Some(record.generation);
    }
    let status = status_of(&domain, &owner, addresses, secrets.into_keys().collect());
    let advice = finish_advice(&domain, status.phase);
    vm.status = Some(status);
    let repave = if let Owner::Foundry(record) = &owner { record.repave.as_ref() } else { None };
    let is_idle =
        |note: &&Repave| note.stage == RepaveStage::Kept || check_liveness(&note.maker) == Liveness::Dead;
    let repave_advice = repave.filter(is_idle).map(|note| repave::next_advice(&domain, note.stage));
    Ok(VmView { domain, owner, vm, advice, repave_advice })
}

/// A manifest with what libvirt knows about a domain that foundry did not create.
fn manifest_of_foreign(domain: &Domain) -> VirtualMachine {
    VirtualMachine {
        metadata: Metadata { name: Some(domain.name.clone()), ..Metadata::default() },
        spec: Spec {
            vcpus: Some(Number::Whole(i64::from(domain.vcpus))),
            memory_gib: Some(gib_number(domain.memory)),
            autostart: Some(domain.autostart),
            ..Spec::default()
        },
        ..VirtualMachine::default()
    }
}

/// Memory as a number of GiB, as manifests write it.
fn gib_number(memory: Bytes) -> Number {
    #[allow(clippy::cast_precision_loss, reason = "memory in GiB, for people")]
    let gib = memory.0 as f64 / GIB as f64;
    let whole = memory.0.is_multiple_of(GIB).then(|| i64::try_from(memory.0 / GIB).ok()).flatten();
    whole.map_or(Number::Real(gib), Number::Whole)
}

/// The addresses in the manifest; if it has none, those from the first source that knows any.
pub(crate) fn list_addresses(
    context: &Context,
    domain: &Domain,
    vm: &VirtualMachine,
    closely: bool,
) -> Result<Vec<VmAddress>, Error> {
    let plain = |text: &String| text.split('/').next().unwrap_or_default().to_owned();
    let interfaces = &vm.spec.network_interfaces;
    let mut found: Vec<VmAddress> = interfaces
        .iter()
        .flat_map(|i| i.ip.iter().chain(&i.addresses))
        .map(|ip| VmAddress { address: plain(ip), source: "manifest".into() })
        .collect();
    if domain.state == DomainState::Running && (found.is_empty() || closely) {
        for address in guest_addresses(context, domain)? {
            if !found.iter().any(|known| known.address == address.address) {
                found.push(address);
            }
        }
    }
    Ok(found)
}

/// A running guest's addresses, from the first source that knows any: DHCP leases, guest agent, ARP table.
pub(crate) fn guest_addresses(context: &Context, domain: &Domain) -> Result<Vec<VmAddress>, Error> {
    let sources =
        [(AddressSource::Lease, "lease"), (AddressSource::Agent, "agent"), (AddressSource::Arp, "arp")];
    for (source, name) in sources {
        let list = context.host.addresses(domain.uuid, source)?;
        // The agent also reports loopback and link-local addresses, which cannot be used to reach the guest.
        let useful = list.into_iter().map(|a| a.ip).filter(|ip| !ip.is_loopback() && !is_link_local(*ip));
        let found: Vec<VmAddress> =
            useful.map(|ip| VmAddress { address: ip.to_string(), source: name.into() }).collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

fn is_link_local(ip: std::net::IpAddr) -> bool {
    match ip {
        std::net::IpAddr::V4(v4) => v4.is_link_local(),
        std::net::IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn status_of(
    domain: &Domain,
    owner: &Owner,
    addresses: Vec<VmAddress>,
    secrets_left_out: Vec<String>,
) -> Status {
    let (phase, reason, message) = judge_phase(domain, owner);
    let record = if let Owner::Foundry(record) = owner { Some(record) } else { None };
    let ready = Condition {
        kind: "Ready".into(),
        status: match phase {
            Phase::Running => "True",
            Phase::Unknown => "Unknown",
            _ => "False",
        }
        .into(),
        last_transition_time: record.map(|r| r.changed_at.clone()),
        reason: reason.into(),
        message,
    };
    Status {
        phase,
        state: domain.state.to_string(),
        vcpus: domain.vcpus,
        memory_gib: gib_number(domain.memory),
        autostart: domain.autostart,
        conditions: [Some(ready), unreadable_condition(owner), record.and_then(|r| repaving_condition(r))]
            .into_iter()
            .flatten()
            .collect(),
        addresses,
        snapshots: Vec::new(),
        observed_generation: record.map_or(0, |r| r.generation),
        managed: !matches!(owner, Owner::Foreign),
        secrets_left_out,
    }
}
