//! Whether a webhook comes from who knows its secret.

use axum::http::HeaderMap;
use ring::hmac;

/// The headers with the HMAC-SHA256 of a body, in hexadecimal: GitHub's with a prefix, Gitea's and Forgejo's. SHA-1 is not
/// accepted.
const HEADERS: [(&str, &str); 3] =
    [("x-hub-signature-256", "sha256="), ("x-forgejo-signature", ""), ("x-gitea-signature", "")];

/// Whether a request has a signature at all.
pub(crate) fn has_signature(headers: &HeaderMap) -> bool {
    HEADERS.iter().any(|(name, _)| headers.contains_key(*name))
}

/// Whether a request has a signature of its body that was made with the secret. It takes the same time for all that do
/// not.
pub(crate) fn is_signed(headers: &HeaderMap, body: &[u8], secret: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    HEADERS.iter().any(|(name, prefix)| {
        let given = headers.get(*name).and_then(|value| value.to_str().ok());
        let signature = given.and_then(|text| text.strip_prefix(prefix)).and_then(read_hex);
        signature.is_some_and(|signature| hmac::verify(&key, body, &signature).is_ok())
    })
}

fn read_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    // Two digits are less than 256.
    Some(
        digits
            .chunks(2)
            .map(|pair| (pair.iter().fold(0, |sum, digit| sum * 16 + digit) & 0xff) as u8)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GitHub's page "Validating webhook deliveries" has this example.
    const SECRET: &[u8] = b"It's a Secret to Everybody";
    const HEX: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn with(name: &'static str, value: &str) -> HeaderMap {
        [(axum::http::HeaderName::from_static(name), value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn the_documented_example_is_accepted_and_nothing_near_it() {
        let good = format!("sha256={HEX}");
        let is_good = |headers: &HeaderMap, body: &[u8]| is_signed(headers, body, SECRET);
        assert!(is_good(&with("x-hub-signature-256", &good), b"Hello, World!"));
        assert!(is_good(&with("x-gitea-signature", HEX), b"Hello, World!"));
        assert!(is_good(&with("x-forgejo-signature", HEX), b"Hello, World!"));
        assert!(!is_good(&with("x-hub-signature-256", &good), b"Hello, World?"));
        assert!(!is_signed(&with("x-hub-signature-256", &good), b"Hello, World!", b""));
        for wrong in
            [HEX, "sha256=", "sha1=757107ea0eb2509fc211221cce984b8a37570b6d", &good[..70], "sha256=zz"]
        {
            assert!(!is_good(&with("x-hub-signature-256", wrong), b"Hello, World!"), "{wrong}");
        }
        assert!(!is_good(&with("x-hub-signature", &good), b"Hello, World!"));
        assert!(!is_good(&HeaderMap::new(), b"Hello, World!"));
    }
}
