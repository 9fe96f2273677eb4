//! External snapshots: what libvirt's QEMU driver does with them.

use std::time::Duration;

use quick_xml::escape::escape;
use uuid::Uuid;

use super::described::read_description;
use super::{File, HostState, MemoryHost, MemorySnapshot, OnFreeze, StateResult, to_failure, xml};
use crate::libvirt_xml::{SnapshotDescription, edit};
use crate::{DomainState, Result, Snapshots};

impl Snapshots for MemoryHost {
    fn snapshots(&self, domain: Uuid) -> Result<Vec<String>> {
        let call = self.on("snapshots", "list the snapshots of", domain);
        self.call(&call, |state| {
            Ok(state.machine(domain)?.snapshots.iter().map(|s| s.name.clone()).collect())
        })
    }

    fn describe_snapshots(&self, domain: Uuid) -> Result<Vec<String>> {
        let call = self.on("describe_snapshots", "describe the snapshots of", domain);
        self.call(&call, |state| Ok(state.machine(domain)?.snapshots.iter().map(|s| s.xml.clone()).collect()))
    }

    fn all_snapshots(&self) -> Result<Vec<(Uuid, String)>> {
        self.call(&super::Call::about_host("all_snapshots", "describe the snapshots"), |state| {
            let of = |(uuid, machine): (&Uuid, &super::MemoryDomain)| {
                machine.snapshots.iter().map(|s| (*uuid, s.xml.clone())).collect::<Vec<_>>()
            };
            Ok(state.machines.iter().flat_map(of).collect())
        })
    }

    fn full_snapshot(&self, domain: Uuid, name: &str) -> Result<Option<String>> {
        let call = self.on("full_snapshot", &format!("describe snapshot '{name}' of"), domain);
        self.call(&call, |state| {
            let found = state.machine(domain)?.snapshots.iter().find(|s| s.name == name);
            Ok(found.map(|s| s.xml.clone()))
        })
    }

    fn create_snapshot(&self, domain: Uuid, xml: &str, freeze_within: Option<Duration>) -> Result<()> {
        let call = self.on("create_snapshot", "make a snapshot of", domain);
        self.call(&call, |state| {
            if freeze_within.is_none() {
                return state.make_snapshot(domain, xml);
            }
            let name = state.machine_name(domain);
            let how = state.guest(&name).on_freeze;
            let live = state.running_domain(domain)?;
            match how.filter(|_| live.state == DomainState::Running) {
                None => return Err("Guest agent is not responding: QEMU guest agent is not connected".into()),
                Some(OnFreeze::Refuses) => {
                    return Err(
                        "internal error: unable to execute QEMU agent command 'guest-fsfreeze-freeze'".into(),
                    );
                }
                Some(_) if live.frozen => {
                    return Err(
                        "internal error: unable to execute QEMU agent command 'guest-fsfreeze-freeze': \
                         Command guest-fsfreeze-freeze has been disabled: the agent is in frozen state"
                            .into(),
                    );
                }
                Some(_) => live.frozen = true,
            }
            let made = state.make_snapshot(domain, xml);
            state.running_domain(domain)?.frozen = how == Some(OnFreeze::StaysFrozen);
            made
        })
    }

    fn redefine_snapshot(&self, domain: Uuid, xml: &str) -> Result<()> {
        let call = self.on("redefine_snapshot", "describe a snapshot of", domain);
        self.call(&call, |state| {
            let name = SnapshotDescription::read(xml).map_err(|e| to_failure(&e))?.name;
            let found = state.machine(domain)?.snapshots.iter_mut().find(|s| s.name == name);
            xml.clone_into(&mut found.ok_or("no domain snapshot with that name")?.xml);
            Ok(())
        })
    }

    fn delete_snapshot(&self, domain: Uuid, name: &str) -> Result<()> {
        let call = self.on("delete_snapshot", &format!("delete snapshot '{name}' of"), domain);
        self.call(&call, |state| {
            let found = state.machine(domain)?.snapshots.iter().find(|s| s.name == name);
            let Some(found) = found.cloned() else { return Ok(()) };
            state.merge_snapshot(domain, &found)
        })
    }

    fn forget_snapshot(&self, domain: Uuid, name: &str) -> Result<()> {
        let call = self.on("forget_snapshot", &format!("delete snapshot '{name}' of"), domain);
        self.call(&call, |state| {
            state.machine(domain)?.snapshots.retain(|s| s.name != name);
            Ok(())
        })
    }
}

