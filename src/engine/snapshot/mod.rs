//! Snapshots of a VM's disks: make, list, restore, delete.
//!
//! A snapshot is external: each disk continues in an overlay, and the file that it had keeps what it had then. So the
//! disks of a VM with snapshots are chains, oldest file first. Overlays have the disk's name with the next revision and
//! are in the record before they exist:
//!
//! ```text
//!   create     note the overlays ▸ freeze, snapshot, thaw (one call) ▸ settle
//!   restore    stop ▸ note new overlays ▸ create them ▸ define ▸ describe the snapshots anew ▸ settle ▸ start
//!   delete     merge (one call) ▸ settle
//! ```
//!
//! `settle::settle_snapshots` compares the record with what the domain and its snapshots use: it confirms overlays that
//! are in use, and deletes those that nothing uses. It also begins each of these commands, so a command that was killed
//! anywhere is finished or undone by the next one, or by `gc`.
//!
//! libvirt reverts to external snapshots only since 9.9. It then brings back the whole definition of that time, with an
//! older record in it, on overlays whose names nobody knew before. So foundry sets the disks back by itself, on every
//! version, and describes the snapshot to libvirt with its new overlays, so that libvirt can still delete it.

mod create;
mod delete;
mod freeze;
mod frozen;
mod interrupted;
mod list;
mod overlays;
mod restore;
mod restore_plan;
mod settle;
mod view;

pub use create::{SnapshotMade, SnapshotRequest, create_snapshot};
pub use delete::{DeletePlan, delete_snapshot, plan_delete};
pub(crate) use frozen::{
    FrozenDisk, discard_frozen, discard_interrupted, find_frozen, freeze_disks, settle_for_copy,
};
pub(crate) use interrupted::{SnapshotWork, find_interrupted_snapshots, finish_snapshots};
pub use list::{SnapshotMaker, SnapshotView, add_snapshots, add_snapshots_to_all, list_snapshots};
pub use restore::{Restored, restore_snapshot};
pub use restore_plan::{RestorePlan, plan_restore};
