//! The seed: the data for cloud-init, and the ISO 9660 image that carries it.
//!
//! ```text
//! VmPlan + SeedPlan + instance-id ── build_seed_files() ──▶ SeedFiles ── write_iso() ──▶ bytes of the seed volume
//!                              HostKeyPair ── vendor_data() ──▶┤                              │
//!                                                              ▲                              │
//!          read_seed_secrets() ◀── user-data ──────────────────┴─────────── read_iso() ◀──────┘
//! ```
//!
//! All of it is pure. The user-data is built as a [tree](crate::yaml::node), the user's part is merged into the tree,
//! and one writer produces the text. So a string stays a string for cloud-init, whatever a host name, a key or a hash
//! looks like.

mod check;
mod clone;
mod documents;
mod header;
mod host_key;
mod iso;
mod login;
mod merge;
mod meta_data;
mod network_config;
mod own_network;
mod secrets;
mod user_data;

pub use check::{SeedError, check_raw_user_data, check_user_data, find_ineffective_keys, read_host_name};
pub use clone::{ClonedUserData, clone_user_data};
pub use documents::{SeedFiles, build_seed_files};
pub use host_key::HostKeyPair;
pub use iso::{VOLUME_ID, read_iso, write_iso};
pub use login::{HostKeyChoice, SeedLogin, read_seed_login};
pub use meta_data::{append_salt, read_salt};
pub use own_network::check_network_config;
pub use secrets::{SeedSecrets, read_seed_secrets};
