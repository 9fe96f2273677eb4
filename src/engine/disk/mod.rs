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
mod attach_undo;
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
pub use attach_plan::Request;
pub(crate) use delete::delete_unplugged;
pub(crate) use detach::is_let_go;
pub use detach::{Detachment, detach, survey};
pub(crate) use handle::{Subject, refused};
pub(crate) use interrupted_attach::{Attempt, broken_attach, finish_attach};
pub use list::{Disk, Presence, list};
pub(crate) use record_update::strike_out;
pub(crate) use resize::check_snapshots;
pub use resize::{Resized, resize};
