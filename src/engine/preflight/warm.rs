//! Checks that a VM can start from a warm image.

use super::issues::PreflightReport;
use super::storage::{DiskCopy, ReadyPool, ReadyStorage, volume_path};
use crate::Context;
use crate::storage::backend::PoolBackend;
use crate::warm::{memory_of, read_note};
use foundry_core::domain_xml::VirtType;
use foundry_core::error::{Advice, Code, Error, Issue, Verb};
use foundry_core::plan::{Arch, VmPlan};
use foundry_core::record::{RecordedVolume, VolumeRef, VolumeRole};
use foundry_core::saved_memory::{FIXED_LENGTH, SavedMemory, SavedMemoryError};
use foundry_core::units::Bytes;
use foundry_core::warm::{WarmMachine, WarmNote};
use foundry_host::Volume;

/// What a creation does with memory.
#[derive(Debug, Clone, PartialEq)]
pub enum MemoryUse {
    /// The guest boots, and its memory is saved: the VM becomes a warm image.
    Save,
    /// The guest starts from memory.
    Start(Box<ReadyMemory>),
}

/// The memory that a VM starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadyMemory {
    /// The header of the file.
    pub header: SavedMemory,
    /// The description of the domain that was saved.
    pub xml: String,
    /// What libvirt stored beside it.
    pub cookie: Vec<u8>,
    /// The volume with the memory, beside the warm image.
    pub source: Volume,
}

/// The volume for the memory of a VM.
pub(crate) fn memory_volume(pool: &ReadyPool, name: &str, capacity: Bytes) -> RecordedVolume {
    let volume = VolumeRef::new(pool.name.clone(), name);
    RecordedVolume::new(VolumeRole::Memory, volume, volume_path(&pool.target, name), "raw", capacity)
}

/// What a guest runs on here, as far as saved memory depends on it.
pub(crate) fn machine_here(context: &Context, arch: Arch, virt_type: VirtType) -> Result<WarmMachine, Error> {
    let capabilities = context.host.capabilities()?;
    let machine =
        context.host.guest_machine(arch.as_str(), arch.machine_type(), virt_type.as_str()).map(|m| m.name);
    Ok(WarmMachine {
        arch: arch.as_str().to_owned(),
        domain_type: virt_type.as_str().to_owned(),
        machine: machine.unwrap_or_default(),
        cpu: capabilities.cpu,
        qemu: context.host.machine()?.hypervisor_version,
        libvirt: capabilities.libvirt_version,
    })
}

/// Checks that a VM can start from its warm image, and plans the copy of the memory. Returns `None` after an issue.
pub(crate) fn check_warm(
    context: &Context,
    plan: &VmPlan,
    storage: &mut ReadyStorage,
    (virt_type, arch): (VirtType, Arch),
    report: &mut PreflightReport,
) -> Result<Option<MemoryUse>, Error> {
    let Some(image) = storage.image.as_ref().and_then(|image| image.volume.clone()) else { return Ok(None) };
    report.begin_check("warm", format!("'{}' is a warm image that fits this VM and this host", image.name));
    let unfit = |message: String| Issue::new(Code::WarmImageUnfit, message);
    let Some(note) = read_note(context, &image)? else {
        let list = Advice::from(Verb::ImageWarm { image: image.name.clone(), from: true });
        report.push(
            unfit(format!("spec.bootDisk.warm: image '{}' is no warm image", image.name))
                .hint(list.text(" makes one; spec.bootDisk.image boots from any image")),
        );
        return Ok(None);
    };
    let again =
        || Advice::from(Verb::ImageWarm { image: image.name.clone(), from: false }).text(" makes it anew");
    if !note.complete {
        report.push(unfit(format!("warm image '{}' is not complete", image.name)).hint(again()));
        return Ok(None);
    }
    let before = report.issues().count();
    for obstacle in note.machine.obstacles(&machine_here(context, arch, virt_type)?) {
        report.push(
            unfit(format!("warm image '{}' fits another machine: {obstacle}", image.name)).hint(again()),
        );
    }
    check_manifest(context, plan, &note, &image, report);
    if storage.backend != PoolBackend::Files {
        let message =
            format!("pool '{}' holds no files, from which memory can be restored", storage.pool.name);
        report.push(Issue::new(Code::PoolUnfit, message).hint("use a pool of type dir, fs or netfs"));
    }
    let Some(source) = context.host.volume(&memory_of(&image))? else {
        report.push(unfit(format!("the memory of warm image '{}' is missing", image.name)).hint(again()));
        return Ok(None);
    };
    if report.issues().count() > before {
        return Ok(None);
    }
    let memory = match read_memory(context, source)? {
        Ok(memory) => memory,
        Err(why) => {
            let message = format!("the memory of warm image '{}' cannot be used: {why}", image.name);
            report.push(unfit(message).hint(again()));
            return Ok(None);
        }
    };
    let name = plan.name.memory_volume();
    let planned = memory_volume(&storage.pool, name.as_str(), memory.source.capacity);
    storage.copies.push(DiskCopy { to: planned.reference(), from: memory.source.clone() });
    storage.volumes.push(planned);
    Ok(Some(MemoryUse::Start(Box::new(memory))))
}

/// Reports the fields in which the VM would be another machine than the saved one.
fn check_manifest(
    context: &Context,
    plan: &VmPlan,
    note: &WarmNote,
    image: &VolumeRef,
    report: &mut PreflightReport,
) {
    let Ok(saved) = VmPlan::from_manifest(&note.manifest, &context.settings.defaults(None)) else {
        let message = format!("the manifest in the note on warm image '{}' is not valid", image.name);
        report.push(Issue::new(Code::WarmImageUnfit, message));
        return;
    };
    for (path, own, images) in plan.differences_from_warm(&saved) {
        let message = format!("{path} is {own}, but warm image '{}' was made with {images}", image.name);
        report.push(Issue::new(Code::WarmImageUnfit, message).hint(format!("set {path} to {images}")));
    }
}

/// Reads the header of a file with saved memory; the inner error says what is wrong with the file.
fn read_memory(context: &Context, source: Volume) -> Result<Result<ReadyMemory, SavedMemoryError>, Error> {
    let span = |from: usize, length: usize| -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        context.host.download_span(&source.reference(), &mut bytes, (from as u64, length as u64))?;
        Ok(bytes)
    };
    let header = match SavedMemory::read_fixed(&span(0, FIXED_LENGTH)?) {
        Ok(header) => header,
        Err(why) => return Ok(Err(why)),
    };
    let data = span(FIXED_LENGTH, header.header_length() - FIXED_LENGTH)?;
    let split = header.split_data(&data).map(|(xml, cookie)| (xml.to_owned(), cookie.to_vec()));
    Ok(split.map(|(xml, cookie)| ReadyMemory { header, xml, cookie, source }))
}
