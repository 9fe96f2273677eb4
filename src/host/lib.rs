//! One virtualization host, in foundry's words.
//!
//! [`Host`] is all that foundry asks of libvirt. Absence is `Ok(None)` and never an error, domains
//! are named by UUID once they are found (a name can be redefined under our hands, a UUID cannot),
//! and each refusal says what was asked of which object. Two things implement it: `Libvirt`, the
//! only code that knows the bindings, and `memory::MemoryHost`, a host with state and refusals for
//! tests of order and faults.

pub mod diagnosis;
mod error;
mod libvirt;
pub mod libvirt_xml;
mod machine;
#[cfg(feature = "testing")]
pub mod memory;
mod netlink;
mod objects;
mod state;
mod storage;
mod turn;
mod uri;
mod why;

pub use error::{HostError, Stopped};
pub use libvirt::{CallObserver, Libvirt, Patience, run_event_loop};
pub use machine::only_roots;
pub use machine::{GuestMachine, Machine, SecurityModel};
pub use objects::{
    AddressSource, Bridge, Capabilities, Domain, GuestAddress, Kept, LinkAddress, Neighbour, Neighbourhood,
    Network, Reach, StateNow, Subnet, View,
};
pub use objects::{is_up, word_of};
pub use state::DomainState;
pub use storage::{Pool, PoolSource, Volume};
pub use turn::{NoTurn, Turn};
pub use uri::is_local_uri;
pub use why::Why;

use std::net::IpAddr;
use std::time::Duration;

use uuid::Uuid;

use self::libvirt_xml::DomainDescription;
use foundry_core::units::Bytes;
use foundry_fetch::content::{Content, Sink};

/// The result of asking the host for something.
pub type Result<T> = std::result::Result<T, HostError>;

/// What becomes of long runs of zeros, and of holes, in an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeros {
    /// They are written, like everything else: what the volume has allocated stays so.
    Written,
    /// They become holes of the volume, which cost nothing on the wire nor on the host's disk. A hole leaves
    /// what was there before, and cuts off what is behind it until more is written: the volume has to be new
    /// and without allocation.
    Skipped {
        /// How many other bytes are written at most: what the host has room for.
        at_most: u64,
    },
}

/// What foundry asks of a virtualization host.
///
/// The contract that each implementation keeps is `tests/pure/host_contract.rs`.
pub trait Host: Send + Sync {
    /// The URI of the connection, for messages.
    fn uri(&self) -> &str;
    /// Whether the host is the machine foundry runs on, so that its kernel can be asked directly.
    fn is_local(&self) -> bool;
    /// The turn with a thing of the host's among the foundries of this machine, if no other has it.
    ///
    /// # Errors
    /// Why there is none, of which the host knows nothing.
    fn turn(&self, thing: &str) -> std::result::Result<Turn, NoTurn> {
        let _ = thing;
        Ok(Turn::free())
    }
    /// Name, versions and guest types of the host.
    fn capabilities(&self) -> Result<Capabilities>;
    /// What the machine is like.
    fn machine(&self) -> Result<Machine>;
    /// What guests of that architecture, machine type (`q35`) and virtualization type (`kvm`) can have. Refused
    /// where the host has no such guests.
    fn guest_machine(&self, arch: &str, machine: &str, virt_type: &str) -> Result<GuestMachine>;

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
    fn run_for_a_moment(&self, xml: &str) -> Result<Uuid>;
    /// Asks the guest to power off; returns at once.
    fn request_shutdown(&self, domain: Uuid) -> Result<()>;
    /// Continues a paused or suspended domain.
    fn resume(&self, domain: Uuid) -> Result<()>;
    /// Stops it at once, in whatever active state it is. A domain that is already off is `Ok`.
    fn force_off(&self, domain: Uuid) -> Result<()>;
    /// Removes the definition with NVRAM, managed save, TPM state and the metadata of snapshots and
    /// checkpoints. The caller has stopped it. A domain that is already gone is `Ok`.
    fn undefine(&self, domain: Uuid) -> Result<()> {
        self.undefine_but(domain, Kept::default())
    }
    /// As [`Self::undefine`], and some of it stays.
    fn undefine_but(&self, domain: Uuid, kept: Kept) -> Result<()>;
    /// The description that the saved memory of a domain is restored with; `None` where none is saved.
    fn saved_xml(&self, domain: Uuid) -> Result<Option<String>>;
    /// Adds a disk; `xml` is its `<disk>`. Refused where the target is taken, where the domain is off and
    /// it is to be there now, and where a running one has no free slot to plug it into.
    fn attach_disk(&self, domain: Uuid, xml: &str, reach: Reach) -> Result<()>;
    /// Takes a disk away, or, in a running domain, asks the guest to let go of it: whether and when it does
    /// shows in [`Self::domain_xml`]. One that is not there is `Ok`.
    fn detach_disk(&self, domain: Uuid, target: &str, reach: Reach) -> Result<()>;
    /// Changes the capacity of a disk of a running domain and tells the guest.
    fn resize_disk(&self, domain: Uuid, target: &str, capacity: Bytes) -> Result<()>;
    /// Whether a block job (copy, commit, pull, backup) works on a disk of a running domain.
    fn has_block_job(&self, domain: Uuid, target: &str) -> Result<bool>;
    /// Names of the snapshots that libvirt knows of.
    fn snapshots(&self, domain: Uuid) -> Result<Vec<String>>;
    /// The descriptions of all snapshots of all domains, as XML: `<domainsnapshot>` (libvirt's page "Snapshot and
    /// Checkpoint XML format").
    fn all_snapshots(&self) -> Result<Vec<(Uuid, String)>>;
    /// What that source knows of the guest's addresses; a source that cannot answer is an empty list, and so is a
    /// domain that is gone.
    fn addresses(&self, domain: Uuid, source: AddressSource) -> Result<Vec<GuestAddress>>;
    /// Sends one command (JSON) to the guest agent. `None` where no agent answers in that time, as
    /// in a domain that is gone.
    fn agent(&self, domain: Uuid, command: &str, timeout: Duration) -> Result<Option<String>>;

