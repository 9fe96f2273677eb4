//! Domains and their definitions.

use uuid::Uuid;

use crate::libvirt_xml::DomainDescription;
use crate::{Domain, DomainSample, KeptOnUndefine, Result, StateNow, View};
use foundry_core::units::Bytes;

/// Domains: their definitions and states.
pub trait Domains: Send + Sync {
    /// All domains, or only the active ones.
    fn domains(&self, active_only: bool) -> Result<Vec<Domain>>;
    /// The domain of that name.
    fn domain(&self, name: &str) -> Result<Option<Domain>>;
    /// The state of a domain; `None` if it does not exist.
    fn state(&self, domain: Uuid) -> Result<Option<StateNow>>;
    /// The counters of all running domains, in one call.
    fn sample_domains(&self) -> Result<Vec<DomainSample>>;
    /// Defines a new domain. Refused if a domain with another UUID has the name, so the call reserves the name
    /// atomically. A known UUID replaces that domain's definition.
    fn define_domain(&self, xml: &str) -> Result<Uuid>;
    /// The XML description of a domain, without secrets; `None` if it does not exist.
    fn domain_xml(&self, domain: Uuid, view: View) -> Result<Option<String>>;
    /// Reads [`Self::domain_xml`].
    fn describe(&self, domain: Uuid, view: View) -> Result<Option<DomainDescription>> {
        self.domain_xml(domain, view)?.map(|xml| DomainDescription::read(&xml)).transpose()
    }
    /// The persistent definition of a domain with its secrets, to be changed and defined again; `None` if it does not
    /// exist. [`Self::domain_xml`] leaves passwords out, and a definition without them would lose them.
    fn full_definition(&self, domain: Uuid) -> Result<Option<String>>;
    /// Asks the guest of a running domain to leave the rest of its memory to the host, or to take it back. The guest does
    /// so later, if at all. Refused above the maximum of the running domain.
    fn set_memory_now(&self, domain: Uuid, memory: Bytes) -> Result<()>;
    /// Changes the number of CPUs of a running domain. Refused above the maximum of the running domain.
    fn set_vcpus_now(&self, domain: Uuid, vcpus: u32) -> Result<()>;
    /// Changes an interface of a running domain: `xml` is its `<interface>` element, with another bridge or network.
    fn update_interface_now(&self, domain: Uuid, xml: &str) -> Result<()>;
    /// Replaces the text of foundry's metadata element, in the persistent definition if there is one, and in the live
    /// domain if it is active.
    fn set_record(&self, domain: Uuid, text: &str) -> Result<()>;
    /// Sets whether the domain starts with the host.
    fn set_autostart(&self, domain: Uuid, on: bool) -> Result<()>;
    /// Gives a defined domain another name. Its record, its disks and its UUID stay. Refused if the domain is active, if
    /// its memory is saved, or if another domain has the name.
    fn rename_domain(&self, domain: Uuid, name: &str) -> Result<()>;
    /// Starts a defined domain; one with saved memory is restored.
    fn start(&self, domain: Uuid) -> Result<()>;
    /// Starts a defined domain and discards its saved memory, if it has any.
    fn start_without_memory(&self, domain: Uuid) -> Result<()>;
    /// Starts a defined domain with its EFI variables as a new domain has them.
    fn start_with_new_variables(&self, domain: Uuid) -> Result<()>;
    /// Starts a domain without a persistent definition, which ceases to exist when it stops or the connection ends.
    /// Refused if its name is in use.
    fn start_transient(&self, xml: &str) -> Result<Uuid>;
    /// Asks the guest to power off; returns at once.
    fn request_shutdown(&self, domain: Uuid) -> Result<()>;
    /// Asks the guest to restart; returns at once. Its QEMU goes on, so a changed definition does not take effect.
    fn request_reboot(&self, domain: Uuid) -> Result<()>;
    /// Stops the guest's processors; its memory is kept.
    fn pause(&self, domain: Uuid) -> Result<()>;
    /// Resumes a paused domain, or wakes a suspended one.
    fn resume(&self, domain: Uuid) -> Result<()>;
    /// Stops a domain at once, in any active state. A domain that is already off is `Ok`.
    fn force_off(&self, domain: Uuid) -> Result<()>;
    /// Removes the definition with NVRAM, managed save, TPM state and the metadata of snapshots and
    /// checkpoints. The caller has stopped it. A domain that is already gone is `Ok`.
    fn undefine(&self, domain: Uuid) -> Result<()> {
        self.undefine_keeping(domain, KeptOnUndefine::default())
    }
    /// Like [`Self::undefine`], but keeps some of it.
    fn undefine_keeping(&self, domain: Uuid, kept: KeptOnUndefine) -> Result<()>;
    /// The description with which a domain's saved memory is restored; `None` if none is saved.
    fn saved_xml(&self, domain: Uuid) -> Result<Option<String>>;
}
