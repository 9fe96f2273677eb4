//! Creates the user-data: a cloud-config that allows root to log in and sets the host name.

use super::check::{SeedError, parse_user_config};
use super::merge::merge_configs;
use crate::plan::{SeedPlan, UserData};
use crate::yaml::node::{Mapping, Node};

/// The first line by which cloud-init recognizes a cloud-config.
const HEADER: &str = "#cloud-config\n";

/// Creates the user-data of a seed.
pub(super) fn build_user_data(seed: &SeedPlan) -> Result<String, SeedError> {
    match &seed.user_data {
        UserData::Raw(text) => Ok(text.clone()),
        UserData::Generated => Ok(cloud_config(generate_config(seed))),
        UserData::Merged(text) => {
            Ok(cloud_config(merge_configs(&generate_config(seed), &parse_user_config(text)?)))
        }
    }
}

pub(super) fn cloud_config(config: Mapping) -> String {
    format!("{HEADER}{}", Node::from(config).to_yaml())
}

fn generate_config(seed: &SeedPlan) -> Mapping {
    let mut config = Mapping::new().with_entry("hostname", Node::from_string(&seed.hostname));
    if let Some(fqdn) = &seed.fqdn {
        // `hostname -f` reads /etc/hosts. `localhost` adds one line to it; `true` would make cloud-init replace the
        // whole file at every boot.
        config = config
            .with_entry("fqdn", Node::from_string(fqdn))
            .with_entry("manage_etc_hosts", Node::from_string("localhost"));
    }
    config = config
        .with_entry("users", Node::from_nodes(vec![root_user(seed)]))
        // Without this, cloud-init prefixes root's keys with a command that only prints to use another user.
        .with_entry("disable_root", Node::from_bool(false));
    if let Some(hash) = &seed.password_hash {
        config = config.with_entry("chpasswd", root_password(hash).into());
    }
    config.with_entry("ssh_pwauth", Node::from_bool(seed.ssh_password_auth))
}

fn root_user(seed: &SeedPlan) -> Node {
    let root = Mapping::new().with_entry("name", Node::from_string("root"));
    if seed.ssh_keys.is_empty() {
        return root.into();
    }
    let keys = seed.ssh_keys.iter().map(Node::from_string).collect();
    root.with_entry("ssh_authorized_keys", Node::from_nodes(keys)).into()
}

/// Sets root's password and thereby unlocks the account: `chpasswd -e` replaces the whole field that `users` had locked
/// before. (`lock_passwd: false` does not work: cloud-init calls `passwd -u`, and if that complains, as it does for a
/// field that is only `!`, `passwd -d`, which leaves no password at all.)
fn root_password(hash: &str) -> Mapping {
    let root = Mapping::new()
        .with_entry("name", Node::from_string("root"))
        .with_entry("password", Node::from_string(hash))
        .with_entry("type", Node::from_string("hash"));
    Mapping::new()
        .with_entry("expire", Node::from_bool(false))
        .with_entry("users", Node::from_nodes(vec![root.into()]))
}
