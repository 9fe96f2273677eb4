//! Reads answers of the guest agent (QEMU's page "QEMU Guest Agent Protocol Reference").

use serde::Deserialize;

use crate::GuestAddress;

/// The command for the addresses of a guest. libvirt's own call for it waits for ever on an agent that is
/// connected and does not answer.
pub(super) const GET_INTERFACES: &str = r#"{"execute":"guest-network-get-interfaces"}"#;

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "return")]
    interfaces: Vec<Interface>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Interface {
    #[serde(default)]
    hardware_address: String,
    #[serde(default)]
    ip_addresses: Vec<Address>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Address {
    ip_address: String,
    prefix: u8,
}

/// The addresses in an answer to [`GET_INTERFACES`]; none where it is something else. A guest may say anything.
pub(super) fn addresses(answer: &str) -> Vec<GuestAddress> {
    let Ok(Answer { interfaces }) = serde_json::from_str(answer) else { return Vec::new() };
    interfaces.iter().flat_map(addresses_of).collect()
}

fn addresses_of(interface: &Interface) -> impl Iterator<Item = GuestAddress> {
    let mac = interface.hardware_address.to_lowercase();
    interface.ip_addresses.iter().filter_map(move |one| {
        Some(GuestAddress { mac: mac.clone(), ip: one.ip_address.parse().ok()?, prefix: one.prefix })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_all_interfaces() {
        let answer = r#"{"return": [
            {"name": "lo", "ip-addresses": [{"ip-address-type": "ipv4", "ip-address": "127.0.0.1", "prefix": 8}],
             "hardware-address": "00:00:00:00:00:00", "statistics": {"tx-packets": 0}},
            {"name": "eth0", "hardware-address": "52:54:00:AA:00:01", "ip-addresses": [
                {"ip-address-type": "ipv4", "ip-address": "10.0.0.7", "prefix": 24},
                {"ip-address-type": "ipv6", "ip-address": "fe80::1", "prefix": 64},
                {"ip-address-type": "ipv6", "ip-address": "junk", "prefix": 64}]},
            {"name": "sit0"}]}"#;
        let found: Vec<String> =
            addresses(answer).iter().map(|a| format!("{} {}/{}", a.mac, a.ip, a.prefix)).collect();
        assert_eq!(
            found,
            [
                "00:00:00:00:00:00 127.0.0.1/8",
                "52:54:00:aa:00:01 10.0.0.7/24",
                "52:54:00:aa:00:01 fe80::1/64"
            ]
        );
    }

    #[test]
    fn an_answer_that_is_none_has_no_addresses() {
        for answer in ["", "{", "[]", r#"{"return": {}}"#, r#"{"error": {"class": "CommandNotFound"}}"#] {
            assert_eq!(addresses(answer), [], "{answer}");
        }
    }
}
