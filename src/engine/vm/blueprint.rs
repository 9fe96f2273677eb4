//! Decides everything about a new VM before the first change: identity, XML, seed, record.

use uuid::Uuid;

use super::console;
use crate::Context;
use crate::gc::nvram::ENDS;
use crate::preflight::ReadyVm;
use crate::preflight::storage::{BackingFile, ReadyStorage};
use crate::storage::backend::PoolBackend;
use foundry_core::cloud_init::{self, HostKeyChoice, HostKeyPair};
use foundry_core::domain_xml::{self, DiskLocation, Placement};
use foundry_core::error::{Advice, Error, Kind, Outcome, Verb};
use foundry_core::plan::VmPlan;
use foundry_core::record::{self, Record, RecordState, RecordedVolume, Salt, SshAccess, VolumeRole};
use foundry_core::ssh_key_pair::SshKeyPair;
use foundry_core::units::Bytes;
use foundry_host::PoolSource;
use foundry_host::libvirt_xml::edit;

/// Everything that is decided before the first change: identity, XML, seed, record.
#[derive(Debug)]
pub struct Blueprint {
    /// The domain's XML, record included.
    pub domain_xml: String,
    /// In a dry run: the volumes of an interrupted creation that would be deleted first, as `POOL/VOLUME`.
    pub removes: Vec<String>,
    pub(crate) record: Record,
    pub(super) iso: Option<Vec<u8>>,
    pub(super) uuid: Uuid,
    /// The host key of a guest that starts from memory; others get theirs from the seed.
    pub(crate) warm_key: Option<SshKeyPair>,
}

impl Blueprint {
    /// What may be left behind if the process ends during the creation.
    pub(super) fn possible_leftovers(&self) -> Vec<Outcome> {
        let name = self.record.manifest.metadata.name.clone().unwrap_or_default();
        let volumes = self.record.volumes.iter().map(|v| v.reference().to_string());
        let all: Vec<String> = std::iter::once(format!("domain '{name}'")).chain(volumes).collect();
        vec![
            format!("may be left behind: {}", all.join(", ")).into(),
            Advice::from(Verb::Destroy { vm: name, force: false }).text(" removes it").into(),
        ]
    }
}

/// Decides what the plan leaves open: identity, seed, record.
pub(super) fn draw_blueprint(context: &Context, ready: &ReadyVm) -> Result<Blueprint, Error> {
    let plan = &ready.plan;
    // Always a new UUID: defining a domain with an existing UUID silently replaces that domain.
    let uuid = Uuid::new_v4();
    let instance_id = format!("{}-{uuid}", plan.name);
    let salt = Salt::generate();
    let seed = make_seed(plan, &instance_id, &salt, None)?;
    let (iso, ssh) = seed.map_or((None, None), |(iso, ssh)| (Some(iso), Some(ssh)));
    let warm_key = ready.plan.warm.as_ref().map(|_| SshKeyPair::generate()).transpose();
    let warm_key = warm_key.map_err(|cause| seed_failed(plan, cause))?;
    let warm_access = |key: &SshKeyPair| SshAccess {
        user: Some("root".to_owned()),
        host_keys: vec![key.public().to_owned()],
    };
    let ssh = ssh.or_else(|| warm_key.as_ref().map(warm_access));
    let record = Record { ssh, ..new_record(context, ready, uuid, iso.as_deref(), instance_id, &salt) };
    let text = record.to_text()?;
    let disks = record.volumes.iter().filter(|v| v.role != VolumeRole::Memory);
    let placement = Placement {
        uuid: Some(uuid),
        virt_type: ready.virt_type,
        arch: ready.arch,
        native: ready.native,
        disks: disks.map(|v| disk_source(&ready.storage, v)).collect(),
        console_log: record.console_log.as_deref(),
        record: Some(&text),
    };
    let mut domain_xml = domain_xml::render_domain(plan, &placement)?;
    if let Some(directory) = &ready.own_variables {
        let file = directory.join(format!("{uuid}{}", ENDS[0]));
        domain_xml = edit::set_nvram(&domain_xml, &file.display().to_string())?;
    }
    Ok(Blueprint { domain_xml, removes: Vec::new(), record, iso, uuid, warm_key })
}

/// The source of a volume in the domain's XML; the volume may not exist yet.
fn disk_source(storage: &ReadyStorage, volume: &RecordedVolume) -> DiskLocation {
    match &storage.seed {
        Some((_, backend)) if volume.role == VolumeRole::Seed => {
            backend.disk_source(&volume.path, &PoolSource::default())
        }
        _ => {
            let own = storage.backend.disk_source(&volume.path, &storage.source);
            match storage.linked_chain(&volume.reference()) {
                Some(chain) => on_chain(own, chain),
                None => with_backing_image(storage, volume, own),
            }
        }
    }
}

