//! Interfaces, addresses, routes and neighbours of this machine's kernel, by rtnetlink(7).
//!
//! Numbers are those of `linux/rtnetlink.h`, `linux/if_link.h` and `linux/neighbour.h`. What cannot be read is passed over: a
//! newer kernel may say more than is known here, never less.

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

/// How long the kernel may take for one answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// How long somebody on the same wire may take to say that an address is theirs.
const NEIGHBOURS_WITHIN: Duration = Duration::from_millis(50);

/// A network interface of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KernelLink {
    pub(super) name: String,
    pub(super) mtu: u32,
    /// `bridge`, `openvswitch`, …; empty where it is of no kind.
    pub(super) kind: String,
    pub(super) is_up: bool,
}

/// The interfaces by their numbers.
pub(super) fn links() -> io::Result<BTreeMap<u32, KernelLink>> {
    Ok(dump(GET_LINK)?.iter().filter_map(|message| link(message)).collect())
}

/// The addresses of the interfaces by their numbers.
pub(super) fn addresses() -> io::Result<Vec<(u32, IpNet)>> {
    Ok(dump(GET_ADDRESS)?.iter().filter_map(|message| address(message)).collect())
}

/// What this machine is among its neighbours. Those of `wanted` that one of its own networks holds are asked for first.
pub(crate) fn neighbourhood(wanted: &[IpAddr]) -> io::Result<Neighbourhood> {
    let links = links()?;
    let name = |number: u32| links.get(&number).map_or_else(String::new, |link| link.name.clone());
    let own = addresses()?;
    let near: Vec<IpAddr> = wanted.iter().copied().filter(|ip| is_near(&own, *ip)).collect();
    knock(&near);
    let addresses = own.into_iter().map(|(number, net)| LinkAddress { link: name(number), net }).collect();
    let routes = dump(GET_ROUTE)?.iter().filter_map(|message| route(message)).collect();
    let until = Instant::now() + NEIGHBOURS_WITHIN;
    loop {
        let table: Vec<_> = dump(GET_NEIGHBOUR)?.iter().filter_map(|message| neighbour(message)).collect();
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

/// Has the kernel look who has these addresses: by a datagram to each one's port for such (`discard`, RFC 863).
fn knock(addresses: &[IpAddr]) {
    for ip in addresses {
        let any: IpAddr =
            if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        // A machine that cannot send learns nothing by it.
        let _ = UdpSocket::bind(SocketAddr::new(any, 0))
            .and_then(|socket| socket.send_to(&[0], SocketAddr::new(*ip, 9)));
    }
}

/// All messages that answer a question, without their headers.
fn dump(question: u16) -> io::Result<Vec<Vec<u8>>> {
    const REQUEST_DUMP: u16 = 0x1 | 0x300;
    // No protocol is 0, which is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWERS_WITHIN))?;
    // The header (16 bytes), then the largest of the questions' bodies, all zero: of every family.
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
        while let Some((kind, body, after)) = message(rest) {
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

/// The first message of some bytes: its type, its body, and what comes after it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = number(bytes, 0)? as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(16..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes of a message from `offset` on: their types and contents.
fn attributes(bytes: &[u8], offset: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes.get(offset..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let content = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The two highest bits say how it is written.
        Some((kind & 0x3fff, content))
    })
}

fn attribute(bytes: &[u8], offset: usize, wanted: u16) -> Option<&[u8]> {
    attributes(bytes, offset).find(|(kind, _)| *kind == wanted).map(|(_, content)| content)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// `ifinfomsg` and its attributes.
fn link(message: &[u8]) -> Option<(u32, KernelLink)> {
    const NAME: u16 = 3;
    const MTU: u16 = 4;
    const INFO: u16 = 18;
    const INFO_KIND: u16 = 1;
    let kind = attribute(message, 16, INFO).and_then(|info| attribute(info, 0, INFO_KIND)).map(text);
    let link = KernelLink {
        name: text(attribute(message, 16, NAME)?),
        mtu: number(attribute(message, 16, MTU)?, 0)?,
        kind: kind.unwrap_or_default(),
        is_up: number(message, 8)? & 1 == 1,
    };
    Some((number(message, 4)?, link))
}

/// `ifaddrmsg` and its attributes: of a point-to-point interface the local end.
fn address(message: &[u8]) -> Option<(u32, IpNet)> {
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    let bytes = attribute(message, 8, LOCAL).or_else(|| attribute(message, 8, ADDRESS))?;
    Some((number(message, 4)?, IpNet::new(ip(bytes)?, *message.get(1)?).ok()?))
}

/// `rtmsg` and its attributes: routes to somewhere in particular that lead out.
fn route(message: &[u8]) -> Option<IpNet> {
    const UNICAST: u8 = 1;
    const DESTINATION: u16 = 1;
    let (length, kind) = (*message.get(1)?, *message.get(7)?);
    if kind != UNICAST || length == 0 {
        return None;
    }
    IpNet::new(ip(attribute(message, 12, DESTINATION)?)?, length).ok()
}

/// States of a neighbour: it is being asked for; and it has an address.
const INCOMPLETE: u16 = 0x01;
const KNOWN: u16 = 0x02 | 0x04 | 0x08 | 0x10 | 0x80;

/// `ndmsg` and its attributes.
fn neighbour(message: &[u8]) -> Option<(u32, IpAddr, u16, String)> {
    const DESTINATION: u16 = 1;
    const LINK_ADDRESS: u16 = 2;
    let state = u16::from_ne_bytes(message.get(8..10)?.try_into().ok()?);
    let octets = attribute(message, 12, LINK_ADDRESS).unwrap_or_default();
    let mac: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    Some((number(message, 4)?, ip(attribute(message, 12, DESTINATION)?)?, state, mac.join(":")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_loopback() {
        let links = links().unwrap();
        let (number, lo) = links.iter().find(|(_, link)| link.name == "lo").unwrap();
        assert!(lo.mtu >= 1500, "{lo:?}");
        let addresses = addresses().unwrap();
        assert!(!lo.is_up || addresses.iter().any(|(at, net)| at == number && net.addr().is_loopback()));
        neighbourhood(&["127.0.0.1".parse().unwrap()]).unwrap();
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        for length in 0..40 {
            let bytes = vec![0xff; length];
            assert_eq!(
                (link(&bytes), address(&bytes), route(&bytes), neighbour(&bytes)),
                (None, None, None, None)
            );
            assert!(message(&bytes).is_none());
            assert_eq!(attributes(&[0; 8][..length.min(8)], 0).count(), 0);
        }
    }
}
