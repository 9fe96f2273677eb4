//! Reads secrets back from a seed.
//!
//! A VM's record in libvirt is readable by anyone who may look; the seed is not. So the password hash is in
//! the seed only, and this reads it there.

use crate::yaml::node::{Node, read_documents};

/// What a seed's user-data holds that the record does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeedSecrets {
    /// Root's password, hashed.
    pub password_hash: Option<String>,
}

/// Reads the secrets of a user-data. What is no cloud-config has none that foundry put there.
pub fn read_seed_secrets(user_data: &str) -> SeedSecrets {
    let config = read_documents(user_data).ok().and_then(|documents| documents.into_iter().next());
    let chpasswd = config.as_ref().and_then(|c| c.get("chpasswd"));
    let password_hash = chpasswd.and_then(|c| from_users(c).or_else(|| from_list(c)));
    SeedSecrets { password_hash }
}

/// `chpasswd.users`, as this foundry writes it.
fn from_users(chpasswd: &Node) -> Option<String> {
    let users = chpasswd.get("users")?.as_sequence()?;
    let root = users.iter().find(|u| u.get("name").and_then(Node::as_text) == Some("root"))?;
    let is_hash = root.get("type").is_none_or(|t| t.as_text() == Some("hash"));
    root.get("password").filter(|_| is_hash)?.as_text().map(str::to_owned)
}

/// `chpasswd.list`, as the first foundry wrote it: lines `name:hash`, or a list of them. What does not
/// begin with `$` is a password in clear, not a hash.
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
    fn the_hash_of_root_is_found_in_both_forms() {
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
    fn what_is_no_hash_of_root_is_not_taken_for_one() {
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
