//! Sets up a host for a test, and changes it from outside.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use uuid::Uuid;

use super::calls::Calls;
use super::{File, Guest, HostState, Live, MemoryHost, MemorySnapshot, PoolCell, SharedState};
use crate::{
    Bridge, Capabilities, DomainState, GuestMachine, Machine, Neighbourhood, Network, SecurityModel,
    StateReason,
};
use foundry_core::units::Bytes;

/// The default size of the file system.
const SPACE: u64 = 1 << 40;

impl Default for MemoryHost {
    fn default() -> Self {
        Self::new()
    }
}

/// Builds a host. Nothing is checked.
impl MemoryHost {
    /// An empty x86 host with KVM and libvirt 11.3.
    pub fn new() -> Self {
        let types = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect();
        let capabilities = Capabilities {
            hostname: "memory".into(),
            libvirt_version: 11_003_000,
            arch: "x86_64".into(),
            cpu: "Skylake-Client (0123abcd)".into(),
            guests: [
                ("x86_64".into(), types(&["qemu", "kvm"])),
                ("i686".into(), types(&["qemu", "kvm"])),
                ("aarch64".into(), types(&["qemu"])),
            ]
            .into(),
            security: vec![SecurityModel { name: "dac".into(), label: Some("+64055:+64055".into()) }],
            took: Duration::ZERO,
        };
        let machine = Machine {
            hypervisor_version: 10_000_002,
            memory: Bytes(64 << 30),
            free_memory: Bytes(48 << 30),
            iommu: Some(true),
        };
        let guest_machine = GuestMachine {
            name: "pc-q35-10.0".into(),
            max_vcpus: Some(288),
            firmware: types(&["efi"]),
            loaders: types(&["/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd"]),
            secure_boot: Some(true),
            graphics: types(&["vnc"]),
            nested: true,
        };
        let state = HostState { space: SPACE, ..HostState::default() };
        Self {
            capabilities,
            machine,
            guest_machine,
            local: false,
            busy: Arc::default(),
            has_events: false,
            locks: None,
            inside: Arc::new(Mutex::new(SharedState { state, calls: Calls::default() })),
        }
    }

    /// A host of its own in the same state, without the log of calls, pending faults, and watchers. A test that needs the
    /// same host many times makes it once.
    pub fn fork(&self) -> Self {
        let state = HostState { watchers: Vec::new(), ..self.lock_inside().state.clone() };
        Self {
            busy: Arc::new(AtomicBool::new(self.busy.load(Ordering::SeqCst))),
            inside: Arc::new(Mutex::new(SharedState { state, calls: Calls::default() })),
            ..self.clone()
        }
    }

    /// Makes concurrent foundry processes use locks, as on one machine. Without this they do not see each other, as on
    /// two machines.
    ///
    /// # Errors
    /// If the directory for the locks cannot be created.
    pub fn with_locks(mut self) -> std::io::Result<Self> {
        self.locks = Some(Arc::new(tempfile::tempdir()?));
        Ok(self)
    }

    /// Sets its capabilities: architectures, domain types, security drivers.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Sets the properties of its machine.
    #[must_use]
    pub fn with_machine(mut self, machine: Machine) -> Self {
        self.machine = machine;
        self
    }

    /// Sets the capabilities of guests of every machine type.
    #[must_use]
    pub fn with_guest_machine(mut self, machine: GuestMachine) -> Self {
        self.guest_machine = machine;
        self
    }

    /// Makes it the local machine.
    #[must_use]
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// Adds a started, autostarted directory pool.
    #[must_use]
    pub fn with_pool(self, name: &str, target: &str) -> Self {
        self.with_change(|state| {
            let pool = PoolCell { active: true, autostart: true, ..PoolCell::directory(target) };
            state.directories.insert(target.into());
            state.pools.insert(name.into(), pool);
        })
    }

    /// Adds a stopped directory pool.
    #[must_use]
    pub fn with_inactive_pool(self, name: &str, target: &str) -> Self {
        self.with_pool(name, target).with_change(|state| {
            state.pools.insert(name.into(), PoolCell::directory(target));
        })
    }

    /// Adds a source for pools: a directory, or the path of a volume group or dataset.
    #[must_use]
    pub fn with_directory(self, path: &str) -> Self {
        self.with_change(|state| state.directories.extend([path.to_owned()]))
    }

    /// Adds a started pool from its XML (libvirt's `<pool>`), with its source. Unreadable XML adds nothing.
    #[must_use]
    pub fn with_pool_of(self, xml: &str) -> Self {
        self.with_change(|state| {
            let Ok(name) = state.define_pool(xml) else { return };
            if let Some(pool) = state.pools.get_mut(&name) {
                (pool.active, pool.autostart) = (true, true);
                state.directories.insert(pool.target.clone());
            }
        })
    }

