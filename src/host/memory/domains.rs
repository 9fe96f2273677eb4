//! Domains: what libvirt's QEMU driver does with them.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Answer, Failure, Guest, Live, Machine, State, xml};
use crate::libvirt_xml::{DiskSource, DomainDescription, InterfaceDescription};
use crate::{AddressSource, Domain, DomainState, GuestAddress, HostError, Kept, StateNow, View, Why};

/// What cannot be read was given by the caller, so it is a refusal.
pub(super) fn refused(error: &HostError) -> Failure {
    Failure::Refused(format!("XML error: {}", error.cause().unwrap_or_default()))
}

impl Machine {
    /// What describes it now.
    pub(super) fn xml(&self) -> &str {
        let live = self.live.as_ref().map(|live| live.xml.as_str());
        live.or(self.definition.as_deref()).unwrap_or_default()
    }

    pub(super) fn state(&self) -> DomainState {
        self.live.as_ref().map_or(DomainState::ShutOff, |live| live.state)
    }

    fn why(&self) -> Why {
        self.live.as_ref().map_or(self.why_off, |live| live.why)
    }

    fn describe(&self, uuid: Uuid) -> Answer<Domain> {
        let described = DomainDescription::read(self.xml()).map_err(|e| refused(&e))?;
        Ok(Domain {
            uuid,
            name: self.name.clone(),
            state: self.state(),
            why: self.why(),
            vcpus: described.vcpus,
            memory: described.memory,
            persistent: self.definition.is_some(),
            autostart: self.autostart,
            saved: self.live.is_none() && self.saved.is_some(),
            record: described.record,
        })
    }
}

impl State {
    pub(super) fn machine_name(&self, uuid: Uuid) -> String {
        // libvirt names what it does not find by UUID.
        self.machines.get(&uuid).map_or_else(|| uuid.to_string(), |m| m.name.clone())
    }

    pub(super) fn machine(&mut self, uuid: Uuid) -> Answer<&mut Machine> {
        let absent = || format!("Domain not found: no domain with matching uuid '{uuid}'");
        self.machines.get_mut(&uuid).ok_or_else(|| absent().into())
    }

    pub(super) fn active(&mut self, uuid: Uuid) -> Answer<&mut Live> {
        let live = self.machine(uuid)?.live.as_mut();
        live.ok_or_else(|| "Requested operation is not valid: domain is not running".into())
    }

    pub(super) fn named(&self, name: &str) -> Option<Uuid> {
        self.machines.iter().find(|(_, m)| m.name == name).map(|(uuid, _)| *uuid)
    }

    pub(super) fn guest(&self, name: &str) -> Guest {
        self.guests.get(name).cloned().unwrap_or_default()
    }

    pub(super) fn domains(&mut self, active_only: bool) -> Answer<Vec<Domain>> {
        let uuids: Vec<_> = self.machines.keys().copied().collect();
        uuids.into_iter().for_each(|uuid| self.look(uuid));
        let listed = self.machines.iter().filter(|(_, m)| !active_only || m.live.is_some());
        listed.map(|(uuid, m)| m.describe(*uuid)).collect()
    }

    pub(super) fn domain(&mut self, name: &str) -> Answer<Option<Domain>> {
        let Some(uuid) = self.named(name) else { return Ok(None) };
        self.look(uuid);
        self.machines.get(&uuid).map(|m| m.describe(uuid)).transpose()
    }

    pub(super) fn state_now(&mut self, uuid: Uuid) -> Option<StateNow> {
        self.look(uuid);
        let machine = self.machines.get(&uuid)?;
        Some(StateNow { state: machine.state(), why: machine.why() })
    }

    /// Lets time pass for a guest: it has no other clock than the looks at it.
    fn look(&mut self, uuid: Uuid) {
        let live = self.machines.get_mut(&uuid).and_then(|m| m.live.as_mut());
        match live.and_then(|live| live.looks_left.as_mut()) {
            Some(0) => self.power_off(uuid, Why::ShutDown),
            Some(left) => *left -= 1,
            None => {}
        }
    }

    /// A transient domain is gone when it is off.
    fn power_off(&mut self, uuid: Uuid, why: Why) {
        if let Some(machine) = self.machines.get_mut(&uuid) {
            if machine.live.take().is_some() {
                machine.why_off = why;
            }
            if machine.definition.is_none() {
                self.machines.remove(&uuid);
            }
        }
    }

    pub(super) fn define(&mut self, text: &str) -> Answer<Uuid> {
        let described = DomainDescription::read(text).map_err(|e| refused(&e))?;
        let name = described.name;
        check_domain_name(&name)?;
        if described.memory.0 == 0 {
            return Err("XML error: Memory size must be specified via <memory>".into());
        }
        let uuid = described.uuid.unwrap_or_else(Uuid::new_v4);
        self.check_identity(&name, uuid)?;
        let definition = xml::with_uuid(text, uuid).map_err(|e| refused(&e))?;
        let new = Machine {
            name,
            definition: None,
            live: None,
            autostart: false,
            nvram: false,
            saved: None,
            why_off: Why::NotSaid,
            snapshots: Vec::new(),
        };
        self.machines.entry(uuid).or_insert(new).definition = Some(definition);
        Ok(uuid)
    }