    /// All pools.
    fn pools(&self) -> Result<Vec<Pool>>;
    /// The pool of that name.
    fn pool(&self, name: &str) -> Result<Option<Pool>>;
    /// Defines a pool; neither makes its target nor starts it.
    fn define_pool(&self, xml: &str) -> Result<()>;
    /// Makes the pool's target, a missing directory for one.
    fn build_pool(&self, name: &str) -> Result<()>;
    /// Starts a pool.
    fn start_pool(&self, name: &str) -> Result<()>;
    /// Stops a pool; its volumes stay.
    fn stop_pool(&self, name: &str) -> Result<()>;
    /// Sets whether the pool starts with the host.
    fn set_pool_autostart(&self, name: &str, on: bool) -> Result<()>;
    /// Makes libvirt look at the pool's volumes anew.
    fn refresh_pool(&self, name: &str) -> Result<()>;
    /// Removes the definition of a stopped pool; its volumes stay.
    fn undefine_pool(&self, name: &str) -> Result<()>;

    /// The volumes of an active pool.
    fn volumes(&self, pool: &str) -> Result<Vec<Volume>>;
    /// The volume of that name; `None` too where the pool is absent or inactive.
    fn volume(&self, pool: &str, name: &str) -> Result<Option<Volume>>;
    /// The volume at that path, in whichever active pool it is.
    fn volume_at(&self, path: &str) -> Result<Option<Volume>>;
    /// Makes a volume; refused where one of that name exists.
    fn create_volume(&self, pool: &str, xml: &str) -> Result<Volume>;
    /// Makes a volume with the content of another, converted to the format in the XML.
    fn clone_volume(&self, pool: &str, xml: &str, from_pool: &str, from_name: &str) -> Result<Volume>;
    /// Changes a volume's capacity.
    fn resize_volume(&self, pool: &str, name: &str, capacity: Bytes) -> Result<()>;
    /// Deletes a volume. One that is already gone is `Ok`.
    fn delete_volume(&self, pool: &str, name: &str) -> Result<()>;
    /// Writes `content` to a volume from `offset` on, until the content ends or `length` bytes are reached,
    /// and returns how far it came. Never sends more: one byte past the declared length ends libvirtd 11.3,
    /// as does a full disk, so that whoever calls makes sure of room. libvirt finds out some time later
    /// what was written (format, capacity); after [`Self::refresh_pool`] it knows.
    fn upload(
        &self,
        pool: &str,
        name: &str,
        content: &mut dyn Content,
        offset: u64,
        length: u64,
        zeros: Zeros,
    ) -> Result<u64>;
    /// Writes `length` bytes of `content` to the beginning of a volume; fewer are an error.
    fn upload_all(&self, pool: &str, name: &str, content: &mut dyn Content, length: u64) -> Result<()> {
        let left = length - self.upload(pool, name, content, 0, length, Zeros::Written)?;
        if left == 0 {
            return Ok(());
        }
        Err(HostError::Transfer {
            operation: format!("upload to volume '{name}' in pool '{pool}'"),
            cause: format!("the content ended {left} bytes before its length of {length}"),
            interrupted: false,
        })
    }
    /// Reads up to `length` bytes of a volume from its beginning. Its holes are told as such.
    fn download(&self, pool: &str, name: &str, into: &mut dyn Sink, length: u64) -> Result<()> {
        self.download_span(pool, name, into, (0, length))
    }
    /// Reads up to so many bytes of a volume (the second number) from an offset on (the first).
    fn download_span(&self, pool: &str, name: &str, into: &mut dyn Sink, span: (u64, u64)) -> Result<()>;

    /// The network of that name.
    fn network(&self, name: &str) -> Result<Option<Network>>;
    /// Names of all networks.
    fn networks(&self) -> Result<Vec<String>>;
    /// What the machine is among its neighbours; those of `wanted` on the same wire are asked for first, which takes an
    /// instant. `None` where it cannot be known, as of a remote host.
    fn neighbourhood(&self, wanted: &[IpAddr]) -> Result<Option<Neighbourhood>>;
    /// All memory of the host.
    fn memory(&self) -> Result<Bytes>;
    /// The bridges of the host's kernel; `None` where they cannot be known, as on a remote host
    /// (libvirt does not list a bridge that was made after it started).
    fn bridges(&self) -> Result<Option<Vec<Bridge>>>;
}
