//! Saved memory in files, and hot-plugged interfaces: what libvirt's QEMU driver does with them.

use uuid::Uuid;

use super::described::read_description;
use super::{File, HostState, MemoryHost, StateResult, calls::Call, to_failure, xml};
use crate::libvirt_xml::edit_warm::with_room;
use crate::{Result, StateReason, WarmStarts};
use foundry_core::saved_memory::{FIXED_LENGTH, SavedMemory};

/// What stands for QEMU's stream.
const STREAM: &[u8] = b"QEVM memory of a guest";

impl WarmStarts for MemoryHost {
    fn save_memory(&self, domain: Uuid, path: &str, room: usize) -> Result<()> {
        self.call(&self.on("save_memory", "save the memory of", domain), |state| {
            let live = state.running_domain(domain)?;
            let text = with_room(&live.xml, room).map_err(|e| to_failure(&e))?;
            let bytes = file_of(&text);
            let file = state.files.entry(path.to_owned()).or_insert_with(|| File::new("raw", 0, None));
            // An existing file is truncated first.
            *file = File::new("raw", 0, None);
            file.write(0, &bytes, bytes.len() as u64);
            state.power_off(domain, StateReason::NotSaid);
            Ok(())
        })
    }

    fn restore_memory(&self, path: &str) -> Result<()> {
        self.call(&Call::about_host("restore_memory", "restore a domain"), |state| {
            let absent = || format!("failed to open file '{path}': No such file or directory");
            let bytes = state.files.get(path).ok_or_else(absent)?.content.clone();
            let text = description_in(&bytes)?;
            state.restore(&text)
        })
    }

    fn attach_interface_now(&self, domain: Uuid, interface: &str) -> Result<()> {
        self.call(&self.on("attach_interface_now", "attach an interface to", domain), |state| {
            let live = state.running_domain(domain)?;
            let with = xml::with_new_interface(&live.xml, interface).map_err(|e| to_failure(&e))?;
            let described = read_description(&with).map_err(|e| to_failure(&e))?;
            described.interfaces.iter().try_for_each(|i| state.check_interface(i))?;
            state.running_domain(domain)?.xml = with;
            Ok(())
        })
    }

    fn detach_interface_now(&self, domain: Uuid, interface: &str) -> Result<()> {
        self.call(&self.on("detach_interface_now", "detach an interface from", domain), |state| {
            let live = state.running_domain(domain)?;
            live.xml = xml::without_interface(&live.xml, interface).map_err(|e| to_failure(&e))?;
            Ok(())
        })
    }
}

impl HostState {
    /// Starts the domain of a file of saved memory.
    fn restore(&mut self, text: &str) -> StateResult<()> {
        let described = read_description(text).map_err(|e| to_failure(&e))?;
        let uuid = described.uuid.unwrap_or_else(Uuid::new_v4);
        let definition = self.machines.get(&uuid).and_then(|machine| machine.definition.clone());
        if self.machines.get(&uuid).is_some_and(|machine| machine.live.is_some()) {
            return Err("Requested operation is not valid: domain is already active".into());
        }
        self.define(text)?;
        let started = self.start(uuid);
        // Its persistent definition, if it had one, is not that of the file.
        let machine = self.machine(uuid)?;
        machine.definition = definition;
        if machine.definition.is_none() && machine.live.is_none() {
            self.machines.remove(&uuid);
        }
        started
    }
}

fn file_of(xml: &str) -> Vec<u8> {
    let mut bytes = b"LibvirtQemudSave".to_vec();
    for word in [2, xml.len() as u32 + 1, 1, 0, 0] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.resize(FIXED_LENGTH, 0);
    bytes.extend_from_slice(xml.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(STREAM);
    bytes
}

fn description_in(bytes: &[u8]) -> StateResult<String> {
    let refused = |e: foundry_core::saved_memory::SavedMemoryError| format!("operation failed: {e}");
    let header = SavedMemory::read_fixed(bytes).map_err(refused)?;
    let (xml, _) = header.split_data(bytes.get(FIXED_LENGTH..).unwrap_or_default()).map_err(refused)?;
    if bytes.get(header.header_length()..).is_none_or(|stream| !stream.starts_with(STREAM)) {
        return Err("operation failed: the memory is not complete".into());
    }
    Ok(xml.to_owned())
}
