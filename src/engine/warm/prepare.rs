//! Makes a warm image: boots a VM, saves its memory, and puts disk and memory into the image pool.

use std::cell::Cell;
use std::time::Duration;

use super::guest_identity::run_script;
use super::store::{delete_companions, memory_of, note_of, read_note, write_note};
use super::view::base_of;
use crate::image::{self, image_info, list_users, writable_pool};
use crate::poll::{Poll, Waited};
use crate::preflight::warm::{MemoryUse, machine_here, memory_volume};
use crate::preflight::{ReadyVm, preflight};
use crate::storage::backend::PoolBackend;
use crate::storage::usage::refresh_pool;
use crate::vm::create::CreatedVm;
use crate::vm::guest_agent::GuestAgent;
use crate::vm::labelled::LabelledVm;
use crate::vm::temporary::with_temporary_vm;
use crate::vm::wait::{Goal, wait_for_vm};
use crate::{Context, Step, Task, lock};
use foundry_core::error::{Advice, Code, Error, Outcome, Remainder, Verb};
use foundry_core::manifest::VirtualMachine;
use foundry_core::names::VmName;
use foundry_core::plan::{VmPlan, find_warm_conflict};
use foundry_core::record::{
    Liveness, RecordState, RecordedVolume, VolumeRef, VolumeRole, manifest_digest, split_secrets,
};
use foundry_core::storage_xml::{self, VolumeSpec};
use foundry_core::units::Bytes;
use foundry_core::warm::{NOTE_VERSION, WarmNote};
use foundry_host::libvirt_xml::edit::interface_element;
use foundry_host::local::check_liveness;
use foundry_host::{Affect, View};

/// Room in the header of the saved memory for the description of another VM, in bytes: its record has its manifest,
/// which may have 1 MiB, and XML escapes some of it.
const ROOM: usize = 2 << 20;
/// Size of the volume before memory is saved in it; libvirt truncates it.
const UNSAVED: Bytes = Bytes(1 << 20);
/// How long a guest may take to release an interface.
const RELEASE_WITHIN: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(200);

/// Writes everything to the disk: what is only in the guest's memory would be there twice.
const SETTLE: &str = "sync; echo settled";

/// The network-config of a guest that gets its interface later, with a MAC address of its own.
const ANY_INTERFACE: &str = "version: 2
ethernets:
  warm:
    match: {name: 'e*'}
    dhcp4: true
    dhcp-identifier: mac
";

/// What a warm image is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct WarmRequest {
    /// The image to make, in its pool.
    pub image: VolumeRef,
    /// The manifest of its guest; without one, that in the note on the present image.
    pub manifest: Option<VirtualMachine>,
    /// How long the guest may take until cloud-init has finished.
    pub timeout: Duration,
}

/// Makes a warm image, or makes one anew. Nothing else is left, also after a failure.
///
/// # Errors
/// Before any change: that the manifest or the image do not allow it. Or the failure of a step, after a rollback.
pub fn warm_image(context: &Context, request: &WarmRequest) -> Result<WarmNote, Error> {
    let image = &request.image;
    context.report_begun(Task::WarmImage(image.name.clone()));
    let pool = writable_pool(context, &image.pool)?;
    let image = &VolumeRef::new(pool, &image.name);
    let present = check_present(context, image)?;
    let manifest = match (&request.manifest, &present) {
        (Some(manifest), _) => manifest.clone(),
        (None, Some(note)) => manifest_of_note(image, note)?,
        (None, None) => {
            let message = format!("there is no warm image '{}' to be made anew", image.name);
            let make = Advice::from(Verb::ImageWarm { image: image.name.clone(), from: true });
            return Err(Error::new(Code::ImageMissing, message).hint(make.text(" makes one")).unchanged());
        }
    };
    let plan = plan_guest(context, image, &manifest)?;
    remove_interrupted(context, &plan.name)?;
    let mut ready = preflight(context, &plan)?;
    if ready.storage.backend != PoolBackend::Files {
        let message =
            format!("pool '{}' holds no files, into which memory can be saved", ready.storage.pool.name);
        return Err(Error::new(Code::PoolUnfit, message)
            .hint("use a pool of type dir, fs or netfs")
            .unchanged());
    }
    let name = plan.name.memory_volume();
    ready.storage.volumes.push(memory_volume(&ready.storage.pool, name.as_str(), UNSAVED));
    ready.memory = Some(MemoryUse::Save);
    let note = draw_note(context, image, &manifest, &ready)?;
    let is_made = Cell::new(false);
    let made = with_temporary_vm(context, &ready, &|vm| {
        save_guest(context, vm, request.timeout)?;
        let note = publish(context, image, vm, &note)?;
        is_made.set(true);
        Ok(note)
    });
    made.map_err(|error| match is_made.get() {
        true => error.outcome(format!("warm image '{}' is complete", image.name)),
        false => error,
    })
}

