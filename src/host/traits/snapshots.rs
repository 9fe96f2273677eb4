//! Snapshots of domains.

use std::time::Duration;

use uuid::Uuid;

use crate::Result;

/// Snapshots of domains. Descriptions are `<domainsnapshot>` (libvirt's page "Snapshot and Checkpoint XML format").
pub trait Snapshots: Send + Sync {
    /// Names of a domain's snapshots.
    fn snapshots(&self, domain: Uuid) -> Result<Vec<String>>;
    /// The descriptions of a domain's snapshots, parents first.
    fn describe_snapshots(&self, domain: Uuid) -> Result<Vec<String>>;
    /// The descriptions of all snapshots of all domains.
    fn all_snapshots(&self) -> Result<Vec<(Uuid, String)>>;
    /// The description of one snapshot with its secrets, to be changed and written again; `None` if there is none.
    fn full_snapshot(&self, domain: Uuid, name: &str) -> Result<Option<String>>;
    /// Makes a snapshot of the disks alone: all disks continue in overlays, or none does. With `freeze_within`, the agent
    /// of the guest freezes its file systems first and thaws them afterwards, also if the snapshot fails; each of both may
    /// take that long. Refused if the name is taken, an overlay's file exists, or no agent can freeze.
    fn create_snapshot(&self, domain: Uuid, xml: &str, freeze_within: Option<Duration>) -> Result<()>;
    /// Replaces the description of an existing snapshot, and makes it the current one; no file is changed.
    fn redefine_snapshot(&self, domain: Uuid, xml: &str) -> Result<()>;
    /// Deletes an external snapshot: what was written after it moves into the file of before, and its overlays are
    /// deleted. One that does not exist is `Ok`.
    fn delete_snapshot(&self, domain: Uuid, name: &str) -> Result<()>;
    /// Deletes the description of a snapshot and keeps its files. One that does not exist is `Ok`.
    fn forget_snapshot(&self, domain: Uuid, name: &str) -> Result<()>;
}
