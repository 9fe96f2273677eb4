//! Domains and their definitions.

use uuid::Uuid;

use crate::libvirt_xml::DomainDescription;
use crate::{Domain, KeptOnUndefine, Result, StateNow, View};

/// Domains: their definitions, states and snapshots.
pub trait Domains: Send + Sync {
    /// All domains, or only the active ones.
    fn domains(&self, active_only: bool) -> Result<Vec<Domain>>;
    /// The domain of that name.
    fn domain(&self, name: &str) -> Result<Option<Domain>>;
    /// What the domain is doing; `None` where it is gone.
    fn state(&self, domain: Uuid) -> Result<Option<StateNow>>;
    /// Defines a new domain. Refused where the name is taken by another UUID, which makes it the
    /// atomic reservation of the name.
    fn define_domain(&self, xml: &str) -> Result<Uuid>;
    /// The XML description of a domain, secrets left out; `None` where it is gone.
    fn domain_xml(&self, domain: Uuid, view: View) -> Result<Option<String>>;
    /// What [`Self::domain_xml`] says.
    fn describe(&self, domain: Uuid, view: View) -> Result<Option<DomainDescription>> {
        self.domain_xml(domain, view)?.map(|xml| DomainDescription::read(&xml)).transpose()
    }
    /// Replaces the text of foundry's metadata element, in the definition, where there is one, and, where the domain is
    /// active, in the live domain.
    fn set_record(&self, domain: Uuid, text: &str) -> Result<()>;
    /// Sets whether it starts with the host.
    fn set_autostart(&self, domain: Uuid, on: bool) -> Result<()>;
    /// Starts it.
    fn start(&self, domain: Uuid) -> Result<()>;
    /// Starts a domain that has no definition and is gone when it stops or the connection ends. Refused where
    /// its name is taken.
    fn start_transient(&self, xml: &str) -> Result<Uuid>;
    /// Asks the guest to power off; returns at once.
    fn request_shutdown(&self, domain: Uuid) -> Result<()>;
    /// Continues a paused or suspended domain.
    fn resume(&self, domain: Uuid) -> Result<()>;
    /// Stops it at once, in whatever active state it is. A domain that is already off is `Ok`.
    fn force_off(&self, domain: Uuid) -> Result<()>;
    /// Removes the definition with NVRAM, managed save, TPM state and the metadata of snapshots and
    /// checkpoints. The caller has stopped it. A domain that is already gone is `Ok`.
    fn undefine(&self, domain: Uuid) -> Result<()> {
        self.undefine_keeping(domain, KeptOnUndefine::default())
    }
    /// As [`Self::undefine`], and some of it stays.
    fn undefine_keeping(&self, domain: Uuid, kept: KeptOnUndefine) -> Result<()>;
    /// The description that the saved memory of a domain is restored with; `None` where none is saved.
    fn saved_xml(&self, domain: Uuid) -> Result<Option<String>>;
    /// Names of the snapshots that libvirt knows of.
    fn snapshots(&self, domain: Uuid) -> Result<Vec<String>>;
    /// The descriptions of all snapshots of all domains, as XML: `<domainsnapshot>` (libvirt's page "Snapshot and
    /// Checkpoint XML format").
    fn all_snapshots(&self) -> Result<Vec<(Uuid, String)>>;
}
