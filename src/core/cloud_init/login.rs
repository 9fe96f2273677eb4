//! Reads from a seed's plan who may log in over SSH, and who chooses the guest's host keys.

use super::check::parse_user_config;
use super::header::Header;
use crate::plan::{SeedPlan, UserData};
use crate::record::{HostKey, SshAccess};
use crate::yaml::node::{Mapping, Node, read_documents};

/// Keys of a cloud-config by which the user decides about the host keys: `ssh_keys` are the keys, `ssh_genkeytypes` has
/// cloud-init generate some, and `vendor_data` can switch off the file that foundry's key is in.
const OWN_CHOICE: [&str; 3] = ["ssh_keys", "ssh_genkeytypes", "vendor_data"];

/// How to log in to a guest, according to its seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedLogin {
    /// The user with the SSH keys. `None` is the image's own user.
    pub user: Option<String>,
    /// The source of the guest's host keys.
    pub host_keys: HostKeyChoice,
}

impl SeedLogin {
    /// Returns what the record says about it. `generated` is the public key that foundry made.
    pub fn to_access(&self, generated: Option<&str>) -> SshAccess {
        let host_keys = match &self.host_keys {
            HostKeyChoice::Foundry => generated.map(str::to_owned).into_iter().collect(),
            HostKeyChoice::User(keys) => keys.iter().map(HostKey::to_string).collect(),
            HostKeyChoice::Unknown => Vec::new(),
        };
        SshAccess { user: self.user.clone(), host_keys }
    }
}

/// The source of a guest's host keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyChoice {
    /// Foundry makes one.
    Foundry,
    /// The user-data contains them; these are the public ones.
    User(Vec<HostKey>),
    /// The guest generates them, or it cannot be known: the user-data is not one cloud-config.
    Unknown,
}

/// Reads how to log in from the plan of a seed.
pub fn read_seed_login(seed: &SeedPlan) -> SeedLogin {
    match &seed.user_data {
        UserData::Generated => SeedLogin { user: Some("root".into()), host_keys: HostKeyChoice::Foundry },
        UserData::Merged(text) => {
            let config = parse_user_config(text).unwrap_or_default();
            let user = merged_user(seed, &config);
            SeedLogin { user, host_keys: read_host_key_choice(&config) }
        }
        UserData::Raw(text) => read_raw(text),
    }
}

/// The generated user-data has root with the manifest's keys, unless the user's part closes root's account to SSH.
fn merged_user(seed: &SeedPlan, config: &Mapping) -> Option<String> {
    let is_root_closed = config.get("disable_root").and_then(Node::as_text).is_some_and(|text| {
        // The spellings of YAML 1.1, which cloud-init reads.
        matches!(text.to_ascii_lowercase().as_str(), "true" | "yes" | "on")
    });
    let first = user_with_keys(config, |name| name != "root" || !is_root_closed);
    match (is_root_closed, seed.ssh_keys.is_empty()) {
        (false, false) => Some("root".into()),
        (false, true) => first.or_else(|| Some("root".into())),
        (true, _) => first,
    }
}

fn read_raw(text: &str) -> SeedLogin {
    let unknown = SeedLogin { user: None, host_keys: HostKeyChoice::Unknown };
    match Header::at_start(text) {
        Some(Header::CloudConfig) => {
            let documents = read_documents(text).unwrap_or_default();
            let Some(config) = documents.first().and_then(Node::as_mapping) else { return unknown };
            SeedLogin {
                user: user_with_keys(config, |name| name != "default"),
                host_keys: read_host_key_choice(config),
            }
        }
        // A script cannot set cloud-init's `ssh_keys`.
        Some(header) if header.is_script() => SeedLogin { host_keys: HostKeyChoice::Foundry, ..unknown },
        _ => unknown,
    }
}

/// Returns the first entry of `users` that has authorized keys and a fitting name.
fn user_with_keys(config: &Mapping, is_wanted: impl Fn(&str) -> bool) -> Option<String> {
    let users = config.get("users")?.as_sequence()?;
    let has_keys = |user: &&Node| {
        ["ssh_authorized_keys", "ssh-authorized-keys", "ssh_import_id"]
            .iter()
            .any(|key| user.get(key).is_some())
    };
    users.iter().filter(has_keys).find_map(|user| {
        let name = user.get("name")?.as_text()?;
        is_wanted(name).then(|| name.to_owned())
    })
}

