//! The VMs of a host, as manifests with a status.

use std::collections::BTreeMap;

use foundry_core::cloud_init::{self, SeedFiles};
use foundry_core::error::{Advice, Code, Error};
use foundry_core::manifest::{
    API_VERSION, Condition, KIND, Metadata, Number, Phase, Spec, Status, VirtualMachine, VmAddress,
};
use foundry_core::record::{
    Liveness, Owner, Record, RecordState, Repave, RepaveStage, VolumeRole, is_recorded, split_secrets,
};
use foundry_core::units::{Bytes, GIB};
use foundry_host::local::check_liveness;
use foundry_host::{AddressSource, Domain, DomainState, StateReason};

use super::lookup::{find_vm_to_show, vm_not_found};
use super::repave;
use crate::Context;
use crate::advice::{destroy_command, interrupted_creation};

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

/// The condition of a VM that has its previous boot disk beside the present one.
pub const REPAVING: &str = "Repaving";

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
fn view_vm(context: &Context, domain: Domain, closely: bool) -> Result<VmView, Error> {
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

/// The condition for a record that this foundry cannot read. Such a VM was created by foundry; nothing else is known.
fn unreadable_condition(owner: &Owner) -> Option<Condition> {
    let reason = match owner {
        Owner::Unreadable(reason) => reason.clone(),
        Owner::Newer(version) => format!("a newer foundry wrote it, in version {version}"),
        Owner::Foundry(_) | Owner::FirstFoundry(_) | Owner::Foreign => return None,
    };
    Some(Condition {
        kind: "Recorded".into(),
        status: "False".into(),
        last_transition_time: None,
        reason: "RecordUnreadable".into(),
        message: format!("foundry's record of it cannot be read: {reason}"),
    })
}

/// The condition of a VM whose repave has not ended.
fn repaving_condition(record: &Record) -> Option<Condition> {
    let note = record.repave.as_ref()?;
    let (reason, message) = match (note.stage, check_liveness(&note.maker)) {
        (RepaveStage::Kept, _) => (
            "PreviousBootDiskKept",
            format!("the boot disk from before the repave of {} is kept", note.since),
        ),
        (_, Liveness::Dead) => ("RepaveInterrupted", "a repave was interrupted".to_owned()),
        (_, Liveness::Alive) => ("RepaveRunning", format!("process {} repaves it", note.maker.pid)),
        (_, Liveness::Elsewhere) => ("RepaveRunningElsewhere", "another machine repaves it".to_owned()),
    };
    Some(Condition {
        kind: REPAVING.into(),
        status: "True".into(),
        last_transition_time: Some(record.changed_at.clone()),
        reason: reason.into(),
        message,
    })
}

/// Returns the phase, its reason as a word for programs, and a sentence for people.
fn judge_phase(domain: &Domain, owner: &Owner) -> (Phase, &'static str, String) {
    if let Owner::Foundry(record) = owner {
        if record.state == RecordState::Creating {
            return judge_creating(&check_liveness(&record.maker), record.maker.pid);
        }
        if record.state == RecordState::Destroying {
            return (Phase::Destroying, "VMDestroying", "its destruction has begun".into());
        }
    }
    let word = domain.shell_name();
    let why = domain.why.to_sentence(domain.state);
    if domain.state == DomainState::Paused && domain.stopped_by_error() {
        let message = format!("VM is paused by an error: {}", why.unwrap_or_default());
        return (Phase::Failed, "VMStoppedByError", message);
    }
    match domain.state {
        DomainState::Running | DomainState::Blocked => {
            (Phase::Running, "VMRunning", "VM is running successfully".into())
        }
        DomainState::Crashed => (Phase::Failed, "VMCrashed", "the guest crashed".into()),
        DomainState::ShutOff if domain.saved => {
            let message = format!(
                "VM is off with its memory saved; virsh start {word} resumes it, \
                 virsh managedsave-remove {word} discards it"
            );
            (Phase::Saved, "VMSaved", message)
        }
        DomainState::ShutOff => {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let message = format!("VM is off{why}; virsh start {word} starts it");
            match domain.why {
                StateReason::Crashed => (Phase::Failed, "VMCrashed", message),
                StateReason::NotStarted => (Phase::Failed, "VMNotStarted", message),
                _ => (Phase::Stopped, "VMShutOff", message),
            }
        }
        DomainState::Paused => {
            let why = why.unwrap_or("it is paused");
            let hint = match domain.why {
                StateReason::ByUser | StateReason::FromSnapshot => {
                    format!("; virsh resume {word} continues it")
                }
                _ => String::new(),
            };
            (Phase::Stopped, "VMPaused", format!("{why}{hint}"))
        }
        DomainState::Unknown(number) => (
            Phase::Unknown,
            "VMStateUnknown",
            format!("libvirt reports state {number}, which this foundry does not know"),
        ),
        other => (Phase::Stopped, "VMNotRunning", format!("VM is {other}")),
    }
}

/// The command that finishes a VM which an interrupted command left in this phase.
fn finish_advice(domain: &Domain, phase: Phase) -> Option<Advice> {
    match phase {
        Phase::Destroying => Some(Advice::from(destroy_command(domain, false)).text(" finishes it")),
        Phase::Pending => Some(interrupted_creation(domain)),
        _ => None,
    }
}

fn judge_creating(liveness: &Liveness, pid: u32) -> (Phase, &'static str, String) {
    match liveness {
        Liveness::Alive => (Phase::Creating, "VMCreating", format!("process {pid} is creating it")),
        Liveness::Dead => (Phase::Pending, "CreationInterrupted", "its creation was interrupted".into()),
        Liveness::Elsewhere => {
            (Phase::Creating, "VMCreatingElsewhere", "another machine is creating it".into())
        }
    }
}

/// Reads the secrets of a VM from its seed volume, the only place on the host that has them, into the manifest. A
/// secret that is missing there, or differs from the recorded digest, stays in the list of omitted secrets.
///
/// # Errors
/// If the seed is gone or cannot be read.
pub fn add_secrets(context: &Context, seen: &mut VmView) -> Result<(), Error> {
    let mut missing = Vec::new();
    if let Owner::FirstFoundry(manifest) = &seen.owner {
        seen.vm.spec = manifest.spec.clone();
    } else if let Some(record) = seen.record().cloned().filter(|r| !r.secrets.is_empty()) {
        missing = add_from_seed(context, seen, &record)?;
    }
    if let Some(status) = &mut seen.vm.status {
        status.secrets_left_out = missing;
    }
    Ok(())
}

/// Fills in the secrets from the seed. Returns the paths of those that could not be restored.
fn add_from_seed(context: &Context, seen: &mut VmView, record: &Record) -> Result<Vec<String>, Error> {
    let SeedFiles { user_data, network_config, meta_data, .. } =
        read_seed(context, record, &seen.domain.name)?;
    let cloud_init = seen.vm.spec.cloud_init.get_or_insert_default();
    let salt = cloud_init::read_salt(&meta_data);
    let mut missing = Vec::new();
    for (path, recorded) in &record.secrets {
        let same = |found: &String| is_recorded(found, recorded, salt.as_ref());
        let place = match path.as_str() {
            "spec.cloudInit.passwordHash" => {
                // The user's own user-data may have another hash, or none.
                cloud_init.password_hash =
                    cloud_init::read_seed_secrets(&user_data).password_hash.filter(same);
                &cloud_init.password_hash
            }
            "spec.cloudInit.userData" => {
                // This is the merged document. Merging it with the generated one again does not change it.
                cloud_init.user_data = Some(user_data.clone());
                &cloud_init.user_data
            }
            "spec.cloudInit.rawUserData" => {
                cloud_init.raw_user_data = Some(user_data.clone()).filter(same);
                &cloud_init.raw_user_data
            }
            "spec.cloudInit.networkConfig" => {
                cloud_init.network_config = Some(network_config.clone()).filter(same);
                &cloud_init.network_config
            }
            _ => &None,
        };
        missing.extend(place.is_none().then(|| path.clone()));
    }
    Ok(missing)
}

pub(crate) fn read_seed(context: &Context, record: &Record, name: &str) -> Result<SeedFiles, Error> {
    let failed = |cause: String| {
        Error::new(Code::SeedUnreadable, format!("the seed of VM '{name}' cannot be read")).because(cause)
    };
    let seed = record
        .volumes
        .iter()
        .find(|v| v.role == VolumeRole::Seed)
        .ok_or_else(|| failed("it was ejected".into()))?;
    let volume = context
        .host
        .volume(&seed.reference())?
        .ok_or_else(|| failed(format!("{} is gone", seed.reference())))?;
    // A block device may be larger than what was written to it.
    let is_device = volume.path.starts_with("/dev/");
    let size = if is_device { volume.capacity.min(seed.capacity) } else { volume.capacity };
    if size > LARGEST_SEED {
        return Err(failed(format!("it has {size}, more than a seed can have")));
    }
    let mut bytes = Vec::new();
    context.host.download(&seed.reference(), &mut bytes, size.0)?;
    cloud_init::read_iso(&bytes).map_err(|e| failed(e.to_string()))
}

/// The size limit for a seed. It contains the text of a manifest (at most 1 MiB) a few times.
const LARGEST_SEED: Bytes = Bytes(16 << 20);
