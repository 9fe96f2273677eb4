//! The user-data: a cloud-config that lets root in and names the guest.

use super::check::{SeedError, user_config};
use super::merge::merged;
use crate::plan::{SeedPlan, UserData};
use crate::yaml::node::{Mapping, Node};

/// By this first line cloud-init knows a cloud-config.
const HEADER: &str = "#cloud-config\n";

/// The user-data of a seed.
pub(super) fn user_data(seed: &SeedPlan) -> Result<String, SeedError> {
    match &seed.user_data {
        UserData::Raw(text) => Ok(text.clone()),
        UserData::Generated => Ok(cloud_config(generated(seed))),
        UserData::Merged(text) => Ok(cloud_config(merged(&generated(seed), &user_config(text)?))),
    }
}

fn cloud_config(config: Mapping) -> String {
    format!("{HEADER}{}", Node::from(config).to_yaml())
}

fn generated(seed: &SeedPlan) -> Mapping {
    let mut config = Mapping::new().with("hostname", Node::string(&seed.hostname));
    if let Some(fqdn) = &seed.fqdn {
        // `hostname -f` asks /etc/hosts. `localhost` adds one line to it; `true` would have cloud-init
        // replace the whole file at every boot.
        config = config.with("fqdn", Node::string(fqdn)).with("manage_etc_hosts", Node::string("localhost"));
    }
    config = config
        .with("users", Node::sequence(vec![root(seed)]))
        // Without this, cloud-init prefixes root's keys with a command that only says to use another user.
        .with("disable_root", Node::boolean(false));
    if let Some(hash) = &seed.password_hash {
        config = config.with("chpasswd", root_password(hash).into());
    }
    config.with("ssh_pwauth", Node::boolean(seed.ssh_password_auth))
}

fn root(seed: &SeedPlan) -> Node {
    let root = Mapping::new().with("name", Node::string("root"));
    if seed.ssh_keys.is_empty() {
        return root.into();
    }
    let keys = seed.ssh_keys.iter().map(Node::string).collect();
    root.with("ssh_authorized_keys", Node::sequence(keys)).into()
}

/// Sets root's password and with it unlocks the account: `chpasswd -e` replaces the whole field that
/// `users` had locked before. (`lock_passwd: false` is the wrong way: cloud-init answers with `passwd -u`,
/// and with `passwd -d`, no password at all, where that complains, as it does for a field that is only `!`.)
fn root_password(hash: &str) -> Mapping {
    let root = Mapping::new()
        .with("name", Node::string("root"))
        .with("password", Node::string(hash))
        .with("type", Node::string("hash"));
    Mapping::new().with("expire", Node::boolean(false)).with("users", Node::sequence(vec![root.into()]))
}