fn read_host_key_choice(config: &Mapping) -> HostKeyChoice {
    if !OWN_CHOICE.iter().any(|key| config.get(key).is_some()) {
        return HostKeyChoice::Foundry;
    }
    let keys = config.get("ssh_keys").and_then(Node::as_mapping);
    let public = keys.into_iter().flat_map(Mapping::iter).filter(|(key, _)| key.text().ends_with("_public"));
    let read: Vec<HostKey> =
        public.filter_map(|(_, value)| HostKey::from_public_line(value.as_text()?)).collect();
    if read.is_empty() { HostKeyChoice::Unknown } else { HostKeyChoice::User(read) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD";

    fn login(user_data: UserData, keys: &[&str]) -> SeedLogin {
        read_seed_login(&SeedPlan {
            volume: "web_seed.iso".parse().unwrap(),
            hostname: "web".into(),
            fqdn: None,
            ssh_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            password_hash: None,
            ssh_password_auth: false,
            user_data,
            network_config: None,
        })
    }

    #[test]
    fn user_is_the_one_with_the_keys() {
        let merged = |text: &str| login(UserData::Merged(text.into()), &[KEY]).user;
        let raw = |text: &str| login(UserData::Raw(text.into()), &[]).user;
        assert_eq!(login(UserData::Generated, &[KEY]).user.as_deref(), Some("root"));
        assert_eq!(merged("packages: [nginx]\n").as_deref(), Some("root"));
        let bob = format!("users:\n  - name: bob\n    ssh_authorized_keys: [{KEY}]\n");
        assert_eq!(merged(&bob).as_deref(), Some("root"));
        assert_eq!(merged(&format!("{bob}disable_root: true\n")).as_deref(), Some("bob"));
        assert_eq!(merged("users: [default]\ndisable_root: yes\n"), None);
        assert_eq!(login(UserData::Merged(bob.clone()), &[]).user.as_deref(), Some("bob"));
        assert_eq!(raw(&format!("#cloud-config\n{bob}")).as_deref(), Some("bob"));
        assert_eq!(raw(&format!("#cloud-config\nssh_authorized_keys: [{KEY}]\n")), None);
        assert_eq!(raw("#!/bin/sh\n"), None);
    }

    #[test]
    fn host_key_is_foundrys_unless_the_user_data_chooses() {
        let merged = |text: &str| login(UserData::Merged(text.into()), &[]).host_keys;
        let raw = |text: &str| login(UserData::Raw(text.into()), &[]).host_keys;
        assert_eq!(login(UserData::Generated, &[]).host_keys, HostKeyChoice::Foundry);
        assert_eq!(merged("packages: [nginx]\n"), HostKeyChoice::Foundry);
        for text in ["ssh_keys: {}", "ssh_genkeytypes: [rsa]", "vendor_data: {enabled: false}"] {
            assert_eq!(merged(text), HostKeyChoice::Unknown, "{text}");
        }
        let own = format!("ssh_keys:\n  rsa_public: junk\n  ed25519_public: {KEY} root@web\n");
        let HostKeyChoice::User(keys) = merged(&own) else { panic!("{own}") };
        assert_eq!(keys.iter().map(HostKey::to_string).collect::<Vec<_>>(), [KEY]);
        assert_eq!(raw(&format!("#cloud-config\n{own}")), HostKeyChoice::User(keys));
        assert_eq!(raw("#!/bin/sh\n"), HostKeyChoice::Foundry);
        for text in ["#include\nhttp://x/\n", "## template: jinja\n#cloud-config\n", "MIME-Version: 1.0\n"] {
            assert_eq!(raw(text), HostKeyChoice::Unknown, "{text}");
        }
    }

    #[test]
    fn record_gets_public_keys_only() {
        let made = SeedLogin { user: None, host_keys: HostKeyChoice::Foundry };
        assert_eq!(made.to_access(Some(KEY)).host_keys, [KEY]);
        let unknown = SeedLogin { user: None, host_keys: HostKeyChoice::Unknown };
        assert!(unknown.to_access(Some(KEY)).host_keys.is_empty());
    }
}
