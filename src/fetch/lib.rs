//! Content from files and servers: verified, decompressed and converted. Independent of libvirt.
//!
//! ```text
//!   catalog ─▶ transfer ─▶ disk_image (is it one?) ─▶ convert (qemu-img) ─▶ content (what a volume is filled with)
//! ```

pub mod atomic_write;
pub mod catalog;
pub mod content;
pub mod convert;
pub mod disk_image;
pub mod origin;
pub mod ownership;
pub mod transfer;
