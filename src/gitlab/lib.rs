//! A custom executor for GitLab Runner: each job gets a VM of its own, which is destroyed after it.
//!
//! ```text
//!   environment ─▶ Job ──┐
//!                        ├─▶ job_vm (name, labels, manifest) ─▶ vms (create, find, destroy)
//!   executor.yaml ─▶ ExecutorConfig                             guest_script (what the guest's shell runs)
//! ```
//!
//! GitLab Runner starts one process for each stage of a job, and nothing but the VM lasts from one to the next. So the
//! VM itself says whose it is: labels name the job, and an annotation its deadline. The protocol is that of GitLab
//! Runner's documentation, "The Custom executor".
//!
//! All files but [`vms`] are pure. Processes are started by the command line.

pub mod driver_answer;
pub mod environment;
pub mod executor_config;
pub mod exit_codes;
pub mod guest_script;
pub mod image_rules;
pub mod job_vm;
pub mod vms;