/// Puts a disk on the files below it, the nearest first.
fn on_chain(own: DiskLocation, chain: &[BackingFile]) -> DiskLocation {
    let Some((below, rest)) = chain.split_first() else { return own };
    DiskLocation::Overlay {
        own: Box::new(own),
        image: Box::new(on_chain(DiskLocation::File(below.path.clone()), rest)),
        format: below.format.clone(),
    }
}

/// Adds the image to the source of an overlay boot disk. The preflight has checked that the image has no backing file.
fn with_backing_image(storage: &ReadyStorage, volume: &RecordedVolume, own: DiskLocation) -> DiskLocation {
    let image = storage.image.as_ref().filter(|_| storage.backend == PoolBackend::Files);
    match (image, &volume.backing) {
        (Some(image), Some(path)) => DiskLocation::Overlay {
            own: Box::new(own),
            image: Box::new(DiskLocation::File(path.clone())),
            format: image.format.clone(),
        },
        _ => own,
    }
}

/// The host key that foundry made for a guest: the seed's file with both keys, and the public one.
#[derive(Debug, Clone)]
pub(super) struct KnownHostKey {
    pub(super) vendor_data: String,
    pub(super) public: String,
}

/// The error for a seed that cannot be made.
pub(super) fn seed_failed(plan: &VmPlan, cause: impl ToString) -> Error {
    Error::new(Kind::Vm, format!("cannot create the cloud-init seed of VM '{}'", plan.name))
        .because(cause.to_string())
        .unchanged()
}

/// Makes the image of the seed, and reads from the plan how to log in to the guest. The guest's private host key is in
/// the image only; a `known` one is used again.
pub(super) fn make_seed(
    plan: &VmPlan,
    instance_id: &str,
    salt: &Salt,
    known: Option<KnownHostKey>,
) -> Result<Option<(Vec<u8>, SshAccess)>, Error> {
    let Some(seed) = &plan.seed else { return Ok(None) };
    let failed = |cause: String| seed_failed(plan, cause);
    let mut documents =
        cloud_init::build_seed_files(plan, seed, instance_id).map_err(|e| failed(e.to_string()))?;
    documents.meta_data = cloud_init::append_salt(&documents.meta_data, salt);
    let login = cloud_init::read_seed_login(seed);
    let host_key = match (&login.host_keys, known) {
        (HostKeyChoice::Foundry, None) => {
            let made = HostKeyPair::generate().map_err(|e| failed(e.to_string()))?;
            Some(KnownHostKey { vendor_data: made.vendor_data(), public: made.public().to_owned() })
        }
        (HostKeyChoice::Foundry, known) => known,
        _ => None,
    };
    let ssh = login.to_access(host_key.as_ref().map(|key| key.public.as_str()));
    documents.vendor_data = host_key.map(|key| key.vendor_data);
    let iso = cloud_init::write_iso(&documents).map_err(|e| failed(e.to_string()))?;
    Ok(Some((iso, ssh)))
}

fn new_record(
    context: &Context,
    ready: &ReadyVm,
    uuid: Uuid,
    iso: Option<&[u8]>,
    instance_id: String,
    salt: &Salt,
) -> Record {
    let (manifest, secrets) = record::split_secrets(&ready.plan.manifest);
    let secrets = secrets.into_iter().map(|(path, secret)| (path, salt.digest_secret(&secret))).collect();
    let now = context.clock.timestamp();
    let mut volumes = ready.storage.volumes.clone();
    let backend = ready.storage.seed.as_ref().map_or(ready.storage.backend, |(_, backend)| *backend);
    for seed in volumes.iter_mut().filter(|v| v.role == VolumeRole::Seed) {
        seed.capacity = backend.capacity(Bytes(iso.map_or(0, |bytes| bytes.len() as u64)));
    }
    Record {
        version: record::VERSION,
        domain: uuid,
        state: RecordState::Creating,
        manifest,
        secrets,
        volumes,
        maker: context.lease.maker(),
        created_at: now.clone(),
        changed_at: now,
        generation: 1,
        instance_id: iso.map(|_| instance_id),
        console_log: console::log_path(context.host.uri(), ready.plan.name.as_str()),
        image: ready.storage.image.as_ref().map(|i| i.reference.to_string()),
        image_origin: ready.storage.image.as_ref().and_then(|i| i.origin.clone()),
        history: Vec::new(),
        ssh: None,
        repave: None,
        runner: ready.runner.clone(),
    }
}