/// Checks that the name is free, or is that of a warm image that nobody uses.
fn check_present(context: &Context, image: &VolumeRef) -> Result<Option<WarmNote>, Error> {
    let note = read_note(context, image)?;
    let volume = context.host.volume(image)?;
    match (note, volume) {
        (Some(note), _) if !note.complete && check_liveness(&note.maker) != Liveness::Dead => {
            let message = format!("warm image '{}' is being made by process {}", image.name, note.maker.pid);
            Err(Error::new(Code::ImageIncomplete, message).unchanged())
        }
        (Some(note), Some(_)) => {
            if let Some(users) = list_users(&image_info(context, image)?) {
                let message = format!("warm image '{}' is in use by {users}", image.name);
                return Err(Error::new(Code::ImageInUse, message)
                    .hint("make one with another name beside it")
                    .unchanged());
            }
            Ok(Some(note))
        }
        (note, None) => Ok(note),
        (None, Some(_)) => {
            let message =
                format!("image '{}' exists in pool '{}', and is no warm image", image.name, image.pool);
            Err(Error::new(Code::ImageTaken, message).hint("choose another name").unchanged())
        }
    }
}

/// The manifest of a warm image that is made anew.
fn manifest_of_note(image: &VolumeRef, note: &WarmNote) -> Result<VirtualMachine, Error> {
    if note.secrets.is_empty() {
        return Ok(note.manifest.clone());
    }
    let message = format!("warm image '{}' cannot be made anew from its note", image.name);
    Err(Error::new(Code::WarmImageUnfit, message)
        .because(format!("its manifest had {}, which is not kept", note.secrets.join(", ")))
        .hint(
            Advice::from("give the manifest again: ")
                .run(Verb::ImageWarm { image: image.name.clone(), from: true }),
        )
        .unchanged())
}

/// The name of the VM that becomes a warm image; it follows from the image's, so that a second run finds what a first one
/// left.
fn guest_name(image: &VolumeRef) -> Result<VmName, Error> {
    let stem = image.name.strip_suffix(".qcow2").unwrap_or(&image.name);
    let stem: String = stem
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    format!("{}-warming", stem.trim_matches('-')).parse().map_err(|e| {
        Error::new(
            Code::ImageNameUnfit,
            format!("the VM for warm image '{}' cannot be named after it", image.name),
        )
        .because(format!("its name {e}"))
        .hint("choose a shorter name for the image")
        .unchanged()
    })
}

