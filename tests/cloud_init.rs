//! The seed, judged by those who read it: PyYAML, cloud-init, isoinfo, xorriso, blkid.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may stop where it stands, and says what it skips"
)]

#[path = "common/deadline.rs"]
mod deadline;
#[path = "cloud_init/documents.rs"]
mod documents;
#[path = "cloud_init/iso.rs"]
mod iso;
#[path = "cloud_init/limits.rs"]
mod limits;
#[path = "cloud_init/merge.rs"]
mod merge;
#[path = "cloud_init/net_convert.rs"]
mod net_convert;
#[path = "cloud_init/raw.rs"]
mod raw;
#[path = "cloud_init/schema.rs"]
mod schema;
#[path = "cloud_init/support.rs"]
mod support;
#[path = "cloud_init/yaml.rs"]
mod yaml;
