//! Real texts, and what is made of them. Where no source is given, libvirt 11.3 and QEMU 10.0 said it here (see
//! `tests/live/causes.rs`); the others are of older versions, from reports of their users.

mod texts;

use super::*;
use texts::WORDS;

fn hint_of(found: &Diagnosis) -> Option<String> {
    found.advice.as_ref().map(Advice::to_log_line)
}

fn of(libvirt: &str) -> (Code, String, String) {
    let found = of_words(libvirt).unwrap_or_else(|| panic!("no cause: {libvirt}"));
    let hint = hint_of(&found).unwrap_or_default();
    (found.code, found.cause, hint)
}

#[test]
fn real_words_have_their_cause() {
    for (libvirt, code, cause, hint) in WORDS {
        let found = of(libvirt);
        assert_eq!((found.0, found.1.as_str()), (*code, *cause), "{libvirt}");
        assert!(found.2.contains(hint), "{libvirt}\n{}", found.2);
    }
}

/// The variables of a VM hold its boot order and the keys that its disk is sealed with: nothing but their not being any
/// is a reason to remove them.
#[test]
fn variables_that_cannot_be_read_just_now_stay() {
    let file = "/var/lib/libvirt/qemu/nvram/web_VARS.fd";
    for why in ["Input/output error", "Too many open files", "No such file or directory", "Permission denied"]
    {
        let found = of_words(&format!("Could not open '{file}': {why}"));
        assert_ne!(found.as_ref().map(|found| found.code), Some(Code::NvramInTheWay), "{why}");
        assert!(!found.as_ref().and_then(hint_of).unwrap_or_default().contains("rm "), "{why}");
    }
    let template = "Could not open '/usr/share/OVMF/OVMF_VARS.fd': Is a directory";
    assert_eq!(of_words(template), None, "it is the firmware's");
}

#[test]
fn anything_else_is_passed_on() {
    for libvirt in [
        "",
        "it's odd",
        "Requested operation is not valid: domain is not running",
        "cannot open directory 'x",
        "Cannot access storage file 'relative' (as uid:1, gid:1): Permission denied",
        "Unable to create tap device $(reboot): Device or resource busy",
        "internal error: process exited while connecting to monitor",
    ] {
        assert_eq!(of_words(libvirt), None, "{libvirt}");
    }
    assert_eq!(first_line("\none  \ntwo\n"), "one");
}

const REFUSED: &str = "Cannot access backing file '/srv/my images/tiny.qcow2' of storage file '/srv/vms/web_boot' (as uid:64055, gid:64055): Permission denied";

#[test]
fn a_directory_on_the_way_is_named_with_the_command_that_opens_it() {
    let barrier = Barrier {
        path: "/srv/my images".into(),
        is_directory: true,
        mode: 0o40700,
        class: 'o',
        user: "libvirt-qemu".into(),
    };
    let file = refused_file(REFUSED).unwrap();
    assert_eq!((file.path, file.as_user), ("/srv/my images/tiny.qcow2", Some((64055, 64055))));
    let evidence = Evidence { libvirt: REFUSED.into(), barrier: Some(barrier), ..Evidence::default() };
    let found = diagnose(&evidence).unwrap();
    assert_eq!(found.code, Code::PoolUnreadable);
    assert_eq!(
        found.cause,
        "libvirt-qemu, as whom guests run, may not pass the directory /srv/my images (mode 700), and so cannot open '/srv/my images/tiny.qcow2'"
    );
    assert_eq!(hint_of(&found).as_deref(), Some("setfacl -m u:libvirt-qemu:x '/srv/my images'"));
}

