//! Reads the greeting of an SSH server, to see whether a guest accepts logins.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Time limit for one connection attempt; a guest that is not up yet does not answer at all.
const CONNECT_WITHIN: Duration = Duration::from_millis(700);

/// What answered on a port.
pub(crate) enum SshGreeting {
    /// An SSH server sent its identification string.
    Ssh,
    /// The port is open, but nothing was sent that looks like SSH.
    Silent,
    /// The machine refused the connection.
    Refused,
    /// Nothing answered within the time limit.
    None,
}

/// Reads the greeting of an SSH server. An open port is not enough: a server that is starting accepts connections
/// before it can answer (RFC 4253, section 4.2: the identification string begins with `SSH-`).
pub(crate) fn read_greeting(at: SocketAddr) -> SshGreeting {
    let mut stream = match TcpStream::connect_timeout(&at, CONNECT_WITHIN) {
        Ok(stream) => stream,
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => return SshGreeting::Refused,
        Err(_) => return SshGreeting::None,
    };
    let mut banner = [0; 4];
    // Without a read timeout, a silent server would block this wait for ever.
    if stream.set_read_timeout(Some(CONNECT_WITHIN * 3)).is_err() || stream.read_exact(&mut banner).is_err() {
        return SshGreeting::Silent;
    }
    if &banner == b"SSH-" { SshGreeting::Ssh } else { SshGreeting::Silent }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn an_open_port_without_a_greeting_is_not_ssh() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        assert!(matches!(read_greeting(at), SshGreeting::Silent));
    }

    #[test]
    fn a_greeting_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let server =
            std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"SSH-2.0-test\r\n").unwrap());
        assert!(matches!(read_greeting(at), SshGreeting::Ssh));
        server.join().unwrap();
        assert!(matches!(read_greeting(at), SshGreeting::Refused));
    }
}
