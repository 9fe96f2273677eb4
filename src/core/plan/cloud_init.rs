//! Validates the cloud-init fields.

use super::judge::{Judge, Judged, collect_all, describe_character, is_unprintable};
use super::{SeedPlan, UserData, crypt, ssh_key};
use crate::cloud_init::{check_network_config, check_raw_user_data, check_user_data, read_host_name};
use crate::error::Code;
use crate::manifest::{self, MAX_BYTES};
use crate::names::VmName;

/// Maximum length of a line of authorized_keys in bytes. An RSA key of 16384 bits has 2.8 KB.
const MAX_KEY: usize = 16 << 10;

/// Judges `spec.cloudInit`. Without it the VM has no seed.
pub(super) fn judge_cloud_init(
    judge: &mut Judge,
    manifest: Option<&manifest::CloudInit>,
    vm: Judged<&VmName>,
) -> Judged<Option<SeedPlan>> {
    let Some(manifest) = manifest else { return Ok(None) };
    let manifest::CloudInit {
        fqdn,
        ssh_authorized_keys,
        password_hash,
        ssh_pwauth,
        ssh_password_auth,
        raw_user_data,
        user_data,
        network_config,
    } = manifest;
    let fqdn = fqdn.as_deref().map(|fqdn| self::judge_fqdn(judge, fqdn)).transpose();
    let keys = collect_all(ssh_authorized_keys.iter().enumerate().map(|(index, key)| {
        self::judge_ssh_key(judge, &format!("spec.cloudInit.sshAuthorizedKeys[{index}]"), key)
    }));
    let password_hash =
        password_hash.as_deref().map(|hash| self::judge_password_hash(judge, hash)).transpose();
    let password_auth = judge_password_auth(judge, *ssh_pwauth, *ssh_password_auth);
    let user_data = self::judge_user_data(judge, raw_user_data.as_deref(), user_data.as_deref());
    let network_config =
        network_config.as_deref().map(|config| self::judge_network_config(judge, config)).transpose();
    let (vm, fqdn) = (vm?, fqdn?);
    let user_data = user_data?;
    let own_fqdn = match &user_data {
        // Its first label is the host name, as with cloudInit.fqdn.
        UserData::Merged(text) => read_host_name(text).filter(|name| name.split('.').all(is_label)),
        UserData::Generated | UserData::Raw(_) => None,
    };
    Ok(Some(SeedPlan {
        volume: vm.seed_volume(),
        hostname: host_name(vm, fqdn.as_deref().or(own_fqdn.as_deref())),
        fqdn,
        ssh_keys: keys?,
        password_hash: password_hash?,
        ssh_password_auth: password_auth?,
        user_data,
        network_config: network_config?,
    }))
}

fn host_name(vm: &VmName, fqdn: Option<&str>) -> String {
    match fqdn.and_then(|fqdn| fqdn.split('.').next()) {
        Some(label) => label.to_owned(),
        None => vm.to_host_name(),
    }
}

/// Normalizes a fully qualified name: lower case, without the final dot.
pub(super) fn normalize_fqdn(text: &str) -> String {
    let text = text.trim();
    text.strip_suffix('.').unwrap_or(text).to_lowercase()
}

fn judge_fqdn(judge: &mut Judge, text: &str) -> Judged<String> {
    const PATH: &str = "spec.cloudInit.fqdn";
    let name = normalize_fqdn(judge.check_line(PATH, text)?);
    match check_fqdn(&name) {
        Ok(()) => Ok(name),
        Err(message) => Err(judge.reject_value(Code::HostNameUnfit, PATH, text, message)),
    }
}

