//! The guest's SSH host key pair, made before the first boot.
//!
//! The private key is in the seed's vendor-data only (cloud-init's module `cc_ssh`, `ssh_keys`); the record has the
//! public one. With `ssh_keys`, cloud-init deletes the keys of the image (`ssh_deletekeys`, by default true) and
//! generates none itself, so the guest has this key and no other.

use super::check::SeedError;
use crate::ssh_key_pair::SshKeyPair;
use crate::yaml::node::{Mapping, Node};

/// An Ed25519 host key pair in OpenSSH's formats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyPair(SshKeyPair);

impl HostKeyPair {
    /// Generates a key pair from the system's random numbers.
    ///
    /// # Errors
    /// If the system has none.
    pub fn generate() -> Result<Self, SeedError> {
        let failed = |cause| SeedError(format!("cannot make the guest's SSH host key: {cause}"));
        SshKeyPair::generate().map(Self).map_err(failed)
    }

    /// Returns the public key, type and base64, as in known_hosts.
    pub fn public(&self) -> &str {
        self.0.public()
    }

    /// Creates the vendor-data that installs the key.
    pub fn vendor_data(&self) -> String {
        let keys = Mapping::new()
            .with_entry("ed25519_private", Node::from_string(self.0.private()))
            .with_entry("ed25519_public", Node::from_string(self.0.public()));
        format!("#cloud-config\n{}", Node::from(Mapping::new().with_entry("ssh_keys", keys.into())).to_yaml())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::node::read_documents;
    use ssh_key::PrivateKey;

    #[test]
    fn vendor_data_has_both_keys_and_debug_only_the_public_one() {
        let pair = HostKeyPair::generate().unwrap();
        assert!(pair.public().starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"), "{}", pair.public());
        let text = pair.vendor_data();
        let document = read_documents(&text).unwrap().remove(0);
        let keys = document.get("ssh_keys").unwrap();
        let private = keys.get("ed25519_private").and_then(Node::as_text).unwrap();
        // sshd refuses a key file without the final line break.
        assert!(private.ends_with("-----END OPENSSH PRIVATE KEY-----\n"), "{private:?}");
        assert_eq!(keys.get("ed25519_public").and_then(Node::as_text), Some(pair.public()));
        let read = PrivateKey::from_openssh(private).unwrap();
        assert_eq!(read.public_key().to_openssh().unwrap().trim(), pair.public());
        assert!(!format!("{pair:?}").contains("PRIVATE"), "{pair:?}");
        assert_ne!(HostKeyPair::generate().unwrap().public(), pair.public());
    }
}
