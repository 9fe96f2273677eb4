//! What is known of jobs, runners and pools over time, in one SQLite file.
//!
//! The file is where the controller, its HTTP listener and the commands meet: the listener notes jobs, the controller notes
//! what it serves, and a command notes a wish that the controller finds. Each of them opens the file for itself. Losing
//! it loses the history and the jobs that wait: VMs and registrations are in libvirt's records and at the forge.

mod database;
mod error;
mod job_rows;
mod pool_rows;
mod pool_wishes;
mod requests;
mod runner_rows;
mod status;

pub use database::JobDatabase;
pub use job_rows::{JobFilter, JobPage, JobRow};
pub use pool_rows::PoolRow;
pub use pool_wishes::PoolOverride;
pub use runner_rows::{RunnerChanges, RunnerHistory};
pub use status::{JobStatus, RunnerCounts, RunnerPoolStatus, RunnerStatus};
