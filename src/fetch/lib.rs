//! Content from files and servers: verified, decompressed and converted. Independent of libvirt.
//!
//! ```text
//!   catalog ─▶ transfer ─▶ disk_image (format?) ─▶ convert (qemu-img) ─▶ content (data for a volume)
//! ```

pub mod atomic_write;
pub mod catalog;
pub mod content;
pub mod convert;
pub mod disk_image;
pub mod file_ownership;
pub mod origin;
pub mod transfer;
