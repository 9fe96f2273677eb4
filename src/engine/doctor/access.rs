//! Checks the access to libvirt: its daemon, its sockets, their permissions; and the console daemon.

use super::Check;
use super::facts::Facts;
use super::local::{Local, Logd};
use foundry_core::error::{Code, Error};
use foundry_core::text::quote_for_shell;
use foundry_host::diagnosis::advice::GROUP_OF_ROOTS;

const NAME: &str = "connection";

pub(super) fn check(facts: &Facts) -> Vec<Check> {
    let connected = Check::ok(NAME, format!("{} on {}", facts.uri, facts.capabilities.hostname));
    let Some(local) = &facts.local else { return vec![connected] };
    let mut checks = vec![connected, who(facts, local)];
    // A session's own is started when it is needed.
    if !facts.is_session {
        checks.push(virtlogd(local));
    }
    checks
}

/// A user who came this far may do everything that is asked of that libvirt.
fn who(facts: &Facts, local: &Local) -> Check {
    const NAME: &str = "user";
    let name = local.accounts.name_of(local.user.uid);
    if facts.is_session {
        return Check::ok(NAME, format!("{name}, whose own VMs these are; bridges are out of their reach"))
            .todo(format!(
                "for VMs on bridges: sudo usermod -aG libvirt {}, log in anew, --connect qemu:///system ({GROUP_OF_ROOTS})",
                quote_for_shell(&name)
            ));
    }
    let by = if local.user.uid == 0 { "" } else { ", whom a group or polkit lets use the system's libvirt" };
    Check::ok(NAME, format!("{name}{by}"))
}

fn virtlogd(local: &Local) -> Check {
    const NAME: &str = "virtlogd";
    match local.virtlogd {
        Logd::There => Check::ok(NAME, "takes what guests write on their consoles"),
        Logd::NotNeeded => Check::ok(NAME, "not needed: qemu.conf has stdio_handler = \"file\""),
        Logd::Missing => Check::problem(NAME, "does not run, and no guest starts without it")
            .todo("systemctl enable --now virtlogd.socket (without systemd: virtlogd -d)"),
    }
}

/// The one check that is left where libvirt does not answer.
pub(super) fn unreachable(uri: &str, error: &Error) -> Check {
    let why = error.cause().unwrap_or(error.message());
    let check = Check::problem(NAME, format!("{uri} does not answer: {why}")).known_as(error.code());
    match error.advice() {
        Some(advice) => check.todo(advice.clone()),
        None => check,
    }
}

/// What the sockets on this machine say about that.
pub(super) fn socket(uri: &str, local: &Local) -> Vec<Check> {
    const NAME: &str = "socket";
    // Any other names its own, or a user's, which is started when it is needed.
    if uri.split('?').next() != Some("qemu:///system") || uri.contains("socket=") {
        return Vec::new();
    }
    let Some((path, rights)) = local.sockets.first() else {
        return vec![
            Check::problem(NAME, "libvirt has none: it is not installed, or no daemon of its runs")
                .known_as(Code::DaemonDown)
                .todo("apt install libvirt-daemon-system (Fedora: dnf install libvirt-daemon-kvm)")
                .todo("systemctl enable --now libvirtd.socket (or virtqemud.socket)"),
        ];
    };
    let user = local.accounts.name_of(local.user.uid);
    if local.user.may_use(rights) {
        return vec![Check::ok(NAME, format!("{user} may use {path}; who may do what is polkit's to say"))];
    }
    let group = local.accounts.group_name(rights.gid);
    let check = |more: &str| {
        let mode = rights.mode & 0o777;
        let found = format!("{user} may not use {path}, which is the group {group}'s (mode {mode:o}){more}");
        Check::problem(NAME, found).known_as(Code::SocketForbidden)
    };
    let opens_to_group = rights.mode & 0o060 == 0o060;
    vec![if !opens_to_group || group == "root" {
        let join = format!(
            "then sudo usermod -aG libvirt {}, and log in anew ({GROUP_OF_ROOTS})",
            quote_for_shell(&user)
        );
        check("; no group can be joined for that").todo(SOCKET_FOR_GROUP).todo(join)
    } else if local.accounts.lists(rights.gid, &user) {
        check(&format!("; {user} is in it since after logging in")).todo("log out and in again")
    } else if LIBVIRTS_GROUPS.contains(&group.as_str()) {
        let (group, user) = (quote_for_shell(&group), quote_for_shell(&user));
        check("").todo(format!("sudo usermod -aG {group} {user}, and log in anew ({GROUP_OF_ROOTS})"))
    } else {
        // Whatever else that group may do, its members would get with it.
        check("").todo("ask who set it so (unix_sock_group in /etc/libvirt/libvirtd.conf, SocketGroup of its socket unit) whether it is to be the group libvirt's")
    }]
}

/// The groups that distributions make for the socket, and for nothing else (Debian, Fedora; Ubuntu before 16.10).
const LIBVIRTS_GROUPS: [&str; 2] = ["libvirt", "libvirtd"];

/// systemd.socket(5), and libvirtd.conf for a daemon that opens its socket by itself.
const SOCKET_FOR_GROUP: &str = "give it to the group libvirt: SocketGroup=libvirt and SocketMode=0660 (systemctl edit libvirtd.socket), or unix_sock_group = \"libvirt\" and unix_sock_rw_perms = \"0770\" in /etc/libvirt/libvirtd.conf, then restart it";