/// Checks a host name by RFC 1123, section 2.1, and RFC 1035, section 2.3.4.
fn check_fqdn(name: &str) -> Result<(), String> {
    let labels: Vec<&str> = name.split('.').collect();
    if name.len() > 253 {
        return Err(format!("has {} characters; a domain name has at most 253", name.len()));
    }
    if labels.len() < 2 {
        return Err("must include a domain, such as web.example.com".into());
    }
    if let Some(bad) = labels.iter().find(|label| !is_label(label)) {
        return Err(format!(
            "has the part {bad:?}; each must be 1 to 63 of a-z, 0-9 and '-', not at the ends"
        ));
    }
    // No top-level domain is a number (RFC 3696, section 2), so this is an address.
    if labels.last().is_some_and(|top| top.bytes().all(|b| b.is_ascii_digit())) {
        return Err("must be a name, not an address".into());
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Judges one key, a line of authorized_keys, and removes white space around it.
fn judge_ssh_key(judge: &mut Judge, path: &str, text: &str) -> Judged<String> {
    let line = text.trim();
    // This check comes first, so that no message shows a private key.
    if let Some(message) = ssh_key::explain_private_key(line) {
        return Err(judge.reject_unshown(Code::SshKeyPrivate, path, message));
    }
    if line.contains(['\n', '\r']) {
        let message = "has several lines; write each key as a separate entry, without comment lines";
        return Err(judge.reject_value(Code::SshKeyUnfit, path, line, message));
    }
    // sshd treats a tab as a space, and messages show neither.
    judge.check_line_within(path, &line.replace('\t', " "), MAX_KEY)?;
    match ssh_key::check_ssh_key(line) {
        Ok(()) => Ok(line.to_owned()),
        Err(message) => Err(judge.reject_value(Code::SshKeyUnfit, path, line, message)),
    }
}

/// Judges a password hash. No message shows it: it is a secret, and it may be the password itself.
fn judge_password_hash(judge: &mut Judge, hash: &str) -> Judged<String> {
    match crypt::check_password_hash(hash) {
        Ok(()) => Ok(hash.to_owned()),
        Err(message) => {
            Err(judge.reject_unshown(Code::PasswordHashUnfit, "spec.cloudInit.passwordHash", message))
        }
    }
}

fn judge_password_auth(judge: &mut Judge, first: Option<bool>, second: Option<bool>) -> Judged<bool> {
    match (first, second) {
        (Some(first), Some(second)) if first != second => {
            let message =
                format!("differs from sshPwauth ({first}), which is the same setting; leave one out");
            Err(judge.reject_value(Code::Contradiction, "spec.cloudInit.sshPasswordAuth", second, message))
        }
        _ => Ok(first.or(second).unwrap_or_default()),
    }
}

fn judge_user_data(judge: &mut Judge, raw: Option<&str>, merged: Option<&str>) -> Judged<UserData> {
    const RAW: &str = "spec.cloudInit.rawUserData";
    const MERGED: &str = "spec.cloudInit.userData";
    let raw = raw
        .map(|raw| {
            judge_document(
                judge,
                RAW,
                raw,
                |c| c == '\0',
                |raw| check_raw_user_data(raw).map(|()| raw.to_owned()),
            )
        })
        .transpose();
    // A rawUserData that was rejected counts as given, too.
    let has_raw = raw != Ok(None);
    let merged = merged
        .map(|merged| {
            judge_document(judge, MERGED, merged, is_unreadable, |text| {
                check_user_data(text).map(|()| text.to_owned())
            })
        })
        .transpose();
    if has_raw && merged != Ok(None) {
        let message = "is merged with the generated user-data, but rawUserData replaces that; leave one out";
        return Err(judge.reject_unshown(Code::Contradiction, MERGED, message));
    }
    Ok(match (raw?, merged?) {
        (Some(raw), _) => UserData::Raw(raw),
        (None, Some(merged)) => UserData::Merged(merged),
        (None, None) => UserData::Generated,
    })
}

fn judge_network_config(judge: &mut Judge, text: &str) -> Judged<String> {
    judge_document(judge, "spec.cloudInit.networkConfig", text, is_unreadable, check_network_config)
}

/// Whether a character must not occur unescaped in a cloud-config. Lines may end as on Windows.
fn is_unreadable(c: char) -> bool {
    is_unprintable(c) && !matches!(c, '\n' | '\t' | '\r')
}

/// Judges a document of several lines and returns the result of `check`. Messages do not show the document, because it
/// may contain secrets.
fn judge_document(
    judge: &mut Judge,
    path: &str,
    text: &str,
    is_stray: fn(char) -> bool,
    check: fn(&str) -> Result<String, String>,
) -> Judged<String> {
    if let Some(stray) = text.chars().find(|c| is_stray(*c)) {
        return Err(judge.reject_unshown(
            Code::UserDataUnfit,
            path,
            format!("must not contain {}", describe_character(stray)),
        ));
    }
    if text.len() > MAX_BYTES {
        return Err(judge.reject_unshown(
            Code::UserDataUnfit,
            path,
            format!("has {} bytes; the maximum is {MAX_BYTES}", text.len()),
        ));
    }
    check(text).map_err(|message| judge.reject_unshown(Code::UserDataUnfit, path, message))
}