/// dmacvicar/terraform-provider-libvirt#546, with the paths of QEMU's own words there.
const APPARMOR: &str = "Jan 29 19:09:24 zack-dt kernel: [263802.885482] audit: type=1400 audit(1548806964.776:22663): apparmor=\"DENIED\" operation=\"open\" profile=\"libvirt-e1ee5c06-1f3c-4fa9-baba-772dd011a8a5\" name=\"/home/zack/home_vm_network/iso_image/os_image\" pid=10369 comm=\"qemu-system-x86\" requested_mask=\"r\" denied_mask=\"r\" fsuid=0 ouid=0";
const REFUSED_BY_APPARMOR: &str = "internal error: process exited while connecting to monitor: 2019-01-30T00:04:24.705596Z qemu-system-x86_64: -drive file=/home/zack/home_vm_network/iso_image/os_image,format=qcow2,if=none,id=drive-virtio-disk0: Could not open '/home/zack/home_vm_network/iso_image/os_image': Permission denied";

#[test]
fn apparmor_is_named_where_the_kernel_says_that_it_was_it() {
    let asked = Asked { uuid: "e1ee5c06-1f3c-4fa9-baba-772dd011a8a5".into(), ..Asked::default() };
    let evidence = Evidence {
        libvirt: REFUSED_BY_APPARMOR.into(),
        denials: vec![Denial::read(APPARMOR).unwrap()],
        asked,
        ..Evidence::default()
    };
    let found = diagnose(&evidence).unwrap();
    assert_eq!(found.code, Code::Confined);
    assert_eq!(
        found.cause,
        "AppArmor does not let the guest's QEMU use '/home/zack/home_vm_network/iso_image/os_image'"
    );
    let hint = hint_of(&found).unwrap();
    assert!(
        hint.ends_with("or allow this one: the line \"/home/zack/home_vm_network/iso_image/os_image\" r, before the last brace of /etc/apparmor.d/libvirt/libvirt-e1ee5c06-1f3c-4fa9-baba-772dd011a8a5, which is this VM's while it is defined; then apparmor_parser -r /etc/apparmor.d/libvirt/libvirt-e1ee5c06-1f3c-4fa9-baba-772dd011a8a5"),
        "{hint}"
    );

    // Another domain's refusal, or another file's, is no reason of this one's.
    let other = Asked { uuid: "00000000-1f3c-4fa9-baba-772dd011a8a5".into(), ..Asked::default() };
    assert_eq!(diagnose(&Evidence { asked: other, ..evidence.clone() }).unwrap().code, Code::DiskUnreadable);
    let mut elsewhere = evidence;
    elsewhere.denials[0].file = "/home/zack/other".into();
    assert_eq!(diagnose(&elsewhere).unwrap().code, Code::DiskUnreadable);
}

/// OpenCloudOS's handbook, "virsh start fails"; the path of libvirt's words there.
const SELINUX: &str = "2023-05-30T20:54:39.770352+08:00 localhost audit[65317]: AVC avc: denied { read } for pid=65317 comm=\"qemu-system-x86\" name=\"OpenCloudOS-Stream-23-20230530.0142-x86_64-test3.qcow2\" dev=\"vda1\" ino=206 scontext=system_u:system_r:svirt_t:s0:c392,c662 tcontext=unconfined_u:object_r:admin_home_t:s0 tclass=file permissive=0";

#[test]
fn selinux_is_named_with_the_label_that_images_have() {
    let libvirt = "internal error: process exited while connecting to monitor: Could not open '/srv/images/OpenCloudOS-Stream-23-20230530.0142-x86_64-test3.qcow2': Permission denied";
    let denial = Denial::read(SELINUX).unwrap();
    assert_eq!(denial.label.as_deref(), Some("admin_home_t"));
    let evidence = Evidence { libvirt: libvirt.into(), denials: vec![denial], ..Evidence::default() };
    let found = diagnose(&evidence).unwrap();
    assert_eq!(found.code, Code::Confined);
    assert!(
        found.cause.starts_with("SELinux does not let the guest's QEMU use '/srv/images/"),
        "{}",
        found.cause
    );
    assert_eq!(
        hint_of(&found).as_deref(),
        Some(
            "an image in a pool is let through: [ImageImport { file: Some(\"/srv/images/OpenCloudOS-Stream-23-20230530.0142-x86_64-test3.qcow2\"), name: Some(\"NAME\"), convert: false }]; or allow this one: semanage fcontext -a -t virt_image_t '/srv/images/OpenCloudOS-Stream-23-20230530\\.0142-x86_64-test3\\.qcow2' && restorecon /srv/images/OpenCloudOS-Stream-23-20230530.0142-x86_64-test3.qcow2"
        )
    );
}

