//! The meta-data: which instance this is.

use crate::yaml::node::{Mapping, Node};

/// The meta-data of an instance. cloud-init runs its once-per-instance work, keys and passwords among it,
/// whenever the instance-id is one that it has not seen.
pub(super) fn meta_data(instance_id: &str, hostname: &str) -> String {
    let data = Mapping::new()
        .with("instance-id", Node::string(instance_id))
        .with("local-hostname", Node::string(hostname));
    Node::from(data).to_yaml()
}
