//! Foundry turns one YAML manifest into a running, reachable VM on libvirt, and takes it away again.
//!
//! The map, in the order in which data flows:
//!
//! * [`manifest`] is what a user wrote, read without judgement; [`schema`] says what it may hold;
//! * [`plan`] is what foundry will do, validated and pure;
//! * [`cloud_init`] makes the seed of a plan, [`domain_xml`] and [`storage_xml`] what libvirt is told;
//! * [`pool`] is a storage pool to be added;
//! * [`host`] is one virtualization host, over libvirt or in memory;
//! * [`record`] is what a domain's metadata says about who made it and which volumes are its own;
//! * [`starter`] writes a first manifest;
//! * [`operations`] holds one file for each verb: create, destroy, inspect, images, pools;
//! * [`transfer`] brings bytes from elsewhere, [`convert`] has qemu-img make them what libvirt takes;
//! * [`config`] finds what a user set, and where;
//! * [`names`], [`units`], [`yaml`], [`content`], [`origin`], [`text`], [`disk_image`] and [`error`] serve
//!   all of them.
//!
//! The command line in [`cli`] is a thin user of the rest.

pub mod catalog;
pub mod cli;
pub mod cloud_init;
pub mod config;
pub mod content;
pub mod convert;
pub mod disk_image;
pub mod domain_xml;
pub mod error;
pub mod host;
pub mod manifest;
pub mod names;
pub mod operations;
pub mod origin;
mod ownership;
pub mod plan;
pub mod pool;
pub mod record;
mod replace;
pub mod schema;
pub mod starter;
pub mod storage_xml;
pub mod text;
pub mod transfer;
pub mod units;
pub mod yaml;

pub use error::{Code, Error, Kind};
