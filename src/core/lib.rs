//! The pure part of foundry: manifests, plans, records, and the XML and cloud-init data made from them.
//!
//! ```text
//!   yaml ─▶ manifest ─▶ plan ─▶ domain_xml, storage_xml, cloud_init        record: what a domain's metadata says
//! ```
//!
//! * [`manifest`] is the user's file, parsed but not validated; [`schema`] describes it;
//! * [`plan`] is what foundry will do, validated;
//! * [`cloud_init`] makes the seed of a plan, [`domain_xml`] and [`storage_xml`] the XML for libvirt;
//! * [`pool`] is a storage pool to be added;
//! * [`record`] is the metadata of a domain: its creator and the volumes that belong to it;
//! * [`warm`] is what is noted about a warm image, [`saved_memory`] the header of its memory;
//! * [`ssh`] is what OpenSSH needs to log in to a guest, [`ssh_key_pair`] a key for it;
//! * [`manifest_writer`] writes a first manifest;
//! * [`xml_patch`] changes the XML of a domain as a manifest says;
//! * [`names`], [`units`], [`yaml`], [`xml`], [`text`], [`origin`] and [`error`] are used by all of them.
//!
//! Nothing here opens a connection. The only files read are the manifest and the machine's own identity.

pub mod cloud_init;
pub mod domain_xml;
pub mod error;
pub mod manifest;
pub mod manifest_writer;
pub mod names;
pub mod origin;
pub mod plan;
pub mod pool;
pub mod record;
pub mod saved_memory;
pub mod schema;
pub mod snapshot_xml;
pub mod ssh;
pub mod ssh_key_pair;
pub mod storage_xml;
pub mod text;
pub mod units;
pub mod warm;
pub mod xml;
pub mod xml_patch;
pub mod yaml;

pub use error::{Code, Error, Kind};
