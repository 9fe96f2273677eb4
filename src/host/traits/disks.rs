//! Disks of domains.

use uuid::Uuid;

use crate::{Affect, Result};
use foundry_core::units::Bytes;

/// Disks of domains.
pub trait Disks: Send + Sync {
    /// Adds a disk; `xml` is its `<disk>`. Refused where the target is taken, where the domain is off and
    /// it is to be there now, and where a running one has no free slot to plug it into.
    fn attach_disk(&self, domain: Uuid, xml: &str, affect: Affect) -> Result<()>;
    /// Takes a disk away, or, in a running domain, asks the guest to let go of it: whether and when it does
    /// shows in [`Domains::domain_xml`](super::Domains::domain_xml). One that is not there is `Ok`.
    fn detach_disk(&self, domain: Uuid, target: &str, affect: Affect) -> Result<()>;
    /// Changes the capacity of a disk of a running domain and tells the guest.
    fn resize_disk(&self, domain: Uuid, target: &str, capacity: Bytes) -> Result<()>;
    /// Whether a block job (copy, commit, pull, backup) works on a disk of a running domain.
    fn has_block_job(&self, domain: Uuid, target: &str) -> Result<bool>;
}
