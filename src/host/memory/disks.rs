//! Disks of domains: what libvirt's QEMU driver does with them.

use uuid::Uuid;

use super::domains::refused;
use super::{Answer, OnUnplug, State, xml};
use crate::libvirt_xml::{DiskSource, DomainDescription};
use crate::{DomainState, Reach};

impl State {
    pub(super) fn attach_disk(&mut self, uuid: Uuid, disk: &str, reach: Reach) -> Answer<()> {
        let (live, persistent) = places(reach);
        let plugged = if live { Some(self.plugged(uuid, disk)?) } else { None };
        if persistent {
            let machine = self.machine(uuid)?;
            let definition = machine.definition.as_deref().ok_or(NO_DEFINITION)?;
            machine.definition = Some(with_disk(definition, disk)?);
        }
        if let Some(xml) = plugged {
            self.slots = self.slots.map(|left| left - 1);
            self.active(uuid)?.xml = xml;
        }
        Ok(())
    }

    /// The running domain with a further disk: its file must be there, and a slot for it.
    fn plugged(&mut self, uuid: Uuid, disk: &str) -> Answer<String> {
        let xml = with_disk(&self.active(uuid)?.xml, disk)?;
        let described = DomainDescription::read(&xml).map_err(|e| refused(&e))?;
        if let Some(path) = described.disks.last().and_then(|d| d.source.path()) {
            self.check_files(path)?;
        }
        if self.slots == Some(0) {
            return Err("internal error: No more available PCI slots".into());
        }
        xml::with_backing_chains(&xml, |path| self.chain(path)).map_err(|e| refused(&e))
    }

    pub(super) fn detach_disk(&mut self, uuid: Uuid, target: &str, reach: Reach) -> Answer<()> {
        let (live, persistent) = places(reach);
        let shown = self.machine(uuid)?.xml();
        let is_there = xml::without_disk(shown, target).map_err(|e| refused(&e))? != shown;
        if live && is_there {
            let name = self.machine_name(uuid);
            let behaviour = self.guest(&name).on_unplug;
            self.active(uuid)?.unplugging.insert(target.to_owned(), behaviour);
            self.let_go(uuid)?;
        }
        if persistent {
            let machine = self.machine(uuid)?;
            let definition = machine.definition.as_deref().ok_or(NO_DEFINITION)?;
            machine.definition = Some(xml::without_disk(definition, target).map_err(|e| refused(&e))?);
        }
        Ok(())
    }

    /// Lets time pass for the disks that a guest was asked to let go of; one that does not run does nothing.
    pub(super) fn let_go(&mut self, uuid: Uuid) -> Answer<()> {
        let Some(live) = self.machine(uuid)?.live.as_mut() else { return Ok(()) };
        if live.state != DomainState::Running {
            return Ok(());
        }
        for (target, left) in std::mem::take(&mut live.unplugging) {
            match left {
                OnUnplug::AtOnce | OnUnplug::AfterLooks(0) => {
                    live.xml = xml::without_disk(&live.xml, &target).map_err(|e| refused(&e))?;
                }
                OnUnplug::AfterLooks(left) => {
                    live.unplugging.insert(target, OnUnplug::AfterLooks(left - 1));
                }
                OnUnplug::Never => drop(live.unplugging.insert(target, OnUnplug::Never)),
            }
        }
        Ok(())
    }

    pub(super) fn resize_disk(&mut self, uuid: Uuid, target: &str, capacity: u64) -> Answer<()> {
        let described = DomainDescription::read(&self.active(uuid)?.xml).map_err(|e| refused(&e))?;
        let source = described.disk(target).map(|d| d.source.clone());
        let absent = || format!("invalid argument: disk '{target}' was not found in the domain config");
        let path = match source {
            Some(DiskSource::File(path) | DiskSource::Rbd(path)) => path,
            // QEMU only looks how large a device is by now.
            Some(DiskSource::Block(_)) => {
                return Err(
                    "internal error: unable to execute QEMU command 'block_resize': Cannot grow device files"
                        .into(),
                );
            }
            _ => return Err(absent().into()),
        };
        let file = self.files.get_mut(&path);
        file.ok_or_else(|| format!("cannot open '{path}'"))?.resize(capacity);
        Ok(())
    }

    pub(super) fn has_block_job(&mut self, uuid: Uuid, target: &str) -> Answer<bool> {
        let live = self.active(uuid)?;
        let described = DomainDescription::read(&live.xml).map_err(|e| refused(&e))?;
        if described.disk(target).is_none() {
            return Err(format!("invalid argument: disk {target} not found in domain").into());
        }
        Ok(live.block_jobs.contains(target))
    }
}

const NO_DEFINITION: &str = "Requested operation is not valid: cannot modify device on transient domain";

fn places(reach: Reach) -> (bool, bool) {
    (reach != Reach::Persistent, reach != Reach::Live)
}

/// A target belongs to one disk.
fn with_disk(xml: &str, disk: &str) -> Answer<String> {
    let described = DomainDescription::read(xml).map_err(|e| refused(&e))?;
    let with = xml::with_disk(xml, disk).map_err(|e| refused(&e))?;
    let new = DomainDescription::read(&with).map_err(|e| refused(&e))?;
    match new.disks.last().filter(|d| described.disk(&d.target).is_some()) {
        Some(taken) => {
            Err(format!("Requested operation is not valid: target {} already exists", taken.target).into())
        }
        None => Ok(with),
    }
}
