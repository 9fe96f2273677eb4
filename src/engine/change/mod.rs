//! Changes a VM as its manifest says.
//!
//! A field has up to four values: in the manifest, in the manifest that was applied last, in the persistent definition,
//! and in the running VM. `compare` finds where they differ; `apply` makes the others as the first.

mod applied;
mod apply;
mod apply_run;
mod compare;
mod compare_devices;
mod compare_patch;
mod conditions;
mod definition;
mod field;
mod look;
mod recorded;
mod repaved;
mod sides;

pub use applied::{Applied, ApplyOptions, ApplyOutcome};
pub use apply::{apply_vm, diff_vm, plan_apply};
pub use conditions::{DRIFTED, RESTART_REQUIRED, add_change_conditions};
pub use field::{FieldDiff, Verdict};
pub use look::WantedVm;
pub(crate) use look::{compare_recorded, is_same_image, manifest_to_plan, recorded_defaults, recorded_plan};
pub use recorded::{RecordedManifest, list_revisions, recorded_manifest};
pub(crate) use repaved::{RepavedManifest, check_repaved, edit_repaved, is_as_wanted};
