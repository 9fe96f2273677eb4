//! The pure part of foundry: manifests, plans, records, and the XML and cloud-init data made from them.
//!
//! ```text
//!   yaml ─▶ manifest ─▶ plan ─▶ domain_xml, storage_xml, cloud_init        record: what a domain's metadata says
//! ```
//!
//! * [`manifest`] is the user's file, parsed and not yet judged; [`schema`] describes it;
//! * [`plan`] is what foundry will do, validated;
//! * [`cloud_init`] makes the seed of a plan, [`domain_xml`] and [`storage_xml`] the XML that libvirt gets;
//! * [`pool`] is a storage pool to be added;
//! * [`record`] says who made a domain and which volumes belong to it;
//! * [`manifest_writer`] writes a first manifest;
//! * [`names`], [`units`], [`yaml`], [`text`], [`origin`] and [`error`] serve all of them.
//!
//! Nothing here opens a connection or a file of the user's.

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
pub mod schema;
pub mod storage_xml;
pub mod text;
pub mod units;
pub mod yaml;

pub use error::{Code, Error, Kind};
