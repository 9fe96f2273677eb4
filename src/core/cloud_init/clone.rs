//! The user's part of the user-data for a copy of a VM.

use super::check::parse_user_config;
use super::user_data::cloud_config;
use crate::plan::SeedPlan;
use crate::yaml::node::{Mapping, Node};

/// Keys by which a user-data names its guest.
const NAMES: [&str; 2] = ["hostname", "fqdn"];

/// User-data for a copy of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClonedUserData {
    /// The text of a cloud-config.
    pub text: String,
    /// Keys that give the copy the same name as the original: the user chose them.
    pub same_names: Vec<&'static str>,
}

/// Prepares the merged user-data of a seed for a copy of its VM: without the host names that foundry generated for the
/// original, and without its SSH host keys. A text that cannot be merged is returned unchanged.
pub fn clone_user_data(merged: &str, source: &SeedPlan) -> ClonedUserData {
    let Ok(config) = parse_user_config(merged) else {
        return ClonedUserData { text: merged.to_owned(), same_names: Vec::new() };
    };
    let is_generated = |key: &str, value: &Node| match key {
        "hostname" => value.as_text() == Some(&source.hostname),
        "fqdn" => source.fqdn.as_deref().is_some_and(|fqdn| value.as_text() == Some(fqdn)),
        "manage_etc_hosts" => source.fqdn.is_some() && value.as_text() == Some("localhost"),
        "ssh_keys" => true,
        _ => false,
    };
    let mut kept = Mapping::new();
    for (key, value) in config.iter().filter(|(key, value)| !is_generated(key.text(), value)) {
        kept.insert(key.clone(), value.clone());
    }
    let same_names = NAMES.into_iter().filter(|name| kept.get(name).is_some()).collect();
    ClonedUserData { text: cloud_config(kept), same_names }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::VmName;
    use crate::plan::UserData;

    fn seed(fqdn: Option<&str>) -> SeedPlan {
        let vm: VmName = "web".parse().unwrap();
        SeedPlan {
            volume: vm.seed_volume(),
            hostname: "web".into(),
            fqdn: fqdn.map(str::to_owned),
            ssh_keys: Vec::new(),
            password_hash: None,
            ssh_password_auth: false,
            user_data: UserData::Generated,
            network_config: None,
        }
    }

    #[test]
    fn names_and_host_keys_of_the_original_are_left_out() {
        let merged = "#cloud-config\nhostname: web\nfqdn: web.example.com\nmanage_etc_hosts: localhost\n\
                      ssh_keys: {ed25519_private: x}\nruncmd: [\"echo $x\"]\n";
        let cloned = clone_user_data(merged, &seed(Some("web.example.com")));
        assert_eq!(cloned.text.lines().next(), Some("#cloud-config"));
        assert!(cloned.text.contains("echo $x") && cloned.same_names.is_empty(), "{cloned:?}");
        for gone in ["hostname", "fqdn", "manage_etc_hosts", "ssh_keys"] {
            assert!(!cloned.text.contains(gone), "{gone}: {}", cloned.text);
        }
    }

    #[test]
    fn names_that_the_user_chose_are_kept_and_named() {
        let merged = "#cloud-config\nhostname: shop\nfqdn: shop.example.com\nmanage_etc_hosts: true\n";
        let cloned = clone_user_data(merged, &seed(None));
        assert_eq!(cloned.same_names, ["hostname", "fqdn"]);
        assert!(cloned.text.contains("manage_etc_hosts: true"), "{}", cloned.text);
        let script = "#!/bin/sh\n";
        assert_eq!(clone_user_data(script, &seed(None)).text, script);
    }
}