/// A refusal of that file to that domain, by that guard's line.
fn confined(path: &str, line: &str, uuid: &str) -> Diagnosis {
    diagnose(&Evidence {
        libvirt: format!("Could not open '{path}': Permission denied"),
        denials: vec![Denial::read(line).unwrap()],
        asked: Asked { uuid: uuid.into(), ..Asked::default() },
        ..Evidence::default()
    })
    .unwrap()
}

/// What is pasted as root must not open more than was meant.
#[test]
fn what_allows_a_file_allows_nothing_else() {
    let of_apparmor = |file: &str| {
        format!(
            "apparmor=\"DENIED\" operation=\"open\" profile=\"libvirt-u-1\" name={file} pid=1 requested_mask=\"r\""
        )
    };
    let hexadecimal = |text: &str| text.bytes().map(|b| format!("{b:02X}")).collect::<String>();
    let hint = hint_of(&confined("/tiny.qcow2", &of_apparmor("\"/tiny.qcow2\""), "u-1")).unwrap();
    assert!(hint.contains("the line \"/tiny.qcow2\" r,") && !hint.contains('*'), "{hint}");
    for path in ["/srv/x\" rw, \"/**", "/srv/**", "/srv/{etc,a}", "/srv/@{HOME}", "/srv/[a-z]", "/srv/a\\b"] {
        let found = confined(path, &of_apparmor(&hexadecimal(path)), "u-1");
        assert_eq!(found.code, Code::Confined, "{path}");
        assert!(!hint_of(&found).unwrap().contains("allow"), "{path}");
    }
    let selinux = "avc:  denied  { search } for comm=\"qemu-system-x86\" name=\"me\" scontext=u:r:svirt_t:s0 tcontext=u:o:user_home_dir_t:s0 permissive=0";
    let found = confined("/home/me/tiny.qcow2", selinux, "u-1");
    assert_eq!(found.code, Code::Confined);
    assert_eq!(
        hint_of(&found).as_deref(),
        Some(
            "an image in a pool is let through: [ImageImport { file: Some(\"/home/me/tiny.qcow2\"), name: Some(\"NAME\"), convert: false }]"
        ),
        "a home's label is what its owner comes in by"
    );
}

#[test]
fn apparmor_names_what_a_link_leads_to() {
    let line = "apparmor=\"DENIED\" operation=\"open\" profile=\"libvirt-u-1\" name=\"/data/images/tiny.qcow2\" pid=1";
    let path = "/var/lib/libvirt/images/tiny.qcow2";
    assert_eq!(confined(path, line, "u-1").code, Code::Confined);
    assert_eq!(confined(path, line, "u-2").code, Code::DiskUnreadable, "another domain's");
    assert_eq!(confined("/data/images/other.qcow2", line, "u-1").code, Code::DiskUnreadable);
}