impl HostState {
    /// Puts all disks of the snapshot on new overlays, or none.
    fn make_snapshot(&mut self, domain: Uuid, xml: &str) -> StateResult<()> {
        let wanted = SnapshotDescription::read(xml).map_err(|e| to_failure(&e))?;
        let machine = self.machine(domain)?;
        if machine.snapshots.iter().any(|s| s.name == wanted.name) {
            return Err(format!("operation failed: domain snapshot {} already exists", wanted.name).into());
        }
        let before = machine.xml().to_owned();
        let parent = machine.snapshots.last().map(|s| format!("<parent><name>{}</name></parent>", s.name));
        let (live, definition) = (machine.live.as_ref().map(|l| l.xml.clone()), machine.definition.clone());
        let described = read_description(&before).map_err(|e| to_failure(&e))?;
        let mut moves = Vec::new();
        for disk in &wanted.disks {
            let place = described.disk(&disk.target).and_then(|d| d.source.path()).map(str::to_owned);
            let place = place.ok_or_else(|| format!("no disk named '{}'", disk.target))?;
            if self.files.contains_key(&disk.overlay) {
                return Err(format!(
                    "operation failed: external snapshot file for disk {} already exists and is not a block device: {}",
                    disk.target, disk.overlay
                )
                .into());
            }
            self.check_files(&place)?;
            let capacity = self.files.get(&place).map_or(0, |file| file.capacity);
            moves.push((disk, File::new("qcow2", capacity, Some(place))));
        }
        let moved = |text: Option<String>| -> StateResult<Option<String>> {
            let mut text = text;
            for disk in &wanted.disks {
                text = text.map(|xml| moved_disk(&xml, &disk.target, &disk.overlay, "qcow2")).transpose()?;
            }
            Ok(text)
        };
        let (live, definition) = (moved(live)?, moved(definition)?);
        self.files.extend(moves.into_iter().map(|(disk, file)| (disk.overlay.clone(), file)));
        let live = live.map(|xml| xml::with_backing_chains(&xml, |path| self.backing_chain(path)));
        let live = live.transpose().map_err(|e| to_failure(&e))?;
        let state = if live.is_some() { "disk-snapshot" } else { "shutoff" };
        // Of the description that was asked for, libvirt adds the rest.
        let rest = format!(
            "<state>{state}</state><creationTime>1796065532</creationTime>{}{before}</domainsnapshot>",
            parent.unwrap_or_default()
        );
        let xml = xml.replace("</domainsnapshot>", &rest);
        let machine = self.machine(domain)?;
        machine.snapshots.push(MemorySnapshot { name: wanted.name, xml });
        machine.definition = definition;
        if let (Some(running), Some(xml)) = (machine.live.as_mut(), live) {
            running.xml = xml;
        }
        Ok(())
    }

    /// Merges the overlays of a snapshot into the files below them.
    fn merge_snapshot(&mut self, domain: Uuid, snapshot: &MemorySnapshot) -> StateResult<()> {
        let deleted = SnapshotDescription::read(&snapshot.xml).map_err(|e| to_failure(&e))?;
        let name = self.machine_name(domain);
        let top = read_description(self.machine(domain)?.xml()).map_err(|e| to_failure(&e))?;
        for disk in &deleted.disks {
            let place = top.disk(&disk.target).and_then(|d| d.source.path()).unwrap_or_default();
            let in_chain = place == disk.overlay || self.backing_chain(place).contains(&disk.overlay);
            if !in_chain {
                return Err(format!(
                    "invalid argument: could not find image '{}' in chain for '{place}' of domain '{name}'",
                    disk.overlay
                )
                .into());
            }
        }
        for disk in &deleted.disks {
            let overlay = self.files.remove(&disk.overlay);
            let below = overlay.and_then(|file| file.backing).ok_or("an overlay has no backing file")?;
            let format = self.files.get(&below).map_or_else(String::new, |file| file.format.clone());
            for file in self.files.values_mut().filter(|file| file.backing.as_ref() == Some(&disk.overlay)) {
                file.backing = Some(below.clone());
            }
            let machine = self.machine(domain)?;
            let moved = |text: &str| -> StateResult<String> {
                let described = read_description(text).map_err(|e| to_failure(&e))?;
                let now = described.disk(&disk.target);
                let path = now.and_then(|disk| disk.source.path()).unwrap_or_default();
                // The chain below it is shown anew, too.
                match path == disk.overlay {
                    true => moved_disk(text, &disk.target, &below, &format),
                    false => moved_disk(text, &disk.target, path, "qcow2"),
                }
            };
            machine.definition = machine.definition.as_deref().map(moved).transpose()?;
            if let Some(live) = &mut machine.live {
                live.xml = moved(&live.xml)?;
            }
            // A later snapshot was taken of the overlay, and is of the file below from now on.
            for later in &mut machine.snapshots {
                for quote in ['"', '\''] {
                    let named = |path: &str| format!("file={quote}{}{quote}", escape(path));
                    later.xml = later.xml.replace(&named(&disk.overlay), &named(&below));
                }
            }
        }
        let machine = self.machine(domain)?;
        machine.snapshots.retain(|s| s.name != deleted.name);
        if let Some(child) =
            machine.snapshots.iter_mut().find(|s| s.xml.contains(&parent_element(&deleted.name)))
        {
            let grandparent = deleted.parent.as_deref().map(parent_element).unwrap_or_default();
            child.xml = child.xml.replace(&parent_element(&deleted.name), &grandparent);
        }
        let live = self.machine(domain)?.live.as_ref().map(|live| live.xml.clone());
        if let Some(live) = live {
            let shown = xml::with_backing_chains(&live, |path| self.backing_chain(path));
            let shown = shown.map_err(|e| to_failure(&e))?;
            self.running_domain(domain)?.xml = shown;
        }
        Ok(())
    }
}

fn parent_element(name: &str) -> String {
    format!("<parent><name>{name}</name></parent>")
}

fn moved_disk(xml: &str, target: &str, path: &str, format: &str) -> StateResult<String> {
    edit::set_disk_file(xml, target, path, format).map_err(|e| to_failure(&e))
}
