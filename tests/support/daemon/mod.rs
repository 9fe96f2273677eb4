//! A libvirtd of a test's own that is stopped, frozen, or newer than foundry.

pub(crate) mod host;
pub(crate) mod newer;
