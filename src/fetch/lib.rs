//! Content on its way: from a file or a server, verified, decompressed and converted. It knows no libvirt.
//!
//! ```text
//!   catalog ─▶ transfer ─▶ disk_image (is it one?) ─▶ convert (qemu-img) ─▶ content (what a volume is filled with)
//! ```

pub mod catalog;
pub mod content;
pub mod convert;
pub mod disk_image;
pub mod origin;
pub mod ownership;
pub mod replace;
pub mod transfer;
