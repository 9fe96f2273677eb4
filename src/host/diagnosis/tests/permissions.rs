//! Refusals by owners and modes, AppArmor and SELinux.

use super::*;

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
    let found = find_cause(&evidence).unwrap();
    assert_eq!(found.code, Code::PoolUnreadable);
    assert_eq!(
        found.cause,
        "libvirt-qemu, the user of QEMU, may not enter the directory /srv/my images (mode 700), and so cannot open '/srv/my images/tiny.qcow2'"
    );
    assert_eq!(hint_of(&found).as_deref(), Some("setfacl -m u:libvirt-qemu:x '/srv/my images'"));
}

/// dmacvicar/terraform-provider-libvirt#546, with the paths of QEMU's own words there.
const APPARMOR: &str = "Jan 29 19:09:24 zack-dt kernel: [263802.885482] audit: type=1400 audit(1548806964.776:22663): apparmor=\"DENIED\" operation=\"open\" profile=\"libvirt-e1ee5c06-1f3c-4fa9-baba-772dd011a8a5\" name=\"/home/zack/home_vm_network/iso_image/os_image\" pid=10369 comm=\"qemu-system-x86\" requested_mask=\"r\" denied_mask=\"r\" fsuid=0 ouid=0";
const REFUSED_BY_APPARMOR: &str = "internal error: process exited while connecting to monitor: 2019-01-30T00:04:24.705596Z qemu-system-x86_64: -drive file=/home/zack/home_vm_network/iso_image/os_image,format=qcow2,if=none,id=drive-virtio-disk0: Could not open '/home/zack/home_vm_network/iso_image/os_image': Permission denied";

#[test]
fn apparmor_is_named_where_the_kernel_says_that_it_was_it() {
    let asked = RequestedVm { uuid: "e1ee5c06-1f3c-4fa9-baba-772dd011a8a5".into(), ..RequestedVm::default() };
    let evidence = Evidence {
        libvirt: REFUSED_BY_APPARMOR.into(),
        denials: vec![Denial::parse_line(APPARMOR).unwrap()],
        asked,
        ..Evidence::default()
    };
    let found = find_cause(&evidence).unwrap();
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
    let other = RequestedVm { uuid: "00000000-1f3c-4fa9-baba-772dd011a8a5".into(), ..RequestedVm::default() };
    assert_eq!(
        find_cause(&Evidence { asked: other, ..evidence.clone() }).unwrap().code,
        Code::DiskUnreadable
    );
    let mut elsewhere = evidence;
    elsewhere.denials[0].file = "/home/zack/other".into();
    assert_eq!(find_cause(&elsewhere).unwrap().code, Code::DiskUnreadable);
}

/// OpenCloudOS's handbook, "virsh start fails"; the path of libvirt's words there.
const SELINUX: &str = "2023-05-30T20:54:39.770352+08:00 localhost audit[65317]: AVC avc: denied { read } for pid=65317 comm=\"qemu-system-x86\" name=\"OpenCloudOS-Stream-23-20230530.0142-x86_64-test3.qcow2\" dev=\"vda1\" ino=206 scontext=system_u:system_r:svirt_t:s0:c392,c662 tcontext=unconfined_u:object_r:admin_home_t:s0 tclass=file permissive=0";

#[test]
fn selinux_is_named_with_the_label_that_images_have() {
    let libvirt = "internal error: process exited while connecting to monitor: Could not open '/srv/images/OpenCloudOS-Stream-23-20230530.0142-x86_64-test3.qcow2': Permission denied";
    let denial = Denial::parse_line(SELINUX).unwrap();
    assert_eq!(denial.label.as_deref(), Some("admin_home_t"));
    let evidence = Evidence { libvirt: libvirt.into(), denials: vec![denial], ..Evidence::default() };
    let found = find_cause(&evidence).unwrap();
    assert_eq!(found.code, Code::Confined);
    assert!(
        found.cause.starts_with("SELinux does not let the guest's QEMU use '/srv/images/"),
        "{}",
        found.cause
    );
    assert_eq!(
        hint_of(&found).as_deref(),
        Some(
            "an image in a pool is accessible: [ImageImport { file: Some(\"/srv/images/OpenCloudOS-Stream-23-20230530.0142-x86_64-test3.qcow2\"), name: Some(\"NAME\"), convert: false }]; or allow this one: semanage fcontext -a -t virt_image_t '/srv/images/OpenCloudOS-Stream-23-20230530\\.0142-x86_64-test3\\.qcow2' && restorecon /srv/images/OpenCloudOS-Stream-23-20230530.0142-x86_64-test3.qcow2"
        )
    );
}

/// A refusal of that file to that domain, by that guard's line.
fn confined_evidence(path: &str, line: &str, uuid: &str) -> Diagnosis {
    find_cause(&Evidence {
        libvirt: format!("Could not open '{path}': Permission denied"),
        denials: vec![Denial::parse_line(line).unwrap()],
        asked: RequestedVm { uuid: uuid.into(), ..RequestedVm::default() },
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
    let hint = hint_of(&confined_evidence("/tiny.qcow2", &of_apparmor("\"/tiny.qcow2\""), "u-1")).unwrap();
    assert!(hint.contains("the line \"/tiny.qcow2\" r,") && !hint.contains('*'), "{hint}");
    for path in ["/srv/x\" rw, \"/**", "/srv/**", "/srv/{etc,a}", "/srv/@{HOME}", "/srv/[a-z]", "/srv/a\\b"] {
        let found = confined_evidence(path, &of_apparmor(&hexadecimal(path)), "u-1");
        assert_eq!(found.code, Code::Confined, "{path}");
        assert!(!hint_of(&found).unwrap().contains("allow"), "{path}");
    }
    let selinux = "avc:  denied  { search } for comm=\"qemu-system-x86\" name=\"me\" scontext=u:r:svirt_t:s0 tcontext=u:o:user_home_dir_t:s0 permissive=0";
    let found = confined_evidence("/home/me/tiny.qcow2", selinux, "u-1");
    assert_eq!(found.code, Code::Confined);
    assert_eq!(
        hint_of(&found).as_deref(),
        Some(
            "an image in a pool is accessible: [ImageImport { file: Some(\"/home/me/tiny.qcow2\"), name: Some(\"NAME\"), convert: false }]"
        ),
        "a home's label is what its owner comes in by"
    );
}

#[test]
fn apparmor_names_what_a_link_leads_to() {
    let line = "apparmor=\"DENIED\" operation=\"open\" profile=\"libvirt-u-1\" name=\"/data/images/tiny.qcow2\" pid=1";
    let path = "/var/lib/libvirt/images/tiny.qcow2";
    assert_eq!(confined_evidence(path, line, "u-1").code, Code::Confined);
    assert_eq!(confined_evidence(path, line, "u-2").code, Code::DiskUnreadable, "another domain's");
    assert_eq!(confined_evidence("/data/images/other.qcow2", line, "u-1").code, Code::DiskUnreadable);
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
        assert_eq!(Denial::parse_line(line), None, "{line}");
    }
    // Audit writes a name with a space in hexadecimal.
    let line =
        "apparmor=\"DENIED\" operation=\"open\" profile=\"libvirt-x\" name=2F7372762F6D7920696D616765 pid=1";
    assert_eq!(Denial::parse_line(line).unwrap().file, "/srv/my image");
}
