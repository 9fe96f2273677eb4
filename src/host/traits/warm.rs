//! Domains with saved memory in a file of the caller's, and interfaces that come and go while a domain runs.

use uuid::Uuid;

use crate::Result;

/// Saved memory in files, and hot-plugged interfaces.
pub trait WarmStarts: Send + Sync {
    /// Stops a running domain and writes its memory to a file of the host, which may exist and is replaced. The header of
    /// the file has `room` bytes to spare for a longer description. A persistent domain stays defined, and is off.
    fn save_memory(&self, domain: Uuid, path: &str, room: usize) -> Result<()>;
    /// Starts the domain that a file of the host describes from the memory in it. A persistent domain of that name and
    /// UUID keeps its definition. The file stays.
    fn restore_memory(&self, path: &str) -> Result<()>;
    /// Attaches an interface to a running domain; `xml` is its `<interface>` element.
    fn attach_interface_now(&self, domain: Uuid, xml: &str) -> Result<()>;
    /// Detaches the interface of a running domain that has the MAC address of this `<interface>` element. The guest is
    /// asked to release it; it then disappears from [`Domains::domain_xml`](super::Domains::domain_xml). One that the
    /// domain does not have is `Ok`.
    fn detach_interface_now(&self, domain: Uuid, xml: &str) -> Result<()>;
}
