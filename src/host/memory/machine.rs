//! The parts of a domain, and what it needs to run.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::described::read_description;
use super::{Failure, Guest, HostState, Live, MemoryDomain, StateResult, to_failure};
use crate::libvirt_xml::{DiskSource, DomainDescription, InterfaceDescription};
use crate::{Domain, DomainState, StateNow, StateReason};

impl MemoryDomain {
    /// Its current XML.
    pub(super) fn xml(&self) -> &str {
        let live = self.live.as_ref().map(|live| live.xml.as_str());
        live.or(self.definition.as_deref()).unwrap_or_default()
    }

    pub(super) fn state(&self) -> DomainState {
        self.live.as_ref().map_or(DomainState::ShutOff, |live| live.state)
    }

    fn why(&self) -> StateReason {
        self.live.as_ref().map_or(self.why_off, |live| live.why)
    }

    pub(super) fn describe(&self, uuid: Uuid) -> StateResult<Domain> {
        let described = read_description(self.xml()).map_err(|e| to_failure(&e))?;
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

impl HostState {
    pub(super) fn machine_name(&self, uuid: Uuid) -> String {
        // libvirt's messages name an unknown domain by its UUID.
        self.machines.get(&uuid).map_or_else(|| uuid.to_string(), |m| m.name.clone())
    }

    pub(super) fn machine(&mut self, uuid: Uuid) -> StateResult<&mut MemoryDomain> {
        let absent = || format!("Domain not found: no domain with matching uuid '{uuid}'");
        self.machines.get_mut(&uuid).ok_or_else(|| absent().into())
    }

    pub(super) fn running_domain(&mut self, uuid: Uuid) -> StateResult<&mut Live> {
        let live = self.machine(uuid)?.live.as_mut();
        live.ok_or_else(|| "Requested operation is not valid: domain is not running".into())
    }

    pub(super) fn find_by_name(&self, name: &str) -> Option<Uuid> {
        self.machines.iter().find(|(_, m)| m.name == name).map(|(uuid, _)| *uuid)
    }

    pub(super) fn guest(&self, name: &str) -> Guest {
        self.guests.get(name).cloned().unwrap_or_default()
    }

    pub(super) fn state_now(&mut self, uuid: Uuid) -> Option<StateNow> {
        self.pass_time(uuid);
        let machine = self.machines.get(&uuid)?;
        Some(StateNow { state: machine.state(), why: machine.why() })
    }

    /// Lets time pass for a guest. Its only clock is the number of queries.
    pub(super) fn pass_time(&mut self, uuid: Uuid) {
        let live = self.machines.get_mut(&uuid).and_then(|m| m.live.as_mut());
        match live.and_then(|live| live.looks_left.as_mut()) {
            Some(0) => self.power_off(uuid, StateReason::ShutDown),
            Some(left) => *left -= 1,
            None => {}
        }
    }

    /// A transient domain ends when it stops.
    pub(super) fn power_off(&mut self, uuid: Uuid, why: StateReason) {
        if let Some(machine) = self.machines.get_mut(&uuid) {
            if machine.live.take().is_some() {
                machine.why_off = why;
            }
            if machine.definition.is_none() {
                self.machines.remove(&uuid);
            }
        }
    }

    /// A disk's volume and its whole backing chain must exist.
    pub(super) fn check_disks(&self, domain: &DomainDescription) -> StateResult<()> {
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

    pub(super) fn check_files(&self, path: &str) -> StateResult<()> {
        let chain = std::iter::once(path.to_owned()).chain(self.backing_chain(path));
        let missing = chain.into_iter().find(|path| !self.files.contains_key(path));
        let refusal =
            |p| Failure::from(format!("Cannot access storage file '{p}': No such file or directory"));
        missing.map_or(Ok(()), |path| Err(refusal(path)))
    }

    /// The backing chain below a file, nearest first; it ends at a missing file.
    pub(super) fn backing_chain(&self, path: &str) -> Vec<String> {
        let below = |path: &String| self.files.get(path)?.backing.clone();
        // At most as many links as there are files, because a chain can be circular.
        std::iter::successors(below(&path.to_owned()), below).take(self.files.len() + 1).collect()
    }

    pub(super) fn check_interface(&self, interface: &InterfaceDescription) -> StateResult<()> {
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
}

impl Live {
    pub(super) fn new(xml: String, stopped_by_error: bool) -> Self {
        let state = if stopped_by_error { DomainState::Paused } else { DomainState::Running };
        Self {
            xml,
            state,
            why: StateReason::NotSaid,
            looks_left: None,
            address_looks: 0,
            agent_looks: 0,
            unplugging: BTreeMap::new(),
            block_jobs: BTreeSet::new(),
            frozen: false,
            has_job: false,
            console_session: 0,
            console_output: Vec::new(),
        }
    }
}