#[test]
fn what_is_no_refusal_of_a_guests_is_none() {
    for line in [
        "",
        "apparmor=\"DENIED\"",
        "apparmor=\"ALLOWED\" operation=\"open\" profile=\"libvirt-x\" name=\"/a\"",
        "apparmor=\"DENIED\" operation=\"open\" profile=\"/usr/sbin/cupsd\" name=\"/a\" pid=1",
        "apparmor=\"DENIED\" operation=\"open\" profile=\"libvirt-x\" name=\"/never closed",
        // sepolgen's guide: a process that is let go on.
        "type=AVC msg=audit(1604229941.636:2391008): avc:  denied  { write } for  pid=452433 comm=\"swtpm\" name=\"swtpm\" dev=\"tmpfs\" scontext=system_u:system_r:svirt_t:s0:c38,c260 tcontext=system_u:object_r:container_file_t:s0 tclass=dir permissive=1",
        "avc:  denied  { read } for name=\"x\" scontext=u:r:httpd_t:s0 tcontext=u:r:home_t:s0 permissive=0",
    ] {
        assert_eq!(Denial::read(line), None, "{line}");
    }
    // Audit writes a name with a space in hexadecimal.
    let line =
        "apparmor=\"DENIED\" operation=\"open\" profile=\"libvirt-x\" name=2F7372762F6D7920696D616765 pid=1";
    assert_eq!(Denial::read(line).unwrap().file, "/srv/my image");
}

fn locked(libvirt: &str, holders: &[(u32, &str, Option<&str>, bool)]) -> (String, String) {
    let holder = |&(pid, name, vm, writes): &(u32, &str, Option<&str>, bool)| Holder {
        pid,
        name: name.into(),
        user: None,
        vm: vm.map(str::to_owned),
        writes,
    };
    let libvirt = format!("{libvirt}\nIs another process using the image [/srv/tiny.qcow2]?");
    let holders = holders.iter().map(holder).collect();
    let found = diagnose(&Evidence { libvirt, holders, ..Evidence::default() }).unwrap();
    let hint = hint_of(&found).unwrap();
    (found.cause, hint)
}

#[test]
fn who_holds_a_lock_is_named() {
    let shared = "Failed to get shared \"write\" lock";
    let (cause, hint) = locked(shared, &[(4711, "qemu-nbd", None, true)]);
    assert_eq!(
        cause,
        "qemu-nbd (process 4711) has '/srv/tiny.qcow2' open, which is one of its disks or what one lies on"
    );
    assert_eq!(hint, "ps -fp 4711 shows what for; when nothing needs it there: kill 4711");
}

/// VMs that run well on an image are not to be killed for one that does not start.
#[test]
fn who_only_reads_is_not_blamed_and_no_vm_is_killed() {
    let reader = (1, "qemu-system-x86", Some("db"), false);
    let writer = (4711, "qemu-nbd", None, true);
    let (cause, hint) = locked("Failed to get shared \"write\" lock", &[writer, reader]);
    assert!(cause.starts_with("qemu-nbd (process 4711) has "), "{cause}");
    assert!(hint.ends_with("kill 4711"), "{hint}");
    // Who is to write minds everybody.
    let (cause, hint) = locked("Failed to get \"write\" lock", &[writer, reader]);
    assert!(cause.starts_with("qemu-nbd (process 4711) and VM 'db' (process 1) have "), "{cause}");
    assert_eq!(
        hint,
        "virsh shutdown db ends that VM, if it is not needed; ps -fp 4711 shows what for; when nothing needs it there: kill 4711"
    );
}

#[test]
fn a_bridge_with_too_large_an_mtu_is_named() {
    let libvirt = "Cannot set interface MTU on 'vm0a4d0032': Invalid argument".to_owned();
    let mtus = vec![("br1".to_owned(), 1500), ("br0".to_owned(), 65535)];
    let found = diagnose(&Evidence { libvirt, mtus, ..Evidence::default() }).unwrap();
    assert_eq!(found.cause, "bridge 'br0' has an MTU of 65535, and a VM's tap can have 65521 at most");
    assert_eq!(hint_of(&found).as_deref(), Some("ip link set br0 mtu 65521"));
}

#[test]
fn secure_boot_counts_where_it_was_asked_for() {
    let libvirt =
        "operation failed: Unable to find 'efi' firmware that is compatible with the current configuration";
    let asked = Asked { secure_boot: true, ..Asked::default() };
    let found = diagnose(&Evidence { libvirt: libvirt.into(), asked, ..Evidence::default() }).unwrap();
    assert_eq!(found.code, Code::SecureBootMissing);
    assert!(hint_of(&found).unwrap().contains("secureBoot: false"));
}

