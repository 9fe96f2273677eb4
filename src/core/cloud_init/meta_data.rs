//! The meta-data, which identifies the instance.

use crate::record::Salt;
use crate::yaml::node::{Mapping, Node};

/// The meta-data of an instance. cloud-init runs its once-per-instance work, keys and passwords among it,
/// whenever the instance-id is one that it has not seen.
///
/// The salt of the record's digests stands in a comment, which cloud-init does not keep.
pub(super) fn build_meta_data(instance_id: &str, hostname: &str) -> String {
    let data = Mapping::new()
        .with_entry("instance-id", Node::from_string(instance_id))
        .with_entry("local-hostname", Node::from_string(hostname));
    Node::from(data).to_yaml()
}

/// What is in front of the salt, in a line of its own.
const SALT: &str = "# foundry's salt: ";

/// The meta-data with the salt.
pub fn append_salt(meta_data: &str, salt: &Salt) -> String {
    format!("{meta_data}{SALT}{}\n", salt.as_str())
}

/// The salt that a seed has, if foundry put one there.
pub fn read_salt(meta_data: &str) -> Option<Salt> {
    meta_data.lines().rev().find_map(|line| Salt::parse(line.strip_prefix(SALT)?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_salt_is_found_again() {
        let plain = build_meta_data("web-1", "web");
        assert!(read_salt(&plain).is_none());
        let salt = Salt::generate();
        let salted = append_salt(&plain, &salt);
        assert!(read_salt(&salted).is_some_and(|found| found == salt));
        assert_eq!(crate::yaml::node::read_documents(&salted).unwrap().len(), 1);
    }
}
