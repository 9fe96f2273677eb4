//! Checks the access to libvirt: its daemon, its sockets, their permissions; and the console daemon.

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
    // A session's own is started when it is needed.
    if !facts.is_session {
        checks.push(check_virtlogd(local));
    }
    checks
}

/// A user who came this far may do everything that is asked of that libvirt.
fn check_user(facts: &HostFacts, local: &LocalFacts) -> HostCheck {
    const NAME: &str = "user";
    let name = local.accounts.name_of(local.user.uid);
    if facts.is_session {
        return HostCheck::ok(NAME, format!("{name}, whose own VMs these are; bridges are out of their reach"))
            .add_advice(format!(
                "for VMs on bridges: sudo usermod -aG libvirt {}, log in anew, --connect qemu:///system ({GROUP_OF_ROOTS})",
                quote_for_shell(&name)
            ));
    }
    let by = if local.user.uid == 0 { "" } else { ", whom a group or polkit lets use the system's libvirt" };
    HostCheck::ok(NAME, format!("{name}{by}"))
}

fn check_virtlogd(local: &LocalFacts) -> HostCheck {
    const NAME: &str = "virtlogd";
    match local.virtlogd {
        Virtlogd::Available => HostCheck::ok(NAME, "takes what guests write on their consoles"),
        Virtlogd::NotNeeded => HostCheck::ok(NAME, "not needed: qemu.conf has stdio_handler = \"file\""),
        Virtlogd::Missing => HostCheck::problem(NAME, "does not run, and no guest starts without it")
            .add_advice("systemctl enable --now virtlogd.socket (without systemd: virtlogd -d)"),
    }
}

/// The one check that is left where libvirt does not answer.
pub(super) fn check_unreachable(uri: &str, error: &Error) -> HostCheck {
    let why = error.cause().unwrap_or(error.message());
    let check = HostCheck::problem(NAME, format!("{uri} does not answer: {why}")).with_code(error.code());
    match error.advice() {
        Some(advice) => check.add_advice(advice.clone()),
        None => check,
    }
}

/// What the sockets on this machine say about that.
pub(super) fn check_socket(uri: &str, local: &LocalFacts) -> Vec<HostCheck> {
    const NAME: &str = "socket";
    // Any other names its own, or a user's, which is started when it is needed.
    if uri.split('?').next() != Some("qemu:///system") || uri.contains("socket=") {
        return Vec::new();
    }
    let Some((path, rights)) = local.sockets.first() else {
        return vec![
            HostCheck::problem(NAME, "libvirt has none: it is not installed, or no daemon of its runs")
                .with_code(Code::DaemonDown)
                .add_advice("apt install libvirt-daemon-system (Fedora: dnf install libvirt-daemon-kvm)")
                .add_advice("systemctl enable --now libvirtd.socket (or virtqemud.socket)"),
        ];
    };
    let user = local.accounts.name_of(local.user.uid);
    if local.user.may_use(rights) {
        return vec![HostCheck::ok(
            NAME,
            format!("{user} may use {path}; who may do what is polkit's to say"),
        )];
    }
    let group = local.accounts.group_name(rights.gid);
    let check = |more: &str| {
        let mode = rights.mode & 0o777;
        let found = format!("{user} may not use {path}, which is the group {group}'s (mode {mode:o}){more}");
        HostCheck::problem(NAME, found).with_code(Code::SocketForbidden)
    };
    let opens_to_group = rights.mode & 0o060 == 0o060;
    vec![if !opens_to_group || group == "root" {
        let join = format!(
            "then sudo usermod -aG libvirt {}, and log in again ({GROUP_OF_ROOTS})",
            quote_for_shell(&user)
        );
        check("; no group can be joined for that").add_advice(SOCKET_FOR_GROUP).add_advice(join)
    } else if local.accounts.is_member(rights.gid, &user) {
        check(&format!("; {user} is in it since after logging in")).add_advice("log out and in again")
    } else if LIBVIRTS_GROUPS.contains(&group.as_str()) {
        let (group, user) = (quote_for_shell(&group), quote_for_shell(&user));
        check("").add_advice(format!("sudo usermod -aG {group} {user}, and log in again ({GROUP_OF_ROOTS})"))
    } else {
        // Whatever else that group may do, its members would get with it.
        check("").add_advice("ask who set it so (unix_sock_group in /etc/libvirt/libvirtd.conf, SocketGroup of its socket unit) whether it is to be the group libvirt's")
    }]
}

/// The groups that distributions make for the socket, and for nothing else (Debian, Fedora; Ubuntu before 16.10).
const LIBVIRTS_GROUPS: [&str; 2] = ["libvirt", "libvirtd"];

/// systemd.socket(5), and libvirtd.conf for a daemon that opens its socket by itself.
const SOCKET_FOR_GROUP: &str = "give it to the group libvirt: SocketGroup=libvirt and SocketMode=0660 (systemctl edit libvirtd.socket), or unix_sock_group = \"libvirt\" and unix_sock_rw_perms = \"0770\" in /etc/libvirt/libvirtd.conf, then restart it";
