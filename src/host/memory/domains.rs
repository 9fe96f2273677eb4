//! Domains: what libvirt's QEMU driver does with them.

use uuid::Uuid;

use super::calls::Call;
use super::described::read_description;
use super::{Failure, HostState, Live, MemoryDomain, MemoryHost, StateResult, to_failure, xml};
use crate::libvirt_xml::edit;
use crate::{
    Domain, DomainSample, DomainState, Domains, KeptOnUndefine, Result, StateNow, StateReason, View,
};
use foundry_core::units::Bytes;

impl Domains for MemoryHost {
    fn domains(&self, active_only: bool) -> Result<Vec<Domain>> {
        self.call(&Call::about_host("domains", "list the domains"), |state| {
            let uuids: Vec<_> = state.machines.keys().copied().collect();
            uuids.into_iter().for_each(|uuid| state.pass_time(uuid));
            let listed = state.machines.iter().filter(|(_, m)| !active_only || m.live.is_some());
            listed.map(|(uuid, m)| m.describe(*uuid)).collect()
        })
    }

    fn domain(&self, name: &str) -> Result<Option<Domain>> {
        self.call(&Call::about_domain("domain", "look up", name), |state| {
            let Some(uuid) = state.find_by_name(name) else { return Ok(None) };
            state.pass_time(uuid);
            state.machines.get(&uuid).map(|m| m.describe(uuid)).transpose()
        })
    }

    fn state(&self, domain: Uuid) -> Result<Option<StateNow>> {
        self.call(&self.on("state", "look at", domain), |state| Ok(state.state_now(domain)))
    }

    /// In memory no time passes, so the counters stand still.
    fn sample_domains(&self) -> Result<Vec<DomainSample>> {
        self.call(&Call::about_host("sample_domains", "sample the domains"), |state| {
            let running = state.machines.iter().filter(|(_, machine)| machine.live.is_some());
            let sample = |(uuid, machine): (&Uuid, &MemoryDomain)| {
                let domain = machine.describe(*uuid)?;
                Ok(DomainSample {
                    uuid: *uuid,
                    name: domain.name,
                    vcpus: domain.vcpus,
                    memory: domain.memory,
                    ..DomainSample::default()
                })
            };
            running.map(sample).collect()
        })
    }

    fn define_domain(&self, xml: &str) -> Result<Uuid> {
        let name = read_description(xml).map(|d| d.name).unwrap_or_default();
        self.call(&Call::about_domain("define_domain", "define", &name), |state| state.define(xml))
    }

    fn domain_xml(&self, domain: Uuid, view: View) -> Result<Option<String>> {
        self.call(&self.on("domain_xml", "describe", domain), |state| {
            if !state.machines.contains_key(&domain) {
                return Ok(None);
            }
            state.let_go(domain)?;
            let machine = state.machine(domain)?;
            Ok(Some(match view {
                View::Current => machine.xml().to_owned(),
                // For a transient domain, libvirt shows the running one.
                View::Config => machine.definition.as_deref().unwrap_or(machine.xml()).to_owned(),
            }))
        })
    }

    fn full_definition(&self, domain: Uuid) -> Result<Option<String>> {
        self.call(&self.on("full_definition", "describe", domain), |state| {
            let machine = state.machines.get(&domain);
            Ok(machine.map(|m| m.definition.as_deref().unwrap_or(m.xml()).to_owned()))
        })
    }

    fn set_memory_now(&self, domain: Uuid, memory: Bytes) -> Result<()> {
        self.call(&self.on("set_memory_now", "change the memory of", domain), |state| {
            let live = state.running_domain(domain)?;
            let most = read_description(&live.xml).map_err(|e| to_failure(&e))?.memory;
            if memory > most {
                return Err("invalid argument: cannot set memory higher than max memory".into());
            }
            live.xml = edit::set_memory(&live.xml, memory, most).map_err(|e| to_failure(&e))?;
            Ok(())
        })
    }

    fn set_vcpus_now(&self, domain: Uuid, vcpus: u32) -> Result<()> {
        self.call(&self.on("set_vcpus_now", "change the CPUs of", domain), |state| {
            let live = state.running_domain(domain)?;
            let most = read_description(&live.xml).map_err(|e| to_failure(&e))?.max_vcpus;
            if vcpus > most {
                return Err(format!(
                    "invalid argument: requested vcpus is greater than max allowable vcpus for the live domain: {vcpus} > {most}"
                )
                .into());
            }
            live.xml = edit::set_vcpus(&live.xml, vcpus, most).map_err(|e| to_failure(&e))?;
            Ok(())
        })
    }

    fn update_interface_now(&self, domain: Uuid, xml: &str) -> Result<()> {
        self.call(&self.on("update_interface_now", "change an interface of", domain), |state| {
            let changed = xml::with_interface(&state.running_domain(domain)?.xml, xml);
            let changed = changed.map_err(|e| to_failure(&e))?;
            let changed = changed.ok_or("device not found: no device found with a matching MAC address")?;
            let described = read_description(&changed).map_err(|e| to_failure(&e))?;
            described.interfaces.iter().try_for_each(|i| state.check_interface(i))?;
            state.running_domain(domain)?.xml = changed;
            Ok(())
        })
    }

