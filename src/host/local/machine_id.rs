//! Identifies this machine in records, and proves that only this machine can have written something.
//!
//! The machine id must not be shown (machine-id(5)). Applications derive their own id from it, as with
//! `sd_id128_get_machine_app_specific(3)`.

use std::fs;

use sha2::{Digest, Sha256};

/// Foundry's application id for deriving the shown id; any fixed number would do.
const NAME: [u8; 16] = *b"\x5f\x0e\x8c\x61\xb7\x3a\x4d\x02\x9d\x1f\x2e\x47\xc5\x90\x6a\xd3";
/// The same for the key of [`prove`]. The derived key is never shown.
const KEY: [u8; 16] = *b"\xa4\x17\x3c\x9e\x20\x6b\x4f\xd8\x8a\x55\xf1\x0d\x72\xce\x39\xb6";

/// Reads the machine id (machine-id(5)). Returns an empty text if there is none.
pub(super) fn read_machine_id() -> String {
    let read = |file: &&str| fs::read_to_string(file).ok().filter(|text| !text.trim().is_empty());
    let id = ["/etc/machine-id", "/var/lib/dbus/machine-id"].iter().find_map(read);
    id.unwrap_or_default().trim().to_owned()
}

/// Derives the id that foundry shows, the same as `systemd-id128 -a APP machine-id`. A text that is not an id is
/// returned unchanged.
pub(super) fn derive_shown_id(own: &str) -> String {
    let Some(own) = parse_id(own) else { return own.to_owned() };
    let mut id = [0; 16];
    id.copy_from_slice(&hmac_sha256(&own, &NAME)[..16]);
    // Format it as a UUID of version 4, variant 1 (RFC 9562).
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    to_hex(&id)
}

/// Computes a proof for a text that only a process on this machine can have written, and no guest: it is keyed with the
/// machine id, which guests cannot read. Returns `None` if the machine has no id.
pub fn prove(thing: &str) -> Option<String> {
    let key = hmac_sha256(&parse_id(&read_machine_id())?, &KEY);
    Some(to_hex(&hmac_sha256(&key, thing.as_bytes())))
}

/// Parses 32 hexadecimal digits.
fn parse_id(id: &str) -> Option<[u8; 16]> {
    u128::from_str_radix(id, 16).ok().filter(|_| id.len() == 32).map(u128::to_be_bytes)
}

fn to_hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Computes HMAC-SHA256 (RFC 2104). The key must not be longer than a block.
fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let padded = |pad: u8| -> Vec<u8> {
        let key = key.iter().copied().chain(std::iter::repeat(0));
        key.take(64).map(|octet| octet ^ pad).collect()
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 1 and 2.
    #[test]
    fn hmac_matches_rfc_4231() {
        assert_eq!(
            to_hex(&hmac_sha256(&[0x0b; 20], b"Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            to_hex(&hmac_sha256(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn shown_id_does_not_reveal_machine_id() {
        let own = "0123456789abcdef0123456789abcdef";
        let shown = derive_shown_id(own);
        assert!(shown.len() == 32 && shown != own, "{shown}");
        assert_eq!(derive_shown_id(own), shown);
        assert_ne!(derive_shown_id("0123456789abcdef0123456789abcdee"), shown);
        assert_eq!(derive_shown_id(""), "");
    }

    #[test]
    fn proof_differs_for_each_text() {
        if read_machine_id().is_empty() {
            return;
        }
        assert_eq!(prove("a"), prove("a"));
        assert_ne!(prove("a"), prove("b"));
        assert_ne!(prove("a").unwrap()[..32], derive_shown_id(&read_machine_id()));
    }
}
