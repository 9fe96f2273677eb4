//! Validates single addresses; [`super::network`] checks how they fit together.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// Parses an IPv4 address with prefix length that a guest can have (`ip`).
pub fn parse_ipv4_net(text: &str) -> Result<Ipv4Net, String> {
    match parse_net(text)? {
        IpNet::V4(net) => Ok(net),
        IpNet::V6(_) => Err(
            "is IPv6; put it under 'addresses': MAC address and tap are derived from ip, which must be IPv4"
                .into(),
        ),
    }
}

/// Parses an address with prefix length that a guest can have.
pub(super) fn parse_net(text: &str) -> Result<IpNet, String> {
    let Some((address, prefix)) = text.split_once('/') else {
        return Err(match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => format!("has no prefix length; write {text}/24 if the network is a /24"),
            Ok(IpAddr::V6(_)) => format!("has no prefix length; write {text}/64 if the network is a /64"),
            Err(_) => "is not an IP address with prefix length, such as 10.20.30.40/24".into(),
        });
    };
    let address: IpAddr =
        address.parse().map_err(|_| format!("begins with {address:?}, which is not an IP address"))?;
    let net = IpNet::new(address, parse_prefix_length(address, prefix)?)
        .map_err(|_| "has a prefix length that is too long".to_owned())?;
    refuse_special(net).map(|()| net)
}

fn parse_prefix_length(address: IpAddr, prefix: &str) -> Result<u8, String> {
    let most = if address.is_ipv4() { 32 } else { 128 };
    if let Some(length) = prefix.parse().ok().and_then(|mask| ipnet::ipv4_mask_to_prefix(mask).ok()) {
        return Err(format!("has a netmask; write the prefix length, /{length}"));
    }
    // Rust's parser would also accept "+24".
    let digits = prefix.bytes().all(|b| b.is_ascii_digit());
    match prefix.parse() {
        Ok(length) if digits && (1..=most).contains(&length) => Ok(length),
        _ => Err(format!("has the prefix length {prefix:?}; it must be from 1 to {most}")),
    }
}

/// Refuses addresses that no interface can have (RFC 1122, section 3.2.1.3; RFC 4291, section 2.4).
fn refuse_special(net: IpNet) -> Result<(), String> {
    // `::ffff:127.0.0.1` is judged like 127.0.0.1.
    let address = net.addr().to_canonical();
    let what = match net {
        _ if address.is_unspecified() => "is the unspecified address",
        _ if address.is_loopback() => "is a loopback address",
        _ if address.is_multicast() => "is a multicast address",
        IpNet::V4(v4) if v4.addr().is_broadcast() => "is the broadcast address",
        // A /31 has two hosts and neither network nor broadcast address (RFC 3021); a /32 has one host.
        IpNet::V4(v4) if v4.prefix_len() < 31 && v4.addr() == v4.network() => "is the network's own address",
        IpNet::V4(v4) if v4.prefix_len() < 31 && v4.addr() == v4.broadcast() => {
            "is the network's broadcast address"
        }
        IpNet::V4(_) | IpNet::V6(_) => return Ok(()),
    };
    Err(format!("{what}, which a guest cannot have"))
}

/// The networks of an interface that a gateway may be in.
#[derive(Clone, Copy)]
pub(super) struct GatewayNetworks<'a> {
    /// Addresses of the interface; `None` if they could not be read.
    pub(super) own: Option<&'a [IpNet]>,
    /// Whether the gateway may be outside of these networks.
    pub(super) on_link: bool,
}

/// Parses an IPv4 gateway of an interface.
pub(super) fn parse_gateway(text: &str, within: GatewayNetworks<'_>) -> Result<Ipv4Addr, String> {
    match parse_address(text)? {
        IpAddr::V4(gateway) => within.check_gateway(gateway.into()).map(|()| gateway),
        IpAddr::V6(_) => Err("is IPv6; write it as gateway6".into()),
    }
}

/// Parses an IPv6 gateway of an interface.
pub(super) fn parse_gateway6(text: &str, within: GatewayNetworks<'_>) -> Result<Ipv6Addr, String> {
    match parse_address(text)? {
        IpAddr::V6(gateway) => within.check_gateway(gateway.into()).map(|()| gateway),
        IpAddr::V4(_) => Err("is IPv4; write it as gateway".into()),
    }
}

impl GatewayNetworks<'_> {
    fn check_gateway(self, gateway: IpAddr) -> Result<(), String> {
        let refuse = |net| refuse_special(net).map_err(|message| message.replace("a guest", "a gateway"));
        refuse(IpNet::from(gateway))?;
        let Some(own) = self.own else { return Ok(()) };
        if own.iter().any(|net| net.addr() == gateway) {
            return Err("is the interface's own address".into());
        }
        match own.iter().find(|net| net.contains(&gateway)) {
            Some(net) => refuse(IpNet::new(gateway, net.prefix_len()).unwrap_or(*net)),
            // Every IPv6 interface also has a link-local address.
            None if self.on_link || is_link_local(gateway) => Ok(()),
            None => Err(outside_message(gateway, own)),
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn outside_message(gateway: IpAddr, own: &[IpNet]) -> String {
    let same = own.iter().filter(|net| net.addr().is_ipv4() == gateway.is_ipv4());
    let nets: Vec<String> = same.map(|net| net.trunc().to_string()).collect();
    let whose = match nets.len() {
        0 => return "needs an IPv6 address on the interface".into(),
        1 if gateway.is_ipv4() => "the network of ip",
        1 => "the network of its address",
        _ => "the networks of its addresses",
    };
    format!("is not inside {}, {whose}; if it is reachable directly, add 'onLink: true'", nets.join(" or "))
}

/// Parses a search domain. The result is in lower case and without a final dot.
pub(super) fn parse_search_domain(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_lowercase();
    if name.len() > 253 {
        return Err(format!("has {} characters; a domain name has at most 253", name.len()));
    }
    // No top-level domain is a number (RFC 3696, section 2), so this is probably the address of a name server.
    if name.rsplit('.').next().is_some_and(|top| !top.is_empty() && top.bytes().all(|b| b.is_ascii_digit())) {
        return Err("is a number or an address, not a domain name; put name servers into dnsServers".into());
    }
    match name.split('.').find(|label| !is_search_label(label)) {
        None => Ok(name),
        Some(bad) => Err(format!(
            "is not a domain name: its part {bad:?} must be 1 to 63 of a-z, 0-9, '_' and '-', without '-' at its ends"
        )),
    }
}

/// Checks a label of a search domain. It may contain an underscore, as in `_tcp.example.com`, and no '-' at its ends.
fn is_search_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Reads the address of a name server.
///
/// # Errors
/// Why the text is not one, as the rest of a sentence that begins with the text.
pub fn parse_name_server(text: &str) -> Result<IpAddr, String> {
    let server = parse_address(text)?;
    if server.is_unspecified() || server.is_multicast() {
        return Err("cannot be the address of a name server".into());
    }
    Ok(server)
}

/// Parses an address without prefix length.
fn parse_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| match text.split_once('/') {
        Some((address, _)) if address.parse::<IpAddr>().is_ok() => {
            format!("must be written without prefix length: {address}")
        }
        _ => "is not an IP address".to_owned(),
    })
}
