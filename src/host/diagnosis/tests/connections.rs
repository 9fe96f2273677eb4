//! Texts of failed connections, and their causes.

use super::*;

#[test]
fn connections_have_their_cause() {
    let system = "qemu:///system";
    let ssh = "qemu+ssh://me@host:22/system";
    for (uri, libvirt, code, cause, hint) in [
        (
            system,
            "Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory",
            Code::DaemonDown,
            "no libvirt daemon listens there: '/var/run/libvirt/libvirt-sock' does not exist",
            "systemctl start libvirtd",
        ),
        (
            system,
            "Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied",
            Code::SocketForbidden,
            "this user may not use the socket '/var/run/libvirt/libvirt-sock'",
            "usermod -aG libvirt \"$USER\"",
        ),
        (
            system,
            "Failed to connect socket to '/run/x': Connection refused",
            Code::DaemonDown,
            "no libvirt daemon listens at the socket '/run/x'",
            "systemctl start libvirtd",
        ),
        (
            system,
            "internal error: connection closed due to keepalive timeout",
            Code::NoAnswer,
            "it no longer answers, or cannot be reached",
            "virsh -c qemu:///system uri",
        ),
        (
            system,
            "authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'",
            Code::AuthenticationRefused,
            "this user may not manage that libvirt",
            "usermod -aG libvirt \"$USER\"",
        ),
        // As another user than root where no D-Bus runs.
        (
            system,
            "internal error: Unable to get system bus connection: Could not connect: No such file or directory",
            Code::AuthenticationRefused,
            "libvirt cannot ask polkit whether this user may connect: D-Bus is not running there",
            "systemctl start dbus polkit there; then sudo usermod -aG libvirt \"$USER\"",
        ),
        // OpenSSH's client, behind libvirt's first line.
        (
            ssh,
            "Cannot recv data: me@host: Permission denied (publickey,password).: Connection reset by peer",
            Code::AuthenticationRefused,
            "ssh refuses the login me@host",
            "ssh-copy-id me@host",
        ),
        (
            ssh,
            "Cannot recv data: Host key verification failed.: Connection reset by peer",
            Code::AuthenticationRefused,
            "ssh does not know the key of me@host",
            "ssh me@host virsh list",
        ),
        (
            ssh,
            "Cannot recv data: ssh: Could not resolve hostname host: Name or service not known: Connection reset by peer",
            Code::HostUnreachable,
            "its name cannot be resolved",
            "virsh -c qemu+ssh://me@host:22/system uri",
        ),
        // Put together from ssh's, virt-ssh-helper's and libvirt 11.3's formats: what is pasted has to lead to the same host.
        (
            "qemu+ssh://me@host:2222/system",
            "Cannot recv data: me@host: Permission denied (publickey).: Connection reset by peer",
            Code::AuthenticationRefused,
            "ssh refuses the login me@host",
            "ssh-copy-id -p 2222 me@host; ssh -p 2222 me@host virsh list",
        ),
        (
            "qemu+ssh://me@[2001:db8::1]/system",
            "Cannot recv data: Host key verification failed.: Connection reset by peer",
            Code::AuthenticationRefused,
            "ssh does not know the key of me@2001:db8::1",
            "ssh me@2001:db8::1 virsh list",
        ),
        (
            "qemu+ssh://me@host:2222?keyfile=/home/me/key",
            "Cannot recv data: @@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.: Connection reset by peer",
            Code::AuthenticationRefused,
            "me@host has another host key than before",
            "only if that host was reinstalled: ssh-keygen -R '[host]:2222'",
        ),
        (
            ssh,
            "End of file while reading data: virt-ssh-helper: Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied",
            Code::SocketForbidden,
            "this user may not use the socket '/var/run/libvirt/libvirt-sock'",
            "there, as root: usermod -aG libvirt USER",
        ),
        (
            "qemu+tls://host/system",
            "Cannot read CA certificate '/etc/pki/CA/cacert.pem': No such file or directory",
            Code::AuthenticationRefused,
            "Cannot read CA certificate '/etc/pki/CA/cacert.pem': No such file or directory",
            "virt-pki-validate",
        ),
        (
            "qemu://host/system",
            "authentication failed: Failed to verify peer's certificate",
            Code::AuthenticationRefused,
            "authentication failed: Failed to verify peer's certificate",
            "qemu+ssh://USER@HOST/system",
        ),
        (
            "foo:///",
            "no connection driver available for foo:///",
            Code::UriWrong,
            "no connection driver available for foo:///",
            "qemu+ssh://USER@HOST/system",
        ),
    ] {
        let found = cannot_connect(uri, libvirt).unwrap_or_else(|| panic!("{libvirt}"));
        assert_eq!((found.code, found.cause.as_str()), (code, cause), "{libvirt}");
        assert!(hint_of(&found).unwrap().contains(hint), "{libvirt}");
    }
    for (libvirt, told) in [
        ("internal error: client socket is closed", "it was lost before that"),
        ("End of file while reading data: Input/output error", "the daemon ended, or closed it"),
    ] {
        assert_eq!(connection_lost(libvirt), Some(told));
    }
}