    /// Adds an empty image to a pool, which is created if missing.
    #[must_use]
    pub fn with_image(self, pool: &str, name: &str, format: &str, capacity: u64) -> Self {
        self.with_volume_file(pool, name, File::image(format, capacity))
    }

    /// Adds an overlay of another file to a pool.
    #[must_use]
    pub fn with_overlay(self, pool: &str, name: &str, capacity: u64, backing: &str) -> Self {
        self.with_volume_file(pool, name, File::new("qcow2", capacity, Some(backing.into())))
    }

    /// Adds a volume with content; its format is detected.
    #[must_use]
    pub fn with_volume(self, pool: &str, name: &str, content: &[u8]) -> Self {
        self.with_volume_file(pool, name, File::with_content(content))
    }

    fn with_volume_file(self, pool: &str, name: &str, file: File) -> Self {
        let there = self.lock_inside().state.pools.contains_key(pool);
        let host = if there { self } else { self.with_pool(pool, &format!("/pool/{pool}")) };
        host.with_change(|state| {
            if let Some(cell) = state.pools.get_mut(pool) {
                cell.known.insert(name.into());
                state.files.insert(cell.path(name), file);
            }
        })
    }

    /// Adds a file that libvirt has not seen, in a pool's directory or elsewhere.
    #[must_use]
    pub fn with_file(self, path: &str, content: &[u8]) -> Self {
        self.with_change(|state| drop(state.files.insert(path.into(), File::with_content(content))))
    }

    /// Defines a foreign domain from its `<domain>` XML. Unreadable XML defines nothing.
    #[must_use]
    pub fn with_foreign_domain(self, xml: &str) -> Self {
        self.with_change(|state| drop(state.define(xml)))
    }

    /// Adds a libvirt network.
    #[must_use]
    pub fn with_network(self, name: &str, active: bool) -> Self {
        self.with_change(|state| {
            state.networks.insert(name.into(), active);
        })
    }

    /// Adds a libvirt network with all its details.
    #[must_use]
    pub fn with_network_of(self, network: Network) -> Self {
        self.with_change(|state| {
            state.networks.insert(network.name.clone(), network.active);
            state.known_networks.insert(network.name.clone(), network);
        })
    }

    /// Sets the interfaces and addresses of its machine. Without this they are unknown, as on a remote host.
    #[must_use]
    pub fn with_neighbourhood(self, neighbourhood: Neighbourhood) -> Self {
        self.with_change(|state| state.neighbourhood = Some(neighbourhood))
    }

    /// Sets the bridges of its kernel. Without this they are unknown, as on a remote host, and a domain on any bridge
    /// starts.
    #[must_use]
    pub fn with_bridges(self, bridges: &[Bridge]) -> Self {
        self.with_change(|state| state.bridges = Some(bridges.to_vec()))
    }

    /// Sets the behaviour of a guest, which may not exist yet.
    #[must_use]
    pub fn with_guest(self, name: &str, guest: Guest) -> Self {
        self.with_change(|state| drop(state.guests.insert(name.into(), guest)))
    }

    /// Sets the size of the file system that all pools are on.
    #[must_use]
    pub fn with_space(self, bytes: u64) -> Self {
        self.with_change(|state| state.space = bytes)
    }

    /// Sets how many disks can be hot-plugged.
    #[must_use]
    pub fn with_free_slots(self, count: usize) -> Self {
        self.with_change(|state| state.slots = Some(count))
    }

    fn with_change(self, act: impl FnOnce(&mut HostState)) -> Self {
        act(&mut self.lock_inside().state);
        self
    }
}

/// Changes from outside foundry.
impl MemoryHost {
    /// Sets the state of a domain, if it exists.
    pub fn set_state(&self, name: &str, now: DomainState) {
        // Only the hypervisor pauses a domain without a reason.
        self.set_state_because(
            name,
            now,
            if now == DomainState::Paused { StateReason::ByUser } else { StateReason::NotSaid },
        );
    }

    /// The same, with libvirt's reason.
    pub fn set_state_because(&self, name: &str, now: DomainState, why: StateReason) {
        let state = &mut self.lock_inside().state;
        let Some(machine) = state.find_by_name(name).and_then(|uuid| state.machines.get_mut(&uuid)) else {
            return;
        };
        let definition = machine.definition.clone().unwrap_or_default();
        machine.live = now.is_active().then(|| Live { state: now, why, ..Live::new(definition, false) });
        machine.why_off = why;
    }

    /// Gives a domain any name, in any state, if it exists.
    pub fn rename(&self, old: &str, new: &str) {
        let state = &mut self.lock_inside().state;
        if let Some(uuid) = state.find_by_name(old) {
            let _ = state.replace_name(uuid, new);
        }
    }

