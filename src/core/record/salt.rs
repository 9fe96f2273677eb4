//! Salted digests of secrets: the record alone does not allow guessing a weak one.

use uuid::Uuid;

use super::digest_of;

/// How a digest with a salt begins. Without one it begins as [`digest`] has it.
const SALTED: &str = "salted-";

/// What is hashed in front of a secret. It is each VM's own and lies in its seed, beside the secrets themselves: who may
/// read it need not guess.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt(String);

impl Salt {
    /// A new one: 122 random bits.
    pub fn generate() -> Self {
        Self(Uuid::new_v4().simple().to_string())
    }

    /// One that was kept.
    pub fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && text.bytes().all(|octet| octet.is_ascii_hexdigit()))
            .then(|| Self(text.to_owned()))
    }

    /// As it is kept: hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `salted-sha256:` and the digest in hexadecimal.
    pub fn digest_secret(&self, secret: &str) -> String {
        format!("{SALTED}{}", digest_of(&format!("{}{secret}", self.0)))
    }
}

/// Whether a secret is the one that was recorded, with the salt that the seed has; an older foundry recorded it without.
pub fn is_recorded(secret: &str, recorded: &str, salt: Option<&Salt>) -> bool {
    if !recorded.starts_with(SALTED) {
        return digest_of(secret) == recorded;
    }
    salt.is_some_and(|salt| salt.digest_secret(secret) == recorded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_tells_nothing_without_its_salt() {
        let (one, two) = (Salt::generate(), Salt::generate());
        assert_ne!(one.digest_secret("pin: 1234"), two.digest_secret("pin: 1234"));
        let recorded = one.digest_secret("pin: 1234");
        assert!(recorded.starts_with("salted-sha256:"));
        assert!(is_recorded("pin: 1234", &recorded, Salt::parse(one.as_str()).as_ref()));
        assert!(!is_recorded("pin: 1235", &recorded, Some(&one)));
        assert!(!is_recorded("pin: 1234", &recorded, Some(&two)));
        assert!(!is_recorded("pin: 1234", &recorded, None));
        assert!(is_recorded("pin: 1234", &digest_of("pin: 1234"), Some(&one)), "as older ones have it");
        assert!(Salt::parse("").is_none() && Salt::parse("x\n").is_none());
    }
}
