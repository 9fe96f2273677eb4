//! What a service tells systemd.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::directories::notify_socket;

/// Tells the service manager how far this process is, such as `READY=1`, if there is one that wants to know
/// (sd_notify(3)). A message that does not arrive changes nothing here.
pub fn notify_service_manager(message: &str) {
    let Some(socket) = notify_socket() else { return };
    let address = match socket.as_encoded_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&socket),
    };
    let sent = || UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address?).map(drop);
    // The service manager may be gone by now.
    let _ = sent();
}