/// QEMU's accel/kvm: what it writes when it pauses a guest that KVM does not run.
#[test]
fn a_guest_that_kvm_stops_has_its_cause_in_the_log() {
    for log in [
        "KVM internal error. Suberror: 1\nextra data[0]: 0x0000000000000000\nRAX=0000000000000000",
        "error: kvm run failed Bad address\nEAX=00000000 EBX=00000000",
    ] {
        let found = diagnose(&Evidence { log: log.into(), ..Evidence::default() }).unwrap();
        assert_eq!(
            (found.code, found.cause.as_str()),
            (Code::NoKvm, "KVM on this host does not run this guest")
        );
    }
}

#[test]
fn qemus_log_counts_where_libvirt_says_nothing() {
    let log = "2026-11-21T21:31:08.702108Z qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory";
    let with = |libvirt: &str| {
        let evidence = Evidence { libvirt: libvirt.into(), log: log.into(), ..Evidence::default() };
        diagnose(&evidence).map(|found| found.code)
    };
    assert_eq!(with("Unable to read from monitor: Connection reset by peer"), Some(Code::OutOfMemory));
    assert_eq!(with("Cannot get interface MTU on 'br9': No such device"), Some(Code::BridgeMissing));
}

/// A path can be anybody's, and a guest may have a say in what QEMU writes.
#[test]
fn hostile_words_do_no_harm() {
    let evil = "Cannot access storage file '/srv/\u{1b}[2Jx\u{202e}y' (as uid:1, gid:1): Permission denied";
    let (code, cause, hint) = of(evil);
    assert_eq!(
        (code, cause.as_str()),
        (
            Code::DiskUnreadable,
            r"the file '/srv/\u{1b}[2Jx\u{202e}y' may not be read by the hypervisor's user"
        )
    );
    assert_eq!(hint, "", "a command on another file than the one that is meant helps nobody");
    let shell = "Cannot access storage file '/srv/$(reboot);x' (as uid:1, gid:1): Permission denied";
    assert!(of(shell).2.contains("namei -l '/srv/$(reboot);x'"));
    let long = format!("Could not open '/{}': Permission denied", "ä".repeat(100_000));
    assert!(of(&long).1.chars().count() <= LONGEST);
    for tail in
        ["'", "''", "Could not open '", "(as uid:", "(as uid:99999999999, gid:1)", "name=\"", "[", "]?"]
    {
        let _ = (of_words(tail), Denial::read(tail), refused_file(tail), locked_file(tail));
        let _ = of_words(&format!("Could not open 'ä{tail}': Permission denied \"write\" lock"));
    }
}

#[test]
fn connections_have_their_cause() {
    let system = "qemu:///system";
    let ssh = "qemu+ssh://me@host:22/system";
    for (uri, libvirt, code, cause, hint) in [
        (
            system,
            "Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory",
            Code::DaemonDown,
            "no daemon of libvirt's listens there: '/var/run/libvirt/libvirt-sock' does not exist",
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
            "no daemon of libvirt's listens at the socket '/run/x'",
            "systemctl start libvirtd",
        ),
        (
            system,
            "internal error: connection closed due to keepalive timeout",
            Code::NoAnswer,
            "it does not answer any more, or cannot be reached",
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
            "libvirt asks polkit whether this user may, and cannot reach it: D-Bus does not run there",
            "systemctl start dbus polkit there; then sudo usermod -aG libvirt \"$USER\"",
        ),
        // OpenSSH's client, behind libvirt's first line.
        (
            ssh,
            "Cannot recv data: me@host: Permission denied (publickey,password).: Connection reset by peer",
            Code::AuthenticationRefused,
            "ssh does not let this user in at me@host",
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
            "ssh does not let this user in at me@host",
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
            "me@host has another key than the one that ssh knows of it",
            "and only then: ssh-keygen -R '[host]:2222'",
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
        assert_eq!(lost(libvirt), Some(told));
    }
}