    fn set_record(&self, domain: Uuid, text: &str) -> Result<()> {
        let call = self.on("set_record", "write foundry's record of", domain);
        self.call(&call, |state| {
            if state.no_room_for_definitions {
                return Err(
                    "cannot write config file '/etc/libvirt/qemu/web.xml.new': No space left on device"
                        .into(),
                );
            }
            let machine = state.machine(domain)?;
            if machine.live.as_ref().is_some_and(|live| live.has_job) {
                let held = "cannot acquire state change lock (held by monitor=remoteDispatchDomainSave)";
                return Err(Failure::Busy(format!("Timed out during operation: {held}")));
            }
            let change = |xml: &str| edit::set_record(xml, text).map_err(|e| to_failure(&e));
            let definition = machine.definition.as_deref().map(change).transpose()?;
            if let Some(live) = &mut machine.live {
                live.xml = change(&live.xml)?;
            }
            machine.definition = definition;
            Ok(())
        })
    }

    fn set_autostart(&self, domain: Uuid, on: bool) -> Result<()> {
        let call = self.on("set_autostart", "set autostart of", domain);
        self.call(&call, |state| {
            let machine = state.machine(domain)?;
            if machine.definition.is_none() {
                return Err(
                    "Requested operation is not valid: cannot set autostart for transient domain".into()
                );
            }
            machine.autostart = on;
            Ok(())
        })
    }

    fn rename_domain(&self, domain: Uuid, name: &str) -> Result<()> {
        self.call(&self.on("rename_domain", "rename", domain), |state| state.rename(domain, name))
    }

    fn start(&self, domain: Uuid) -> Result<()> {
        self.call(&self.on("start", "start", domain), |state| state.start(domain))
    }

    fn start_without_memory(&self, domain: Uuid) -> Result<()> {
        self.call(&self.on("start_without_memory", "start", domain), |state| {
            state.machine(domain)?.saved = None;
            state.start(domain)
        })
    }

    fn start_with_new_variables(&self, domain: Uuid) -> Result<()> {
        self.call(&self.on("start_with_new_variables", "start", domain), |state| {
            state.machine(domain)?.nvram = false;
            state.start(domain)
        })
    }

    /// An existing domain of that name is not changed.
    fn start_transient(&self, xml: &str) -> Result<Uuid> {
        self.call(&Call::about_host("start_transient", "start a guest for a moment"), |state| {
            let name = read_description(xml).map_err(|e| to_failure(&e))?.name;
            if let Some(uuid) = state.find_by_name(&name) {
                return Err(
                    format!("operation failed: domain '{name}' already exists with uuid {uuid}").into()
                );
            }
            let uuid = state.define(xml)?;
            let started = state.start(uuid);
            // A transient domain ends when it stops, or at once if it did not start.
            let gone = state.undefine(uuid, KeptOnUndefine::default());
            started.and(gone).map(|()| uuid)
        })
    }

    fn request_shutdown(&self, domain: Uuid) -> Result<()> {
        let call = self.on("request_shutdown", "shut down", domain);
        self.call(&call, |state| {
            use super::OnShutdown::{AfterLooks, AtOnce, Never};
            let name = state.machine_name(domain);
            let behaviour = state.guest(&name).on_shutdown;
            let live = state.running_domain(domain)?;
            if live.state != DomainState::Running {
                return Err("Requested operation is not valid: domain is not running".into());
            }
            match behaviour {
                AtOnce => state.power_off(domain, StateReason::ShutDown),
                AfterLooks(looks) => live.looks_left = Some(looks),
                Never => {}
            }
            Ok(())
        })
    }

    fn request_reboot(&self, domain: Uuid) -> Result<()> {
        // Its QEMU goes on, so nothing of the domain changes.
        self.call(&self.on("request_reboot", "reboot", domain), |state| {
            state.running_domain(domain).map(drop)
        })
    }

    fn pause(&self, domain: Uuid) -> Result<()> {
        self.call(&self.on("pause", "pause", domain), |state| {
            let live = state.running_domain(domain)?;
            live.state = DomainState::Paused;
            live.why = StateReason::ByUser;
            Ok(())
        })
    }

    fn resume(&self, domain: Uuid) -> Result<()> {
        self.call(&self.on("resume", "resume", domain), |state| {
            let live = state.running_domain(domain)?;
            match live.state {
                DomainState::Running => {
                    Err("Requested operation is not valid: domain is already running".into())
                }
                // The error that paused it pauses it again.
                _ if live.why.is_error(live.state) => Ok(()),
                _ => {
                    live.state = DomainState::Running;
                    live.why = StateReason::NotSaid;
                    Ok(())
                }
            }
        })
    }

    fn force_off(&self, domain: Uuid) -> Result<()> {
        let call = self.on("force_off", "force off", domain);
        self.call(&call, |state| {
            state.power_off(domain, StateReason::Destroyed);
            Ok(())
        })
    }

