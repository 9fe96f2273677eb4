//! The meta-data, which identifies the instance.

use crate::record::Salt;
use crate::yaml::node::{Mapping, Node};

/// Creates the meta-data of an instance. cloud-init runs its once-per-instance modules, which set keys and passwords
/// among others, whenever the instance-id is new.
///
/// The salt of the record's digests is appended as a comment, which cloud-init ignores.
pub(super) fn build_meta_data(instance_id: &str, hostname: &str) -> String {
    let data = Mapping::new()
        .with_entry("instance-id", Node::from_string(instance_id))
        .with_entry("local-hostname", Node::from_string(hostname));
    Node::from(data).to_yaml()
}

/// Prefix of the line with the salt.
const SALT: &str = "# foundry's salt: ";

/// Appends the salt to the meta-data.
pub fn append_salt(meta_data: &str, salt: &Salt) -> String {
    format!("{meta_data}{SALT}{}\n", salt.as_str())
}

/// Reads the salt from the meta-data of a seed, if there is one.
pub fn read_salt(meta_data: &str) -> Option<Salt> {
    meta_data.lines().rev().find_map(|line| Salt::parse(line.strip_prefix(SALT)?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salt_is_read_back() {
        let plain = build_meta_data("web-1", "web");
        assert!(read_salt(&plain).is_none());
        let salt = Salt::generate();
        let salted = append_salt(&plain, &salt);
        assert!(read_salt(&salted).is_some_and(|found| found == salt));
        assert_eq!(crate::yaml::node::read_documents(&salted).unwrap().len(), 1);
    }
}
