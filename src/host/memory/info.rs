//! The machine under the host in memory.

use std::sync::atomic::Ordering;

use super::calls::Call;
use super::{MemoryHost, URI};
use crate::local::lock::LockDirectories;
use crate::{Capabilities, GuestMachine, HostInfo, HostLock, LockError, Machine, Result};
use foundry_core::units::Bytes;

impl HostInfo for MemoryHost {
    fn uri(&self) -> &str {
        URI
    }

    fn is_local(&self) -> bool {
        self.local
    }

    fn lock(&self, thing: &str) -> std::result::Result<HostLock, LockError> {
        if self.busy.load(Ordering::SeqCst) {
            return Err(LockError::Taken(Some(std::process::id())));
        }
        match &self.locks {
            None => Ok(HostLock::free()),
            Some(place) => HostLock::take(&LockDirectories::only(place.path()), thing),
        }
    }

    fn capabilities(&self) -> Result<Capabilities> {
        let call = Call::about_host("capabilities", "ask for the host's capabilities");
        self.call(&call, |_| Ok(self.capabilities.clone()))
    }

    fn machine(&self) -> Result<Machine> {
        self.call(&Call::about_host("machine", "ask for what the host has"), |_| Ok(self.machine.clone()))
    }

    fn guest_machine(&self, arch: &str, machine: &str, virt_type: &str) -> Result<GuestMachine> {
        let call = Call::about_host(
            "guest_machine",
            &format!("ask for what {arch} guests of machine type {machine} can have"),
        );
        let offered =
            self.capabilities.guests.get(arch).is_some_and(|types| types.iter().any(|t| t == virt_type));
        let refusal = || format!("invalid argument: the accel '{virt_type}' is not supported for '{arch}'");
        self.call(&call, |_| if offered { Ok(self.guest_machine.clone()) } else { Err(refusal().into()) })
    }

    fn memory(&self) -> Result<Bytes> {
        self.call(&Call::about_host("memory", "ask for what the host has"), |_| Ok(self.machine.memory))
    }
}
