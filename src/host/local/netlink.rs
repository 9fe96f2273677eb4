//! Reads interfaces, addresses, routes and neighbours of this machine from the kernel by rtnetlink(7).
//!
//! Numbers are from `linux/rtnetlink.h`, `linux/if_link.h` and `linux/neighbour.h`. Unknown messages are skipped: a
//! newer kernel may send more, never less.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use crate::{LinkAddress, Neighbour, Neighbourhood};

const GET_LINK: u16 = 18;
const GET_ADDRESS: u16 = 22;
const GET_ROUTE: u16 = 26;
const GET_NEIGHBOUR: u16 = 30;

/// The timeout for an answer of the kernel.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// How long to wait for neighbours to answer ARP or neighbour discovery.
const NEIGHBOURS_WITHIN: Duration = Duration::from_millis(50);

/// A network interface of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KernelLink {
    pub(super) name: String,
    pub(super) mtu: u32,
    /// `bridge`, `openvswitch`, …; empty for a plain device.
    pub(super) kind: String,
    pub(super) is_up: bool,
}

/// The interfaces, by index.
pub(super) fn list_links() -> io::Result<BTreeMap<u32, KernelLink>> {
    Ok(dump_table(GET_LINK)?.iter().filter_map(|message| parse_link(message)).collect())
}

/// All addresses, each with the index of its interface.
pub(super) fn list_addresses() -> io::Result<Vec<(u32, IpNet)>> {
    Ok(dump_table(GET_ADDRESS)?.iter().filter_map(|message| parse_address(message)).collect())
}

/// The addresses, routes and neighbours of this machine. Those of `wanted` that are in one of its own networks are
/// probed first.
pub(crate) fn read_neighbourhood(wanted: &[IpAddr]) -> io::Result<Neighbourhood> {
    let links = list_links()?;
    let name = |number: u32| links.get(&number).map_or_else(String::new, |link| link.name.clone());
    let own = list_addresses()?;
    let near: Vec<IpAddr> = wanted.iter().copied().filter(|ip| is_near(&own, *ip)).collect();
    probe_addresses(&near);
    let addresses = own.into_iter().map(|(number, net)| LinkAddress { link: name(number), net }).collect();
    let routes = dump_table(GET_ROUTE)?.iter().filter_map(|message| parse_route(message)).collect();
    let until = Instant::now() + NEIGHBOURS_WITHIN;
    loop {
        let table: Vec<_> =
            dump_table(GET_NEIGHBOUR)?.iter().filter_map(|message| parse_neighbour(message)).collect();
        let is_open = table.iter().any(|(_, ip, state, _)| near.contains(ip) && *state == INCOMPLETE);
        if is_open && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        let known = table.into_iter().filter(|(_, _, state, _)| state & KNOWN != 0);
        let neighbours =
            known.map(|(number, ip, _, mac)| Neighbour { link: name(number), ip, mac }).collect();
        return Ok(Neighbourhood { addresses, routes, neighbours });
    }
}

fn is_near(own: &[(u32, IpNet)], ip: IpAddr) -> bool {
    own.iter().any(|(_, net)| net.contains(&ip) && net.addr() != ip && !net.addr().is_loopback())
}

/// Makes the kernel resolve these addresses, by a datagram to the discard port of each (RFC 863).
fn probe_addresses(addresses: &[IpAddr]) {
    for ip in addresses {
        let any: IpAddr =
            if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        // If sending fails, the address stays unresolved.
        let _ = UdpSocket::bind(SocketAddr::new(any, 0))
            .and_then(|socket| socket.send_to(&[0], SocketAddr::new(*ip, 9)));
    }
}

