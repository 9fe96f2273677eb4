//! stub
#![allow(missing_docs)]
use super::*;
pub fn capabilities(_: &str) -> Result<(String, BTreeMap<String, Vec<String>>)> {
    todo!()
}
pub fn metadata_text(_: &str) -> Result<String> {
    todo!()
}
pub fn pool(_: &str, _: bool, _: bool) -> Result<Pool> {
    todo!()
}
pub fn volume(_: &str, _: &str) -> Result<Volume> {
    todo!()
}
pub fn volume_name(_: &str) -> Result<String> {
    todo!()
}
pub struct DomainDescription {
    pub name: String,
}
impl DomainDescription {
    pub fn read(_: &str) -> Result<Self> {
        todo!()
    }
}