    /// Changes the behaviour of a guest.
    pub fn set_guest(&self, name: &str, guest: Guest) {
        self.lock_inside().state.guests.insert(name.into(), guest);
    }

    /// Adds snapshots of a domain in its current state.
    pub fn set_snapshots(&self, name: &str, snapshots: &[&str]) {
        let state = &mut self.lock_inside().state;
        let Some(machine) = state.find_by_name(name).and_then(|uuid| state.machines.get_mut(&uuid)) else {
            return;
        };
        let definition = machine.definition.clone().unwrap_or_default();
        let snapshot = |name: &&str| MemorySnapshot {
            name: (*name).to_owned(),
            xml: format!("<domainsnapshot><name>{name}</name>{definition}</domainsnapshot>"),
        };
        machine.snapshots = snapshots.iter().map(snapshot).collect();
    }

    /// Adds a snapshot by its description, as another tool made it.
    pub fn add_snapshot(&self, name: &str, snapshot: &str, xml: &str) {
        let state = &mut self.lock_inside().state;
        let found = state.find_by_name(name).and_then(|uuid| state.machines.get_mut(&uuid));
        if let Some(machine) = found {
            machine.snapshots.push(MemorySnapshot { name: snapshot.to_owned(), xml: xml.to_owned() });
        }
    }

    /// Freezes the file systems of a running guest, as a backup does.
    pub fn freeze(&self, name: &str) {
        let state = &mut self.lock_inside().state;
        let found = state.find_by_name(name).and_then(|uuid| state.machines.get_mut(&uuid));
        if let Some(live) = found.and_then(|machine| machine.live.as_mut()) {
            live.frozen = true;
        }
    }

    /// Whether the file systems of a guest are frozen.
    pub fn is_frozen(&self, name: &str) -> bool {
        let state = &self.lock_inside().state;
        let machine = state.machines.values().find(|machine| machine.name == name);
        machine.and_then(|machine| machine.live.as_ref()).is_some_and(|live| live.frozen)
    }

    /// Saves the memory of a running domain and stops it, as `virsh managedsave` does. For a stopped domain, it adds
    /// saved memory with its definition.
    pub fn save(&self, name: &str) {
        let state = &mut self.lock_inside().state;
        let Some(machine) = state.find_by_name(name).and_then(|uuid| state.machines.get_mut(&uuid)) else {
            return;
        };
        machine.saved = Some(machine.xml().to_owned());
        if machine.live.take().is_some() {
            machine.why_off = StateReason::Saved;
        }
    }

    /// Lets a libvirt job block a running domain until it is off, as with a hung QEMU.
    pub fn set_job(&self, name: &str) {
        let state = &mut self.lock_inside().state;
        let machine = state.find_by_name(name).and_then(|uuid| state.machines.get_mut(&uuid));
        if let Some(live) = machine.and_then(|m| m.live.as_mut()) {
            live.has_job = true;
        }
    }

    /// Leaves no space for definitions until a volume is deleted.
    pub fn fill_definitions(&self) {
        self.lock_inside().state.no_room_for_definitions = true;
    }

    /// Starts a block job on a disk of a running domain.
    pub fn set_block_job(&self, name: &str, target: &str) {
        let state = &mut self.lock_inside().state;
        let machine = state.find_by_name(name).and_then(|uuid| state.machines.get_mut(&uuid));
        if let Some(live) = machine.and_then(|m| m.live.as_mut()) {
            live.block_jobs.insert(target.to_owned());
        }
    }

    /// Enables domain events.
    #[must_use]
    pub fn with_events(self) -> Self {
        Self { has_events: true, ..self }
    }

    /// Makes another foundry hold all locks, or none.
    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
    }

    /// Sets the space that others use, without libvirt's knowledge.
    pub fn take_space(&self, bytes: u64) {
        self.lock_inside().state.others = bytes;
    }

    /// Adds a file without libvirt's knowledge.
    pub fn put_file(&self, path: &str, content: &[u8]) {
        self.lock_inside().state.files.insert(path.into(), File::with_content(content));
    }

    /// Deletes a file without libvirt's knowledge.
    pub fn remove_file(&self, path: &str) {
        self.lock_inside().state.files.remove(path);
    }

    /// The paths of all files, sorted.
    pub fn files(&self) -> Vec<String> {
        self.lock_inside().state.files.keys().cloned().collect()
    }

    /// The start of a file, as far as it was written.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.lock_inside().state.files.get(path).map(|file| file.content.clone())
    }

    /// The UUID of a domain, without a call.
    pub fn uuid_of(&self, name: &str) -> Option<Uuid> {
        self.lock_inside().state.find_by_name(name)
    }
}