/// All messages of an answer, without their headers.
fn dump_table(question: u16) -> io::Result<Vec<Vec<u8>>> {
    const REQUEST_DUMP: u16 = 0x1 | 0x300;
    // Protocol `None` is 0, NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWERS_WITHIN))?;
    // The header (16 bytes), then the largest request body, all zero: every address family.
    let mut request = [0_u8; 32];
    request[..4].copy_from_slice(&32_u32.to_ne_bytes());
    request[4..6].copy_from_slice(&question.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    send(&socket, &request, SendFlags::empty())?;
    let mut messages = Vec::new();
    // The kernel fills at most 32 KiB at a time.
    let mut buffer = vec![0_u8; 64 << 10];
    loop {
        let (received, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = buffer.get(..received).unwrap_or_default();
        if rest.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while let Some((kind, body, after)) = next_message(rest) {
            match kind {
                DONE => return Ok(messages),
                ERROR => return Err(io::Error::other("the kernel refuses to say")),
                _ => messages.push(body.to_vec()),
            }
            rest = after;
        }
    }
}

const ERROR: u16 = 2;
const DONE: u16 = 3;

/// The first message: its type, its body, and the bytes after it.
fn next_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = read_u32(bytes, 0)? as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(16..length)?;
    // Messages are aligned to 4 bytes (NLMSG_ALIGN).
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes of a message from `offset` on, with their types.
fn parse_attributes(bytes: &[u8], offset: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes.get(offset..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let content = rest.get(4..length)?;
        // Attributes are aligned to 4 bytes (NLA_ALIGN).
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The two highest bits are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
        Some((kind & 0x3fff, content))
    })
}

fn find_attribute(bytes: &[u8], offset: usize, wanted: u16) -> Option<&[u8]> {
    parse_attributes(bytes, offset).find(|(kind, _)| *kind == wanted).map(|(_, content)| content)
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn read_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// `ifinfomsg` and its attributes.
fn parse_link(message: &[u8]) -> Option<(u32, KernelLink)> {
    const NAME: u16 = 3;
    const MTU: u16 = 4;
    const INFO: u16 = 18;
    const INFO_KIND: u16 = 1;
    let kind =
        find_attribute(message, 16, INFO).and_then(|info| find_attribute(info, 0, INFO_KIND)).map(read_text);
    let link = KernelLink {
        name: read_text(find_attribute(message, 16, NAME)?),
        mtu: read_u32(find_attribute(message, 16, MTU)?, 0)?,
        kind: kind.unwrap_or_default(),
        is_up: read_u32(message, 8)? & 1 == 1,
    };
    Some((read_u32(message, 4)?, link))
}

/// `ifaddrmsg` and its attributes; for a point-to-point interface, the local end.
fn parse_address(message: &[u8]) -> Option<(u32, IpNet)> {
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    let bytes = find_attribute(message, 8, LOCAL).or_else(|| find_attribute(message, 8, ADDRESS))?;
    Some((read_u32(message, 4)?, IpNet::new(read_ip(bytes)?, *message.get(1)?).ok()?))
}

/// `rtmsg` and its attributes; unicast routes except the default ones.
fn parse_route(message: &[u8]) -> Option<IpNet> {
    const UNICAST: u8 = 1;
    const DESTINATION: u16 = 1;
    let (length, kind) = (*message.get(1)?, *message.get(7)?);
    if kind != UNICAST || length == 0 {
        return None;
    }
    IpNet::new(read_ip(find_attribute(message, 12, DESTINATION)?)?, length).ok()
}

/// States of a neighbour: being resolved, and resolved.
const INCOMPLETE: u16 = 0x01;
const KNOWN: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;

/// `ndmsg` and its attributes.
fn parse_neighbour(message: &[u8]) -> Option<(u32, IpAddr, u16, String)> {
    const DESTINATION: u16 = 1;
    const LINK_ADDRESS: u16 = 2;
    let state = u16::from_ne_bytes(message.get(8..10)?.try_into().ok()?);
    let octets = find_attribute(message, 12, LINK_ADDRESS).unwrap_or_default();
    let mac: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    Some((read_u32(message, 4)?, read_ip(find_attribute(message, 12, DESTINATION)?)?, state, mac.join(":")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_loopback() {
        let links = list_links().unwrap();
        let (number, lo) = links.iter().find(|(_, link)| link.name == "lo").unwrap();
        assert!(lo.mtu >= 1500, "{lo:?}");
        let addresses = list_addresses().unwrap();
        assert!(!lo.is_up || addresses.iter().any(|(at, net)| at == number && net.addr().is_loopback()));
        read_neighbourhood(&["127.0.0.1".parse().unwrap()]).unwrap();
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        for length in 0..40 {
            let bytes = vec![0xff; length];
            assert_eq!(
                (parse_link(&bytes), parse_address(&bytes), parse_route(&bytes), parse_neighbour(&bytes)),
                (None, None, None, None)
            );
            assert!(next_message(&bytes).is_none());
            assert_eq!(parse_attributes(&[0; 8][..length.min(8)], 0).count(), 0);
        }
    }
}
