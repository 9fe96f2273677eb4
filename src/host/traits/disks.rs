//! Disks of domains.

use uuid::Uuid;

use crate::{Affect, Result};
use foundry_core::units::Bytes;

/// Disks of domains.
pub trait Disks: Send + Sync {
    /// Attaches a disk; `xml` is its `<disk>` element. Refused if the target is in use, if the domain is off and the
    /// disk is to be attached live, and if a running domain has no free slot.
    fn attach_disk(&self, domain: Uuid, xml: &str, affect: Affect) -> Result<()>;
    /// Detaches a disk. In a running domain this only asks the guest to release it; the disk then disappears from
    /// [`Domains::domain_xml`](super::Domains::domain_xml). A disk that does not exist is `Ok`.
    fn detach_disk(&self, domain: Uuid, target: &str, affect: Affect) -> Result<()>;
    /// Changes the capacity of a disk of a running domain; the guest sees it at once.
    fn resize_disk(&self, domain: Uuid, target: &str, capacity: Bytes) -> Result<()>;
    /// Whether a block job (copy, commit, pull, backup) is running on a disk of a running domain.
    fn has_block_job(&self, domain: Uuid, target: &str) -> Result<bool>;
}
