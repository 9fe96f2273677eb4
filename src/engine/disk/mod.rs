//! The disks of VMs: list, grow, attach, detach.
//!
//! Each run reads the current state from the host and compares it with the record. So if a command is killed, the
//! same command again finishes the work. A step that cannot be undone comes as late as possible, and the record names
//! a volume before the volume exists, so that another run can find it:
//!
//! ```text
//!   attach   note the volume ▸ create it ▸ plug it in ▸ add it to the manifest
//!   detach   (--keep: drop the volume from the record) ▸ unplug ▸ delete the volume ▸ update record and manifest
//!   resize   grow ▸ update record and manifest
//! ```

mod attach;
mod attach_existing;
mod attach_plan;
mod attach_rollback;
pub(crate) mod backing_chain;
mod boot_disk;
mod delete;
mod detach;
mod disk_handle;
mod interrupted_attach;
mod list;
mod mounts;
pub(crate) mod own_disk;
pub(crate) mod ownership;
mod record_update;
mod resize;

pub use attach::{Attached, attach};
pub use attach_plan::{AttachRequest, DiskContent};
pub(crate) use boot_disk::{OwnBootDisk, find_boot_disk};
pub(crate) use delete::delete_unplugged;
pub(crate) use detach::wait_until_detached;
pub use detach::{DetachPlan, detach, plan_detach};
pub(crate) use interrupted_attach::{InterruptedAttach, find_interrupted_attach, finish_attach};
pub use list::{DiskView, Presence, list_disks};
pub(crate) use record_update::{
    current_record, insert_volume, remove_from_record, update_locked_record, update_record,
};
pub use resize::{Resized, resize};
pub(crate) use resize::{advise_snapshot_delete, check_block_job, check_snapshots};
