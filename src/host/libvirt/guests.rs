//! Information from guests: through libvirt, and through their agent (QEMU's page "QEMU Guest Agent Protocol
//! Reference").

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use uuid::Uuid;
use virt::sys as c;

use super::domains::name_of;
use super::{Libvirt, vm};
use crate::{AddressSource, AgentAnswer, GuestAddress, Guests, Result};

/// Timeout for the agent's answer, because a hung agent must not delay a listing.
const AGENT_WITHIN: Duration = Duration::from_secs(1);

impl Guests for Libvirt {
    fn addresses(&self, domain: Uuid, source: AddressSource) -> Result<Vec<GuestAddress>> {
        let source = match source {
            AddressSource::Lease => c::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
            AddressSource::Agent => {
                let answer = self.agent(domain, GET_INTERFACES, AGENT_WITHIN)?;
                return Ok(answer.map(|text| addresses_in(&text)).unwrap_or_default());
            }
            AddressSource::Arp => c::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP,
        };
        let Some(handle) = self.find_handle(domain)? else { return Ok(Vec::new()) };
        let asked = vm(format!("ask for the addresses of domain '{}'", name_of(&handle)));
        match self.call("virDomainInterfaceAddresses", &asked, || handle.interface_addresses(source, 0)) {
            Ok(interfaces) => Ok(interfaces.into_iter().flat_map(addresses_of).collect()),
            Err(lost) if lost.outcome_unknown() => Err(lost),
            // Without an agent or a lease file, or if the driver lacks this source, no addresses are known.
            Err(_) => Ok(Vec::new()),
        }
    }

    fn ask_agent(&self, domain: Uuid, command: &str, timeout: Duration) -> Result<AgentAnswer> {
        let Some(handle) = self.find_handle(domain)? else {
            return Ok(AgentAnswer::Silent("there is no such domain".into()));
        };
        let asked = vm(format!("ask the guest agent of domain '{}'", name_of(&handle)));
        let seconds = i32::try_from(timeout.as_secs().max(1)).unwrap_or(i32::MAX);
        match self
            .call("virDomainQemuAgentCommand", &asked, || handle.qemu_agent_command(command, seconds, 0))
        {
            Ok(answer) => Ok(AgentAnswer::Returned(answer)),
            Err(lost) if lost.outcome_unknown() => Err(lost),
            Err(failed) => Ok(judge_agent_error(failed.libvirt_words().unwrap_or_default())),
        }
    }
}

/// Tells a refusal of the agent's from a silent one. libvirt has no error code of its own for it; its
/// `qemuAgentCheckError` writes: unable to execute QEMU agent command 'guest-exec': REASON.
fn judge_agent_error(message: &str) -> AgentAnswer {
    const REFUSAL: &str = "unable to execute QEMU agent command";
    match message.split_once(REFUSAL) {
        Some((_, rest)) => {
            let reason = rest.split_once(": ").map_or(rest, |(_, reason)| reason);
            AgentAnswer::Refused(reason.trim().to_owned())
        }
        None => AgentAnswer::Silent(message.to_owned()),
    }
}

fn addresses_of(interface: virt::domain::Interface) -> impl Iterator<Item = GuestAddress> {
    let mac = interface.hwaddr.unwrap_or_default().to_lowercase();
    interface.addrs.into_iter().filter_map(move |one| {
        let ip: IpAddr = one.addr.parse().ok()?;
        Some(GuestAddress { mac: mac.clone(), ip, prefix: u8::try_from(one.prefix).ok()? })
    })
}

/// The agent command for a guest's addresses. libvirt's own call for it waits forever for an agent that is connected
/// and does not answer.
const GET_INTERFACES: &str = r#"{"execute":"guest-network-get-interfaces"}"#;

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

/// The addresses in an answer to [`GET_INTERFACES`]; none if it is anything else. The answer is not trusted, because
/// the guest controls it.
fn addresses_in(answer: &str) -> Vec<GuestAddress> {
    let Ok(Answer { interfaces }) = serde_json::from_str(answer) else { return Vec::new() };
    interfaces.iter().flat_map(addresses_of_link).collect()
}

fn addresses_of_link(interface: &Interface) -> impl Iterator<Item = GuestAddress> {
    let mac = interface.hardware_address.to_lowercase();
    interface.ip_addresses.iter().filter_map(move |one| {
        Some(GuestAddress { mac: mac.clone(), ip: one.ip_address.parse().ok()?, prefix: one.prefix })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_of_the_agent_is_told_from_its_silence() {
        let refused = "internal error: unable to execute QEMU agent command 'guest-file-open': failed to open file \
                       '/x: y' (mode: 'r'): No such file or directory";
        let reason = "failed to open file '/x: y' (mode: 'r'): No such file or directory";
        assert_eq!(judge_agent_error(refused), AgentAnswer::Refused(reason.into()));
        let silent = "Guest agent is not responding: QEMU guest agent is not connected";
        assert_eq!(judge_agent_error(silent), AgentAnswer::Silent(silent.into()));
    }

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
            addresses_in(answer).iter().map(|a| format!("{} {}/{}", a.mac, a.ip, a.prefix)).collect();
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
            assert_eq!(addresses_in(answer), [], "{answer}");
        }
    }
}
