//! The JSON web token by which a GitHub App says who it is (GitHub's page "Generating a JSON Web Token (JWT) for a GitHub
//! App"; RFC 7519, and RS256 of RFC 7518).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

/// How far back a token is dated, in seconds: GitHub's clock may be behind.
const DATED_BACK: i64 = 60;
/// How long a token is good, in seconds: GitHub takes at most ten minutes from its own present.
const GOOD_FOR: i64 = 540;
/// The shortest key, in bits (NIST SP 800-131A).
const LEAST_BITS: usize = 2048;

/// Reads a private key in PEM, of either form (PKCS #1 or PKCS #8).
///
/// # Errors
/// What is wrong with it, without any part of it.
pub(crate) fn read_rsa_key(pem: &str) -> Result<RsaKeyPair, String> {
    if pem.contains("ENCRYPTED") {
        return Err("is encrypted; foundry cannot ask for its passphrase".into());
    }
    let read = PrivateKeyDer::from_pem_slice(pem.as_bytes());
    let pair = match read.map_err(|_| "has no private key in PEM".to_owned())? {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return Err("is not an RSA key, which GitHub's are".into()),
    };
    let too_short = || format!("is an RSA key of less than {LEAST_BITS} bits");
    // The reason is one of ring's own words, not of the key.
    let pair = pair.map_err(|rejected| match rejected.to_string().as_str() {
        "TooSmall" => too_short(),
        "WrongAlgorithm" => "is not an RSA key, which GitHub's are".to_owned(),
        why => format!("is no valid RSA key ({why})"),
    })?;
    if pair.public().modulus_len() * 8 < LEAST_BITS { Err(too_short()) } else { Ok(pair) }
}

/// Makes a token for the App with this id, at this time in seconds since 1970.
///
/// # Errors
/// If the system gives no random numbers.
pub(crate) fn sign_app_jwt(key: &RsaKeyPair, id: &str, now: i64) -> Result<String, String> {
    let encode = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = encode(json!({"alg": "RS256", "typ": "JWT"}));
    let claims = encode(json!({"iat": now - DATED_BACK, "exp": now + GOOD_FOR, "iss": id}));
    let signed = format!("{header}.{claims}");
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| "cannot be used to sign: the system gives no random numbers".to_owned())?;
    Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}
