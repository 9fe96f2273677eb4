//! The disks of VMs: list, grow, attach, detach.
//!
//! What is there is looked at anew in each run and compared with the record, so that a command that was
//! killed is finished by the same command again. What cannot be undone goes as late as it can, and what
//! tells another run of a thing comes before the thing:
//!
//! ```text
//!   attach   note the volume ▸ make it ▸ plug it in ▸ into the manifest
//!   detach   (--keep: strike the volume out) ▸ unplug ▸ delete the volume ▸ out of record and manifest
//!   resize   grow ▸ into record and manifest
//! ```

mod attach;
mod attach_plan;
mod attach_rollback;
pub(crate) mod backing_chain;
mod delete;
mod detach;
mod handle;
mod interrupted_attach;
mod list;
pub(crate) mod own_disk;
pub(crate) mod ownership;
mod record_update;
mod resize;

pub use attach::{Attached, attach};
pub use attach_plan::AttachRequest;
pub(crate) use delete::delete_unplugged;
pub(crate) use detach::wait_until_detached;
pub use detach::{DetachPlan, detach, plan_detach};
pub(crate) use handle::{VmHandle, refused_unchanged};
pub(crate) use interrupted_attach::{InterruptedAttach, find_interrupted_attach, finish_attach};
pub use list::{DiskView, Presence, list_disks};
pub(crate) use record_update::remove_from_record;
pub(crate) use resize::check_snapshots;
pub use resize::{Resized, resize};