/// Plans the VM that becomes a warm image.
fn plan_guest(context: &Context, image: &VolumeRef, manifest: &VirtualMachine) -> Result<VmPlan, Error> {
    let defaults = context.settings.defaults(None);
    let mut manifest = manifest.clone();
    manifest.metadata.name = Some(guest_name(image)?.to_string());
    manifest.spec.autostart = Some(false);
    let cloud_init = manifest.spec.cloud_init.get_or_insert_default();
    if cloud_init.network_config.is_none() {
        cloud_init.network_config = Some(ANY_INTERFACE.to_owned());
    }
    let plan =
        VmPlan::from_manifest(&manifest, &defaults).map_err(|problems| Error::from(problems).unchanged())?;
    match find_warm_conflict(&plan) {
        None => Ok(plan),
        Some((path, why)) => {
            Err(Error::new(Code::Contradiction, format!("{path}: no warm image can have this"))
                .because(why)
                .unchanged())
        }
    }
}

/// Deletes the VM that an interrupted run left.
fn remove_interrupted(context: &Context, name: &VmName) -> Result<(), Error> {
    let Some(domain) = context.host.domain(name.as_str())? else { return Ok(()) };
    let Some(record) = domain.own_record() else { return Ok(()) };
    let is_left = record.has_memory()
        && record.state != RecordState::Created
        && check_liveness(&record.maker) == Liveness::Dead;
    if !is_left {
        return Ok(());
    }
    LabelledVm { domain, record }.destroy(context)?;
    context.report_finished(Step::RemoveInterrupted);
    Ok(())
}

fn draw_note(
    context: &Context,
    image: &VolumeRef,
    manifest: &VirtualMachine,
    ready: &ReadyVm,
) -> Result<WarmNote, Error> {
    let (open, secrets) = split_secrets(manifest);
    let base = ready.storage.image.as_ref();
    let reference = base.map(|base| base.reference.to_string()).unwrap_or_default();
    Ok(WarmNote {
        version: NOTE_VERSION,
        warm_image: image.name.clone(),
        complete: false,
        maker: context.lease.maker(),
        created_at: context.clock.timestamp(),
        foundry: env!("CARGO_PKG_VERSION").to_owned(),
        manifest_digest: manifest_digest(&open),
        manifest: with_name(open),
        secrets: secrets.into_keys().collect(),
        base: base_of(context, reference, base.and_then(|base| base.volume.as_ref()))?,
        machine: machine_here(context, ready.arch, ready.virt_type)?,
    })
}

/// A manifest in a note has a name, so that it can be planned; each VM from the image has its own.
fn with_name(mut manifest: VirtualMachine) -> VirtualMachine {
    manifest.metadata.name.get_or_insert_with(|| "warm".to_owned());
    manifest
}

/// Waits until the guest has booted, unplugs what is not every VM's, and saves its memory.
fn save_guest(context: &Context, vm: &CreatedVm, timeout: Duration) -> Result<(), Error> {
    let begun = context.clock.elapsed();
    // What a wait says about the VM afterwards is wrong here: it is deleted.
    let wait = |goal, within| wait_for_vm(context, vm, goal, within).map_err(Error::without_outcomes);
    wait(Goal::Agent, timeout)?;
    wait(Goal::CloudInit, timeout.saturating_sub(context.clock.elapsed().saturating_sub(begun)))?;
    let host = &context.host;
    let name = vm.record.manifest.metadata.name.clone().unwrap_or_default();
    let lost = || Error::new(Code::ChangedMeanwhile, format!("VM '{name}' ended while it was prepared"));
    let domain = host.domain(&name)?.filter(|domain| domain.uuid == vm.uuid).ok_or_else(lost)?;
    context.report_started(Step::SaveMemory);
    host.detach_disk(vm.uuid, "sda", Affect::Live)?;
    let described = host.describe(vm.uuid, View::Current)?.ok_or_else(lost)?;
    let xml = host.domain_xml(vm.uuid, View::Current)?.ok_or_else(lost)?;
    for mac in described.interfaces.iter().filter_map(|interface| interface.mac.as_deref()) {
        if let Some(element) = interface_element(&xml, mac)? {
            host.detach_interface_now(vm.uuid, element)?;
        }
    }
    let poll = Poll::new(context, POLL_EVERY).within(RELEASE_WITHIN).unless(|| context.cancel.is_requested());
    let released = poll.until(|| {
        let now = host.describe(vm.uuid, View::Current)?.ok_or_else(lost)?;
        let is_bare = now.interfaces.is_empty() && now.disk("sda").is_none();
        Ok::<_, Error>(is_bare.then_some(()))
    })?;
    context.cancel.check()?;
    if released != Waited::Done(()) {
        let message = format!("the guest of VM '{name}' does not release its network");
        return Err(Error::new(Code::DiskHeld, message));
    }
    let agent = GuestAgent::connect(context, &domain)?;
    run_script(context, &agent, SETTLE, &[])?;
    host.save_memory(vm.uuid, &volume_of(vm, VolumeRole::Memory)?.path, ROOM)?;
    context.report_finished(Step::SaveMemory);
    Ok(())
}

