//! Causes of failed and lost connections.

use super::Diagnosis;
use super::advice::GROUP_OF_ROOTS;
use super::words::{has_any, quoted_after};
use crate::is_local_uri;
use foundry_core::error::{Advice, Code, Verb};
use foundry_core::text::quote_for_shell;

/// The cause of a failed connection.
pub(crate) fn cannot_connect(uri: &str, text: &str) -> Option<Diagnosis> {
    by_ssh(uri, text)
        .or_else(|| certificate_refused(text))
        .or_else(|| access_denied(uri, text))
        .or_else(|| daemon_down(text))
        .or_else(|| no_answer(uri, text))
        .or_else(|| host_unreachable(uri, text))
        .or_else(|| uri_wrong(uri, text))
}

/// The cause of a lost connection. It has no hint: the outcome of the call is unknown, so the user has to look.
pub(crate) fn connection_lost(text: &str) -> Option<&'static str> {
    [
        ("keepalive timeout", "it no longer answers, or cannot be reached"),
        ("client socket is closed", "it was lost before that"),
        ("End of file while reading data", "the daemon ended, or closed it"),
    ]
    .into_iter()
    .find_map(|(words, meaning)| text.contains(words).then_some(meaning))
}

/// Messages of ssh, which libvirt passes on.
fn by_ssh(uri: &str, text: &str) -> Option<Diagnosis> {
    let to = Destination::from_uri(uri)?;
    let try_it = format!("ssh {} virsh list must work without a prompt", to.ssh_arguments());
    if has_any(
        text,
        &["Permission denied (publickey", "Permission denied (password", "Too many authentication failures"],
    ) {
        let cause = format!("ssh refuses the login {}", to.login);
        return Some(
            Diagnosis::new(Code::AuthenticationRefused, cause)
                .hint(format!("ssh-copy-id {}; {try_it}", to.ssh_arguments())),
        );
    }
    if text.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let cause = format!("{} has another host key than before", to.login);
        return Some(Diagnosis::new(Code::AuthenticationRefused, cause).hint(format!(
            "only if that host was reinstalled: ssh-keygen -R {}; {try_it}",
            quote_for_shell(&to.known_as())
        )));
    }
    text.contains("Host key verification failed").then(|| {
        let cause = format!("ssh does not know the key of {}", to.login);
        Diagnosis::new(Code::AuthenticationRefused, cause).hint(try_it)
    })
}

/// The target of a URI with an ssh transport.
struct Destination<'a> {
    /// User and host; an IPv6 address without brackets.
    login: String,
    port: Option<&'a str>,
}

impl<'a> Destination<'a> {
    fn from_uri(uri: &'a str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://")?;
        let authority = rest.split(['/', '?']).next()?;
        let (host, port) = authority
            .rsplit_once(':')
            .filter(|(_, port)| port.parse::<u16>().is_ok())
            .map_or((authority, None), |(host, port)| (host, Some(port)));
        let is_one = !host.is_empty() && (scheme.contains("+ssh") || scheme.contains("+libssh"));
        let port = port.filter(|port| *port != "22");
        is_one.then(|| Self { login: host.replace(['[', ']'], ""), port })
    }

    /// The arguments for ssh(1) and ssh-copy-id(1).
    fn ssh_arguments(&self) -> String {
        let login = quote_for_shell(&self.login);
        self.port.map_or(login.to_string(), |port| format!("-p {port} {login}"))
    }

    /// The name of the host in known_hosts (sshd(8)).
    fn known_as(&self) -> String {
        let host = self.login.rsplit('@').next().unwrap_or_default();
        self.port.map_or(host.to_owned(), |port| format!("[{host}]:{port}"))
    }
}

/// TLS, where both sides need a certificate.
fn certificate_refused(text: &str) -> Option<Diagnosis> {
    let refused = [
        "Cannot read CA certificate",
        "Unable to verify TLS peer",
        "Failed to verify peer's certificate",
        "TLS handshake failed",
    ];
    let is_stale = text.contains("certificate") && has_any(text, &["has expired", "is not yet active"]);
    (is_stale || has_any(text, &refused)).then(|| {
        Diagnosis::new(Code::AuthenticationRefused, super::first_line(text)).hint(
            "virt-pki-validate shows which certificates are missing; qemu+ssh://USER@HOST/system needs none",
        )
    })
}

