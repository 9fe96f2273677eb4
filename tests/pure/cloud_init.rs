//! The seed, judged by those who read it: PyYAML, cloud-init, isoinfo, xorriso, blkid.

mod documents;
mod iso;
mod limits;
mod merge;
mod net_convert;
mod own_network;
mod raw;
pub(crate) mod schema;
mod support;
mod yaml;