fn volume_of(vm: &CreatedVm, role: VolumeRole) -> Result<&RecordedVolume, Error> {
    let found = vm.record.volumes.iter().find(|volume| volume.role == role);
    found.ok_or_else(|| Error::new(Code::VolumeMissing, "the record of the VM lacks a volume"))
}

/// Puts disk and memory of the saved VM into the image pool.
fn publish(context: &Context, image: &VolumeRef, vm: &CreatedVm, note: &WarmNote) -> Result<WarmNote, Error> {
    let parts = [image.clone(), memory_of(image), note_of(image)];
    let may_stay = parts.iter().map(|part| Outcome::from(format!("may be left behind: {part}")));
    let _leaves = context.cancel.announce_leftovers(may_stay);
    let _lock = lock::lock_image(context, image)?;
    // Users of the image may have come while the guest booted.
    if check_present(context, image)?.is_some() {
        image::remove_with_note(context, image)?;
    }
    delete_companions(context, image)?;
    let complete = WarmNote { complete: true, created_at: context.clock.timestamp(), ..note.clone() };
    let published = write_note(context, image, note).and_then(|()| {
        copy_parts(context, image, vm)?;
        context.cancel.check()?;
        write_note(context, image, &complete)
    });
    match published {
        Ok(()) => Ok(complete),
        Err(failed) => {
            // The note is deleted last, so what cannot be deleted now is found again.
            let undone = context.host.delete_volume(image).map_err(Error::from);
            undone.and_then(|()| delete_companions(context, image)).map_or_else(
                |left| {
                    let left = |part: VolumeRef| Remainder::new(part.to_string(), left.message());
                    let gc = Advice::from(Verb::Gc { only: None }).text(" removes it");
                    Err(failed.clone().outcome(Outcome::Left(parts.clone().map(left).into())).outcome(gc))
                },
                |()| Err(failed.clone()),
            )
        }
    }
}

fn copy_parts(context: &Context, image: &VolumeRef, vm: &CreatedVm) -> Result<(), Error> {
    let memory = volume_of(vm, VolumeRole::Memory)?;
    let boot = volume_of(vm, VolumeRole::Boot)?;
    // Until then, libvirt has the sizes from before.
    refresh_pool(context, &memory.pool)?;
    for (volume, to, format) in [(memory, memory_of(image), "raw"), (boot, image.clone(), "qcow2")] {
        context.cancel.check()?;
        let from = volume.reference();
        let found = context.host.volume(&from)?;
        let found = found.ok_or_else(|| Error::new(Code::VolumeMissing, format!("{from} is missing")))?;
        context.report_started(Step::CopyVolume(to.clone()));
        let spec = VolumeSpec {
            name: to.name.clone(),
            format: format.into(),
            capacity: found.capacity,
            allocation: Bytes(0),
            backing: None,
        };
        context.host.clone_volume(&to.pool, &storage_xml::render_volume(&spec)?, &from)?;
        context.report_finished(Step::CopyVolume(to));
    }
    Ok(())
}
