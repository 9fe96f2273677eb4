//! The external provider of GARM (GitHub Actions Runner Manager), without its effects: what a call asks for, the VM that
//! a runner gets, and the answer.
//!
//! ```text
//!   environment ──▶ ProviderCall ─────────────┐
//!   stdin ────────▶ BootstrapInstance ────────┼─▶ runner_manifest ─▶ VirtualMachine      (the command line creates it)
//!   its file ─────▶ ProviderConfig ───────────┘
//!   a VM ─────────▶ ProviderInstance ─▶ stdout
//! ```
//!
//! GARM starts the provider once for each call and keeps nothing else of it (GARM's page "Writing an external provider").
//! So all state is in the VMs: their labels say which controller and which pool they belong to.

mod answer;
mod bootstrap;
mod call;
mod config;
mod documents;
mod extra_specs;
mod install_script;
mod manifest;
mod owner;
mod user_data;

pub use answer::{InstanceAddress, InstanceStatus, ProviderInstance};
pub use bootstrap::{BootstrapInstance, ProxyConfig, RunnerTool, UserDataOptions};
pub use call::{GarmCommand, ProviderCall};
pub use config::{Flavor, ProviderConfig};
pub use extra_specs::{ExtraSpecs, decode_extra_specs};
pub use manifest::{check_pool, runner_manifest};
pub use owner::{InstanceOwner, is_instance};

/// The versions of the interface that foundry speaks, oldest first.
pub const INTERFACE_VERSIONS: [&str; 2] = ["v0.1.0", "v0.1.1"];
