//! Disks of domains: what libvirt's QEMU driver does with them.

use uuid::Uuid;

use super::described::read_description;
use super::{HostState, MemoryHost, OnUnplug, StateResult, to_failure, xml};
use crate::libvirt_xml::DiskSource;
use crate::{Affect, Disks, DomainState, Result};
use foundry_core::error::Kind;
use foundry_core::units::Bytes;

impl Disks for MemoryHost {
    fn attach_disk(&self, domain: Uuid, xml: &str, affect: Affect) -> Result<()> {
        let call = self.on("attach_disk", "attach a disk to", domain);
        self.call(&call, |state| {
            let (live, persistent) = affected_parts(affect);
            let plugged = if live { Some(state.plug_disk(domain, xml)?) } else { None };
            if persistent {
                let machine = state.machine(domain)?;
                let definition = machine.definition.as_deref().ok_or(NO_DEFINITION)?;
                machine.definition = Some(with_disk(definition, xml)?);
            }
            if let Some(with) = plugged {
                state.slots = state.slots.map(|left| left - 1);
                state.running_domain(domain)?.xml = with;
            }
            Ok(())
        })
    }

    fn detach_disk(&self, domain: Uuid, target: &str, affect: Affect) -> Result<()> {
        let call = self.on("detach_disk", &format!("detach disk '{target}' from"), domain);
        self.call(&call, |state| {
            let (live, persistent) = affected_parts(affect);
            let shown = state.machine(domain)?.xml();
            let is_there = xml::without_disk(shown, target).map_err(|e| to_failure(&e))? != shown;
            if live && is_there {
                let name = state.machine_name(domain);
                let behaviour = state.guest(&name).on_unplug;
                state.running_domain(domain)?.unplugging.insert(target.to_owned(), behaviour);
                state.let_go(domain)?;
            }
            if persistent {
                let machine = state.machine(domain)?;
                let definition = machine.definition.as_deref().ok_or(NO_DEFINITION)?;
                machine.definition = Some(xml::without_disk(definition, target).map_err(|e| to_failure(&e))?);
            }
            Ok(())
        })
    }

    fn resize_disk(&self, domain: Uuid, target: &str, capacity: Bytes) -> Result<()> {
        let call = self.on("resize_disk", &format!("resize disk '{target}' of"), domain);
        self.call(&call.of_kind(Kind::Storage), |state| {
            let described =
                read_description(&state.running_domain(domain)?.xml).map_err(|e| to_failure(&e))?;
            let source = described.disk(target).map(|d| d.source.clone());
            let absent = || format!("invalid argument: disk '{target}' was not found in the domain config");
            let path = match source {
                Some(DiskSource::File(path) | DiskSource::Rbd(path)) => path,
                // QEMU only reads the size of a device.
                Some(DiskSource::Block(_)) => {
                    return Err(
                    "internal error: unable to execute QEMU command 'block_resize': Cannot grow device files"
                        .into(),
                );
                }
                _ => return Err(absent().into()),
            };
            let file = state.files.get_mut(&path);
            file.ok_or_else(|| format!("cannot open '{path}'"))?.resize(capacity.0);
            Ok(())
        })
    }

    fn has_block_job(&self, domain: Uuid, target: &str) -> Result<bool> {
        let call = self.on("has_block_job", &format!("look for block jobs on disk '{target}' of"), domain);
        self.call(&call, |state| {
            let live = state.running_domain(domain)?;
            let described = read_description(&live.xml).map_err(|e| to_failure(&e))?;
            if described.disk(target).is_none() {
                return Err(format!("invalid argument: disk {target} not found in domain").into());
            }
            Ok(live.block_jobs.contains(target))
        })
    }
}

impl HostState {
    /// The XML of the running domain with another disk. Its file must exist, and a slot must be free.
    fn plug_disk(&mut self, uuid: Uuid, disk: &str) -> StateResult<String> {
        let xml = with_disk(&self.running_domain(uuid)?.xml, disk)?;
        let described = read_description(&xml).map_err(|e| to_failure(&e))?;
        if let Some(path) = described.disks.last().and_then(|d| d.source.path()) {
            self.check_files(path)?;
        }
        if self.slots == Some(0) {
            return Err("internal error: No more available PCI slots".into());
        }
        xml::with_backing_chains(&xml, |path| self.backing_chain(path)).map_err(|e| to_failure(&e))
    }

    /// Lets time pass for disks that a guest was asked to release; a guest that does not run does nothing.
    pub(super) fn let_go(&mut self, uuid: Uuid) -> StateResult<()> {
        let Some(live) = self.machine(uuid)?.live.as_mut() else { return Ok(()) };
        if live.state != DomainState::Running {
            return Ok(());
        }
        for (target, left) in std::mem::take(&mut live.unplugging) {
            match left {
                OnUnplug::AtOnce | OnUnplug::AfterLooks(0) => {
                    live.xml = xml::without_disk(&live.xml, &target).map_err(|e| to_failure(&e))?;
                }
                OnUnplug::AfterLooks(left) => {
                    live.unplugging.insert(target, OnUnplug::AfterLooks(left - 1));
                }
                OnUnplug::Never => drop(live.unplugging.insert(target, OnUnplug::Never)),
            }
        }
        Ok(())
    }
}

const NO_DEFINITION: &str = "Requested operation is not valid: cannot modify device on transient domain";

fn affected_parts(affect: Affect) -> (bool, bool) {
    (affect != Affect::Config, affect != Affect::Live)
}

/// A target belongs to one disk.
fn with_disk(xml: &str, disk: &str) -> StateResult<String> {
    let described = read_description(xml).map_err(|e| to_failure(&e))?;
    let with = xml::with_disk(xml, disk).map_err(|e| to_failure(&e))?;
    let new = read_description(&with).map_err(|e| to_failure(&e))?;
    match new.disks.last().filter(|d| described.disk(&d.target).is_some()) {
        Some(taken) => {
            Err(format!("Requested operation is not valid: target {} already exists", taken.target).into())
        }
        None => Ok(with),
    }
}