    fn undefine_keeping(&self, domain: Uuid, kept: KeptOnUndefine) -> Result<()> {
        self.call(&self.on("undefine", "undefine", domain), |state| state.undefine(domain, kept))
    }

    fn saved_xml(&self, domain: Uuid) -> Result<Option<String>> {
        let call = self.on("saved_xml", "describe the saved memory of", domain);
        self.call(&call, |state| Ok(state.machines.get(&domain).and_then(|m| m.saved.clone())))
    }
}

impl HostState {
    pub(super) fn define(&mut self, text: &str) -> StateResult<Uuid> {
        let described = read_description(text).map_err(|e| to_failure(&e))?;
        let name = described.name;
        check_domain_name(&name)?;
        if described.memory.0 == 0 {
            return Err("XML error: Memory size must be specified via <memory>".into());
        }
        let uuid = described.uuid.unwrap_or_else(Uuid::new_v4);
        self.check_identity(&name, uuid)?;
        let definition = xml::with_uuid(text, uuid).map_err(|e| to_failure(&e))?;
        let new = MemoryDomain {
            name,
            definition: None,
            live: None,
            autostart: false,
            nvram: false,
            saved: None,
            why_off: StateReason::NotSaid,
            snapshots: Vec::new(),
        };
        self.machines.entry(uuid).or_insert(new).definition = Some(definition);
        Ok(uuid)
    }

    /// Name and UUID must be unique.
    fn check_identity(&self, name: &str, uuid: Uuid) -> StateResult<()> {
        if let Some(holder) = self.find_by_name(name).filter(|holder| *holder != uuid) {
            return Err(format!("operation failed: domain '{name}' already exists with uuid {holder}").into());
        }
        match self.machines.get(&uuid).filter(|m| m.name != name) {
            Some(m) => {
                Err(format!("operation failed: domain '{}' is already defined with uuid {uuid}", m.name)
                    .into())
            }
            None => Ok(()),
        }
    }

    pub(super) fn rename(&mut self, uuid: Uuid, new: &str) -> StateResult<()> {
        check_domain_name(new)?;
        let taken = self.find_by_name(new).is_some();
        let machine = self.machine(uuid)?;
        if machine.live.is_some() {
            return Err("Requested operation is not valid: cannot rename active domain".into());
        }
        if machine.saved.is_some() {
            let saved = "Operation not supported: domain with a managed saved state can't be renamed";
            return Err(saved.into());
        }
        if taken {
            return Err(format!("operation failed: domain with name '{new}' already exists").into());
        }
        self.replace_name(uuid, new)
    }

    pub(super) fn replace_name(&mut self, uuid: Uuid, new: &str) -> StateResult<()> {
        let machine = self.machine(uuid)?;
        let name = |name: &str| format!("<name>{}</name>", quick_xml::escape::escape(name));
        let old = std::mem::replace(&mut machine.name, new.to_owned());
        machine.definition = machine.definition.take().map(|xml| xml.replacen(&name(&old), &name(new), 1));
        Ok(())
    }

    pub(super) fn start(&mut self, uuid: Uuid) -> StateResult<()> {
        let machine = self.machine(uuid)?;
        if machine.live.is_some() {
            return Err("Requested operation is not valid: domain is already running".into());
        }
        // Saved memory continues with the definition that it was saved with.
        let definition = machine.saved.clone().unwrap_or_else(|| machine.xml().to_owned());
        let name = machine.name.clone();
        let described = read_description(&definition).map_err(|e| to_failure(&e))?;
        self.check_disks(&described)?;
        described.interfaces.iter().try_for_each(|i| self.check_interface(i))?;
        let shown = xml::with_backing_chains(&definition, |path| self.backing_chain(path))
            .and_then(|shown| xml::as_started(&shown, &described))
            .map_err(|e| to_failure(&e))?;
        let stopped = self.guest(&name).stops_by_error;
        let machine = self.machine(uuid)?;
        machine.saved = None;
        machine.nvram |= described.firmware.as_deref() == Some("efi") || described.nvram.is_some();
        machine.live = Some(Live::new(shown, stopped));
        Ok(())
    }

    /// In libvirt an active domain keeps running without a definition.
    fn undefine(&mut self, uuid: Uuid, kept: KeptOnUndefine) -> StateResult<()> {
        let Some(machine) = self.machines.get_mut(&uuid) else { return Ok(()) };
        if kept.saved && machine.saved.is_some() {
            return Err("Requested operation is not valid: Refusing to undefine while domain managed save image exists".into());
        }
        // libvirt deletes the file that the definition names, even if others name it, too.
        let named = machine.definition.take().and_then(|xml| read_description(&xml).ok()?.nvram);
        machine.autostart = false;
        machine.saved = None;
        machine.nvram = false;
        if machine.live.is_none() {
            self.machines.remove(&uuid);
        }
        named.filter(|_| !kept.nvram).map(|path| self.files.remove(&path));
        Ok(())
    }
}

fn check_domain_name(name: &str) -> StateResult<()> {
    match name.chars().find(|c| matches!(c, '/' | '\n')) {
        Some(c) => Err(format!("XML error: name {name} cannot contain '{c}'").into()),
        None => Ok(()),
    }
}
