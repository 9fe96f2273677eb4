//! Reads secrets back from a seed.
//!
//! Everyone with read access to libvirt can read a VM's record, but not its seed. So the password hash is only in the
//! seed, and is read from there.

use crate::yaml::node::{Node, read_documents};

/// Secrets that are in a seed's user-data but not in the record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeedSecrets {
    /// Password hash of root.
    pub password_hash: Option<String>,
}

/// Reads the secrets of a user-data. If it is not a cloud-config, foundry put none there.
pub fn read_seed_secrets(user_data: &str) -> SeedSecrets {
    let config = read_documents(user_data).ok().and_then(|documents| documents.into_iter().next());
    let chpasswd = config.as_ref().and_then(|c| c.get("chpasswd"));
    let password_hash = chpasswd.and_then(|c| from_users(c).or_else(|| from_list(c)));
    SeedSecrets { password_hash }
}

/// Reads `chpasswd.users`, which this version writes.
fn from_users(chpasswd: &Node) -> Option<String> {
    let users = chpasswd.get("users")?.as_sequence()?;
    let root = users.iter().find(|u| u.get("name").and_then(Node::as_text) == Some("root"))?;
    let is_hash = root.get("type").is_none_or(|t| t.as_text() == Some("hash"));
    root.get("password").filter(|_| is_hash)?.as_text().map(str::to_owned)
}

/// Reads `chpasswd.list`, which the first foundry wrote: lines `name:hash`, or a list of them. A value that does not
/// begin with `$` is a plain-text password, not a hash.
fn from_list(chpasswd: &Node) -> Option<String> {
    let list = chpasswd.get("list")?;
    let lines: Vec<&str> = match list.as_sequence() {
        Some(items) => items.iter().filter_map(Node::as_text).collect(),
        None => list.as_text()?.lines().collect(),
    };
    let root = lines.iter().find_map(|line| line.trim().strip_prefix("root:"))?;
    root.starts_with('$').then(|| root.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_in(user_data: &str) -> Option<String> {
        read_seed_secrets(user_data).password_hash
    }

    #[test]
    fn hash_of_root_is_found_in_both_forms() {
        let both = [
            "#cloud-config\nchpasswd:\n  users:\n    - {name: bob, password: $6$b, type: hash}\n    - {name: root, password: $6$r$x, type: hash}\n",
            "#cloud-config\nchpasswd: {users: [{name: root, password: $6$r$x}]}\n",
            "#cloud-config\nchpasswd:\n  list: |\n    bob:$6$b\n    root:$6$r$x\n  expire: false\n",
            "#cloud-config\nchpasswd:\n  list:\n    - root:$6$r$x\n",
        ];
        for text in both {
            assert_eq!(hash_in(text).as_deref(), Some("$6$r$x"), "{text}");
        }
    }

    #[test]
    fn other_passwords_are_not_taken_for_the_hash_of_root() {
        for text in [
            "#cloud-config\nchpasswd: {users: [{name: root, password: secret, type: text}]}\n",
            "#cloud-config\nchpasswd: {users: [{name: bob, password: $6$b, type: hash}]}\n",
            "#cloud-config\nchpasswd: {list: 'root:secret'}\n",
            "#cloud-config\nusers: []\n",
            "#!/bin/sh\necho chpasswd: root\n",
            "{{{",
            "",
        ] {
            assert_eq!(hash_in(text), None, "{text}");
        }
    }
}