fn access_denied(uri: &str, text: &str) -> Option<Diagnosis> {
    let ways = if is_local_uri(uri) {
        Advice::from(format!(
            "sudo usermod -aG libvirt \"$USER\" and log in again ({GROUP_OF_ROOTS}), or run as root, or use --connect qemu:///session; "
        ))
        .run(Verb::Doctor)
        .text(" shows more")
    } else {
        Advice::from(format!(
            "there, as root: usermod -aG libvirt USER for the user who logs in ({GROUP_OF_ROOTS}); or log in as another by qemu+ssh://USER@HOST/system"
        ))
    };
    if text.contains("system bus connection") {
        return Some(
            Diagnosis::new(
                Code::AuthenticationRefused,
                "libvirt cannot ask polkit whether this user may connect: D-Bus is not running there",
            )
            .hint(Advice::from("systemctl start dbus polkit there").and_then("; then ", ways)),
        );
    }
    if has_any(text, &["authentication unavailable", "authentication failed"]) {
        return Some(
            Diagnosis::new(Code::AuthenticationRefused, "this user may not manage that libvirt").hint(ways),
        );
    }
    let socket = socket_path(text).filter(|_| text.contains("Permission denied"))?;
    Some(
        Diagnosis::new(Code::SocketForbidden, format!("this user may not use the socket {socket}"))
            .hint(ways),
    )
}

fn socket_path(text: &str) -> Option<&str> {
    quoted_after(text, "Failed to connect socket to ")
}

fn daemon_down(text: &str) -> Option<Diagnosis> {
    const START: &str =
        "is libvirtd running there? (systemctl start libvirtd, or virtqemud on hosts with modular daemons)";
    let cause = match socket_path(text) {
        Some(socket) if text.contains("No such file") => {
            format!("no libvirt daemon listens there: {socket} does not exist")
        }
        Some(socket) if text.contains("Connection refused") => {
            format!("no libvirt daemon listens at the socket {socket}")
        }
        _ => return None,
    };
    Some(Diagnosis::new(Code::DaemonDown, cause).hint(START))
}

fn no_answer(uri: &str, text: &str) -> Option<Diagnosis> {
    if let Some(meaning) = connection_lost(text) {
        return Some(Diagnosis::new(Code::NoAnswer, meaning).hint(check_uri_hint(uri)));
    }
    text.contains("no answer within").then(|| {
        let cause = super::first_line(text);
        Diagnosis::new(Code::NoAnswer, cause).hint(restart_daemon_hint(uri))
    })
}

fn host_unreachable(uri: &str, text: &str) -> Option<Diagnosis> {
    let meaning = [
        ("Could not resolve hostname", "its name cannot be resolved"),
        ("Name or service not known", "its name cannot be resolved"),
        ("unable to resolve", "its name cannot be resolved"),
        ("No route to host", "there is no route to it"),
        ("Network is unreachable", "there is no route to it"),
        ("onnection timed out", "it does not answer"),
        ("onnection refused", "nothing listens there"),
    ]
    .into_iter()
    .find_map(|(words, meaning)| text.contains(words).then_some(meaning))?;
    Some(Diagnosis::new(Code::HostUnreachable, meaning).hint(check_uri_hint(uri)))
}

fn uri_wrong(uri: &str, text: &str) -> Option<Diagnosis> {
    let refused =
        ["no connection driver available for", "transport in URL not recognised", "Unable to parse URI"];
    has_any(text, &refused).then(|| {
        Diagnosis::new(Code::UriWrong, super::first_line(text)).hint(format!(
            "{}; qemu:///system is this machine, qemu+ssh://USER@HOST/system another",
            check_uri_hint(uri)
        ))
    })
}

/// The hint if nothing more is known.
pub(crate) fn check_uri_hint(uri: &str) -> String {
    format!("check the URI and that `virsh -c {} uri` answers", quote_for_shell(uri))
}

/// A hung daemon does not recover, and restarting it does not affect guests.
pub(crate) fn restart_daemon_hint(uri: &str) -> String {
    format!(
        "if `virsh -c {} list` hangs too: systemctl restart libvirtd there (virtqemud and virtstoraged on hosts with modular daemons; VMs run on); --call-timeout allows a slow one more time",
        quote_for_shell(uri)
    )
}
