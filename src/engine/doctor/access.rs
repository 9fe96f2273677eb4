//! Checks the access to libvirt (daemon, sockets, permissions) and the daemon that logs consoles.

use super::HostCheck;
use super::facts::HostFacts;
use foundry_core::error::{Code, Error};
use foundry_core::text::quote_for_shell;
use foundry_host::diagnosis::advice::GROUP_OF_ROOTS;
use foundry_host::local::{LocalFacts, Virtlogd};

const NAME: &str = "connection";

pub(super) fn check_access(facts: &HostFacts) -> Vec<HostCheck> {
    let connected = HostCheck::ok(NAME, format!("{} on {}", facts.uri, facts.capabilities.hostname));
    let Some(local) = &facts.local else { return vec![connected] };
    let mut checks = vec![connected, check_user(facts, local)];
    // A session's virtlogd is started on demand.
    if !facts.is_session {
        checks.push(check_virtlogd(local));
    }
    checks
}

/// The connection works at this point, so the user may use this libvirt; this check only says how.
fn check_user(facts: &HostFacts, local: &LocalFacts) -> HostCheck {
    const NAME: &str = "user";
    let name = local.accounts.name_of(local.user.uid);
    if facts.is_session {
        return HostCheck::ok(NAME, format!("session VMs of user {name}; no access to bridges"))
            .add_advice(format!(
                "for VMs on bridges: sudo usermod -aG libvirt {}, log in again, --connect qemu:///system ({GROUP_OF_ROOTS})",
                quote_for_shell(&name)
            ));
    }
    let by =
        if local.user.uid == 0 { "" } else { ", allowed to use the system's libvirt by a group or polkit" };
    HostCheck::ok(NAME, format!("{name}{by}"))
}

fn check_virtlogd(local: &LocalFacts) -> HostCheck {
    const NAME: &str = "virtlogd";
    match local.virtlogd {
        Virtlogd::Available => HostCheck::ok(NAME, "logs guest consoles"),
        Virtlogd::NotNeeded => HostCheck::ok(NAME, "not needed: qemu.conf has stdio_handler = \"file\""),
        Virtlogd::Missing => HostCheck::problem(NAME, "is not running; no guest starts without it")
            .add_advice("systemctl enable --now virtlogd.socket (without systemd: virtlogd -d)"),
    }
}

/// The only libvirt check that is possible if libvirt does not answer.
pub(super) fn check_unreachable(uri: &str, error: &Error) -> HostCheck {
    let why = error.cause().unwrap_or(error.message());
    let check = HostCheck::problem(NAME, format!("{uri} does not answer: {why}")).with_code(error.code());
    match error.advice() {
        Some(advice) => check.add_advice(advice.clone()),
        None => check,
    }
}

/// Checks the sockets on this machine, for a libvirt that does not answer.
pub(super) fn check_socket(uri: &str, local: &LocalFacts) -> Vec<HostCheck> {
    const NAME: &str = "socket";
    // Other URIs use a socket of their own or a session daemon, which is started on demand.
    if uri.split('?').next() != Some("qemu:///system") || uri.contains("socket=") {
        return Vec::new();
    }
    let Some((path, rights)) = local.sockets.first() else {
        return vec![
            HostCheck::problem(
                NAME,
                "no libvirt socket: libvirt is not installed, or its daemon is not running",
            )
            .with_code(Code::DaemonDown)
            .add_advice("apt install libvirt-daemon-system (Fedora: dnf install libvirt-daemon-kvm)")
            .add_advice("systemctl enable --now libvirtd.socket (or virtqemud.socket)"),
        ];
    };
    let user = local.accounts.name_of(local.user.uid);
    if local.user.may_use(rights) {
        return vec![HostCheck::ok(NAME, format!("{user} may use {path}; polkit decides about the rest"))];
    }
    let group = local.accounts.group_name(rights.gid);
    let check = |more: &str| {
        let mode = rights.mode & 0o777;
        let found = format!("{user} may not use {path} (group {group}, mode {mode:o}){more}");
        HostCheck::problem(NAME, found).with_code(Code::SocketForbidden)
    };
    let opens_to_group = rights.mode & 0o060 == 0o060;
    vec![if !opens_to_group || group == "root" {
        let join = format!(
            "then sudo usermod -aG libvirt {}, and log in again ({GROUP_OF_ROOTS})",
            quote_for_shell(&user)
        );
        check("; joining a group does not help").add_advice(SOCKET_FOR_GROUP).add_advice(join)
    } else if local.accounts.is_member(rights.gid, &user) {
        check(&format!("; {user} joined the group after logging in")).add_advice("log out and in again")
    } else if LIBVIRTS_GROUPS.contains(&group.as_str()) {
        let (group, user) = (quote_for_shell(&group), quote_for_shell(&user));
        check("").add_advice(format!("sudo usermod -aG {group} {user}, and log in again ({GROUP_OF_ROOTS})"))
    } else {
        // Joining an unknown group would also grant whatever else that group may do.
        check("").add_advice("ask the administrator whether the socket should belong to group libvirt (unix_sock_group in /etc/libvirt/libvirtd.conf, or SocketGroup in the socket unit)")
    }]
}

/// The groups that distributions create for the socket only (Debian, Fedora; Ubuntu before 16.10).
const LIBVIRTS_GROUPS: [&str; 2] = ["libvirt", "libvirtd"];

/// See systemd.socket(5), and libvirtd.conf for a daemon that opens its socket itself.
const SOCKET_FOR_GROUP: &str = "give it to the group libvirt: SocketGroup=libvirt and SocketMode=0660 (systemctl edit libvirtd.socket), or unix_sock_group = \"libvirt\" and unix_sock_rw_perms = \"0770\" in /etc/libvirt/libvirtd.conf, then restart it";