    /// A name belongs to one UUID and a UUID to one name.
    fn check_identity(&self, name: &str, uuid: Uuid) -> Answer<()> {
        if let Some(holder) = self.named(name).filter(|holder| *holder != uuid) {
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

    pub(super) fn domain_xml(&mut self, uuid: Uuid, view: View) -> Answer<Option<String>> {
        if !self.machines.contains_key(&uuid) {
            return Ok(None);
        }
        self.let_go(uuid)?;
        let machine = self.machine(uuid)?;
        Ok(Some(match view {
            View::Current => machine.xml().to_owned(),
            // Of a transient domain libvirt shows what runs.
            View::Persistent => machine.definition.as_deref().unwrap_or(machine.xml()).to_owned(),
        }))
    }

    pub(super) fn set_record(&mut self, uuid: Uuid, text: &str) -> Answer<()> {
        if self.no_room_for_definitions {
            return Err(
                "cannot write config file '/etc/libvirt/qemu/web.xml.new': No space left on device".into()
            );
        }
        let machine = self.machine(uuid)?;
        if machine.live.as_ref().is_some_and(|live| live.has_job) {
            let held = "cannot acquire state change lock (held by monitor=remoteDispatchDomainSave)";
            return Err(Failure::Busy(format!("Timed out during operation: {held}")));
        }
        let change = |xml: &str| xml::with_record(xml, text).map_err(|e| refused(&e));
        let definition = machine.definition.as_deref().map(change).transpose()?;
        if let Some(live) = &mut machine.live {
            live.xml = change(&live.xml)?;
        }
        machine.definition = definition;
        Ok(())
    }

    pub(super) fn set_autostart(&mut self, uuid: Uuid, on: bool) -> Answer<()> {
        let machine = self.machine(uuid)?;
        if machine.definition.is_none() {
            return Err("Requested operation is not valid: cannot set autostart for transient domain".into());
        }
        machine.autostart = on;
        Ok(())
    }

    pub(super) fn start(&mut self, uuid: Uuid) -> Answer<()> {
        let machine = self.machine(uuid)?;
        if machine.live.is_some() {
            return Err("Requested operation is not valid: domain is already running".into());
        }
        // What was saved goes on with the description that it had then.
        let definition = machine.saved.clone().unwrap_or_else(|| machine.xml().to_owned());
        let name = machine.name.clone();
        let described = DomainDescription::read(&definition).map_err(|e| refused(&e))?;
        self.check_disks(&described)?;
        described.interfaces.iter().try_for_each(|i| self.check_interface(i))?;
        let shown =
            xml::with_backing_chains(&definition, |path| self.chain(path)).map_err(|e| refused(&e))?;
        let stopped = self.guest(&name).stops_by_error;
        let machine = self.machine(uuid)?;
        machine.saved = None;
        machine.nvram |= described.firmware.as_deref() == Some("efi") || described.nvram.is_some();
        machine.live = Some(Live::new(shown, stopped));
        Ok(())
    }

    /// A domain of that name that is there already stays as it is.
    pub(super) fn run_for_a_moment(&mut self, text: &str) -> Answer<Uuid> {
        let name = DomainDescription::read(text).map_err(|e| refused(&e))?.name;
        if let Some(uuid) = self.named(&name) {
            return Err(format!("operation failed: domain '{name}' already exists with uuid {uuid}").into());
        }
        let uuid = self.define(text)?;
        let started = self.start(uuid);
        // Without a definition it is gone when it stops, or at once where it did not start.
        let gone = self.undefine(uuid, Kept::default());
        started.and(gone).map(|()| uuid)
    }

    /// A disk's volume and every file below it must be there.
    fn check_disks(&self, domain: &DomainDescription) -> Answer<()> {
        for disk in &domain.disks {
            match &disk.source {
                DiskSource::File(path) | DiskSource::Block(path) | DiskSource::Rbd(path) => {
                    self.check_files(path)?;
                }
                DiskSource::Volume { pool, volume } => {
                    self.check_files(&self.known_path(pool, volume)?)?;
                }
                DiskSource::None | DiskSource::Other(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn check_files(&self, path: &str) -> Answer<()> {
        let chain = std::iter::once(path.to_owned()).chain(self.chain(path));
        let missing = chain.into_iter().find(|path| !self.files.contains_key(path));
        let refusal =
            |p| Failure::from(format!("Cannot access storage file '{p}': No such file or directory"));
        missing.map_or(Ok(()), |path| Err(refusal(path)))
    }

    /// Paths below a file, nearest first; one that is missing ends it.
    pub(super) fn chain(&self, path: &str) -> Vec<String> {
        let below = |path: &String| self.files.get(path)?.backing.clone();
        // No more steps than there are files: somebody may have made a circle.
        std::iter::successors(below(&path.to_owned()), below).take(self.files.len() + 1).collect()
    }

    fn check_interface(&self, interface: &InterfaceDescription) -> Answer<()> {
        let source = interface.source.as_deref().unwrap_or_default();
        match (interface.kind.as_str(), &self.bridges) {
            ("network", _) => match self.networks.get(source) {
                Some(true) => Ok(()),
                Some(false) => {
                    Err(format!("Requested operation is not valid: network '{source}' is not active").into())
                }
                None => Err(format!("Network not found: no network with matching name '{source}'").into()),
            },
            ("bridge", Some(bridges)) if !bridges.iter().any(|b| b.name == source) => {
                Err(format!("Cannot get interface MTU on '{source}': No such device").into())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn request_shutdown(&mut self, uuid: Uuid) -> Answer<()> {
        use super::OnShutdown::{AfterLooks, AtOnce, Never};
        let name = self.machine_name(uuid);
        let behaviour = self.guest(&name).on_shutdown;
        let live = self.active(uuid)?;
        if live.state != DomainState::Running {
            return Err("Requested operation is not valid: domain is not running".into());
        }
        match behaviour {
            AtOnce => self.power_off(uuid, Why::ShutDown),
            AfterLooks(looks) => live.looks_left = Some(looks),
            Never => {}
        }
        Ok(())
    }

    pub(super) fn resume(&mut self, uuid: Uuid) -> Answer<()> {
        let live = self.active(uuid)?;
        match live.state {
            DomainState::Running => Err("Requested operation is not valid: domain is already running".into()),
            // What stopped it once stops it again.
            _ if live.why.is_error(live.state) => Ok(()),
            _ => {
                live.state = DomainState::Running;
                live.why = Why::NotSaid;
                Ok(())
            }
        }
    }

    pub(super) fn force_off(&mut self, uuid: Uuid) {
        self.power_off(uuid, Why::Destroyed);
    }

    /// libvirt lets an active domain run on without a definition.
    pub(super) fn undefine(&mut self, uuid: Uuid, kept: Kept) -> Answer<()> {
        let Some(machine) = self.machines.get_mut(&uuid) else { return Ok(()) };
        if kept.saved && machine.saved.is_some() {
            return Err("Requested operation is not valid: Refusing to undefine while domain managed save image exists".into());
        }
        // libvirt removes the file that the definition names, whoever else names it.
        let named = machine.definition.take().and_then(|xml| DomainDescription::read(&xml).ok()?.nvram);
        machine.autostart = false;
        machine.saved = None;
        machine.nvram = false;
        if machine.live.is_none() {
            self.machines.remove(&uuid);
        }
        named.filter(|_| !kept.nvram).map(|path| self.files.remove(&path));
        Ok(())
    }

    pub(super) fn addresses(&mut self, uuid: Uuid, source: AddressSource) -> Answer<Vec<GuestAddress>> {
        let Some(machine) = self.machines.get_mut(&uuid) else { return Ok(Vec::new()) };
        let (name, live) = (machine.name.clone(), machine.live.as_mut());
        let Some(live) = live.filter(|live| live.state == DomainState::Running) else {
            return Ok(Vec::new());
        };
        let looks = live.address_looks;
        live.address_looks += 1;
        Ok(self.guest(&name).addresses_of(source, looks))
    }

    pub(super) fn agent(&mut self, uuid: Uuid, command: &str) -> Answer<Option<String>> {
        let Some(machine) = self.machines.get_mut(&uuid) else { return Ok(None) };
        let (name, live) = (machine.name.clone(), machine.live.as_mut());
        let Some(live) = live.filter(|live| live.state == DomainState::Running) else { return Ok(None) };
        let looks = live.agent_looks;
        live.agent_looks += 1;
        Ok(self.guest(&name).answer(command, looks))
    }
}

impl Live {
    pub(super) fn new(xml: String, stopped_by_error: bool) -> Self {
        let state = if stopped_by_error { DomainState::Paused } else { DomainState::Running };
        Self {
            xml,
            state,
            why: Why::NotSaid,
            looks_left: None,
            address_looks: 0,
            agent_looks: 0,
            unplugging: BTreeMap::new(),
            block_jobs: BTreeSet::new(),
            has_job: false,
        }
    }
}

fn check_domain_name(name: &str) -> Answer<()> {
    match name.chars().find(|c| matches!(c, '/' | '\n')) {
        Some(c) => Err(format!("XML error: name {name} cannot contain '{c}'").into()),
        None => Ok(()),
    }
}
