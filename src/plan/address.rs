//! Addresses as text, judged one by one; what they mean beside each other is [`super::network`]'s.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

/// An IPv4 address with prefix length that a guest can have (`ip`).
pub fn ipv4_net(text: &str) -> Result<Ipv4Net, String> {
    match net(text)? {
        IpNet::V4(net) => Ok(net),
        IpNet::V6(_) => {
            Err("is IPv6; put it under 'addresses': ip is the IPv4 address that names MAC and tap".into())
        }
    }
}

/// An address with prefix length that a guest can have.
pub(super) fn net(text: &str) -> Result<IpNet, String> {
    let Some((address, prefix)) = text.split_once('/') else {
        return Err(match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => format!("has no prefix length; write {text}/24 if the network is a /24"),
            Ok(IpAddr::V6(_)) => format!("has no prefix length; write {text}/64 if the network is a /64"),
            Err(_) => "is not an IP address with prefix length, such as 10.20.30.40/24".into(),
        });
    };
    let address: IpAddr =
        address.parse().map_err(|_| format!("does not begin with an IP address, but with {address:?}"))?;
    let net = IpNet::new(address, prefix_length(address, prefix)?)
        .map_err(|_| "has a prefix length that is too long".to_owned())?;
    refuse_special(net).map(|()| net)
}

fn prefix_length(address: IpAddr, prefix: &str) -> Result<u8, String> {
    let most = if address.is_ipv4() { 32 } else { 128 };
    if let Some(length) = prefix.parse().ok().and_then(|mask| ipnet::ipv4_mask_to_prefix(mask).ok()) {
        return Err(format!("has a netmask; write the prefix length, /{length}"));
    }
    // Rust's parser would take "+24" too.
    let digits = prefix.bytes().all(|b| b.is_ascii_digit());
    match prefix.parse() {
        Ok(length) if digits && (1..=most).contains(&length) => Ok(length),
        _ => Err(format!("has the prefix length {prefix:?}; it must be from 1 to {most}")),
    }
}

/// Addresses that no interface can have (RFC 1122, section 3.2.1.3; RFC 4291, section 2.4).
fn refuse_special(net: IpNet) -> Result<(), String> {
    let address = net.addr().to_canonical();
    let what = match net {
        _ if address.is_unspecified() => "is the unspecified address",
        _ if address.is_loopback() => "is a loopback address",
        _ if address.is_multicast() => "is a multicast address",
        IpNet::V4(v4) if v4.addr().is_broadcast() => "is the broadcast address",
        // A /31 has two hosts and neither of these (RFC 3021), a /32 has one.
        IpNet::V4(v4) if v4.prefix_len() < 31 && v4.addr() == v4.network() => "is the network's own address",
        IpNet::V4(v4) if v4.prefix_len() < 31 && v4.addr() == v4.broadcast() => {
            "is the network's broadcast address"
        }
        IpNet::V4(_) | IpNet::V6(_) => return Ok(()),
    };
    Err(format!("{what}; a guest cannot have it"))
}

/// A gateway: an IPv4 address inside the subnet of `ip` (where that is known), and another one.
pub(super) fn gateway(text: &str, ip: Option<Ipv4Net>) -> Result<Ipv4Addr, String> {
    let gateway = match bare(text)? {
        IpAddr::V4(gateway) => gateway,
        IpAddr::V6(_) => return Err("is IPv6; gateway is the IPv4 one".into()),
    };
    let Some(ip) = ip else { return Ok(gateway) };
    if gateway == ip.addr() {
        return Err("is the interface's own address".into());
    }
    if !ip.contains(&gateway) {
        return Err(format!("is not inside {}, the network of ip", ip.trunc()));
    }
    refuse_special(IpNet::V4(Ipv4Net::new_assert(gateway, ip.prefix_len())))
        .map_err(|message| message.replace("a guest", "a gateway"))?;
    Ok(gateway)
}

/// Reads the address of a name server.
///
/// # Errors
/// Why a text is none, as the rest of a sentence that begins with it.
pub fn name_server(text: &str) -> Result<IpAddr, String> {
    let server = bare(text)?;
    if server.is_unspecified() || server.is_multicast() {
        return Err("cannot be the address of a name server".into());
    }
    Ok(server)
}

/// An address without prefix length.
fn bare(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| match text.split_once('/') {
        Some((address, _)) if address.parse::<IpAddr>().is_ok() => {
            format!("is written without prefix length: {address}")
        }
        _ => "is not an IP address".to_owned(),
    })
}
