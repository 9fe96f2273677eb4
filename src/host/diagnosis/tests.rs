//! Real texts, and what is made of them. Where no source is given, libvirt 11.3 and QEMU 10.0 said it here (see
//! `tests/live_causes.rs`); the others are of older versions, from reports of their users.

use super::*;

fn of(libvirt: &str) -> (Code, String, String) {
    let found = of_words(libvirt).unwrap_or_else(|| panic!("no cause: {libvirt}"));
    (found.code, found.cause, found.hint.unwrap_or_default())
}

/// Text, code, cause, a part of the hint.
const WORDS: &[(&str, Code, &str, &str)] = &[
    // libvirt 8 and newer put QEMU's words behind their own, 6 to 7 wrote "qemu unexpectedly closed the monitor".
    (
        "internal error: process exited while connecting to monitor: 2026-11-21T21:33:34.284039Z qemu-system-x86_64: -accel kvm: kvm version too old\n2026-11-21T21:33:34.284095Z qemu-system-x86_64: -accel kvm: failed to initialize kvm: Inappropriate ioctl for device",
        Code::NoKvm,
        "QEMU cannot use KVM on this host",
        "--virt-type qemu",
    ),
    (
        "internal error: process exited while connecting to monitor: Could not access KVM kernel module: No such file or directory\nqemu-system-x86_64: failed to initialize kvm: No such file or directory",
        Code::NoKvm,
        "QEMU cannot use KVM on this host",
        "modprobe kvm_intel",
    ),
    // Rackspace's blog "Fixing Nova Reboot Failures When QEMU Cannot Access /dev/kvm".
    (
        "internal error: qemu unexpectedly closed the monitor: Could not access KVM kernel module: Permission denied\nqemu-system-x86_64: -accel kvm: failed to initialize kvm: Permission denied",
        Code::NoKvm,
        "QEMU cannot use KVM on this host",
        "usermod -aG kvm libvirt-qemu",
    ),
    (
        "internal error: process exited while connecting to monitor: 2026-11-21T21:33:34.090058Z qemu-system-x86_64: error: failed to set MSR 0x10a to 0xc000069\nqemu-system-x86_64: target/i386/kvm/kvm.c:3849: kvm_buf_set_msrs: Assertion `ret == cpu->kvm_msr_buf->nmsrs' failed.",
        Code::NoKvm,
        "KVM on this host does not run this guest",
        "--virt-type qemu",
    ),
    // dmacvicar/terraform-provider-libvirt, its contributors' page.
    (
        "unsupported configuration: Emulator '/usr/bin/qemu-system-x86_64' does not support virt type 'kvm'",
        Code::NoKvm,
        "the host offers no KVM",
        "foundry doctor",
    ),
    (
        "unsupported configuration: Emulator '/usr/bin/qemu-system-x86_64' does not support machine type 'pc-q35-99.9'",
        Code::MachineUnknown,
        "/usr/bin/qemu-system-x86_64 on the host has no machine type 'pc-q35-99.9'",
        "/usr/bin/qemu-system-x86_64 -machine help",
    ),
    // QEMU's own, when a domain was defined under a newer one (qemu, hw/core/machine.c since 6.0).
    (
        "internal error: process exited while connecting to monitor: qemu-system-x86_64: unsupported machine type: \"pc-q35-10.1\"\nUse -machine help to list supported machines",
        Code::MachineUnknown,
        "QEMU on the host has no machine type 'pc-q35-10.1'",
        "-machine help",
    ),
    (
        "unsupported configuration: No emulator found for arch 'aarch64'",
        Code::ArchUnsupported,
        "the host has no QEMU for aarch64",
        "apt install qemu-system-arm",
    ),
    (
        "operation failed: Unable to find 'efi' firmware that is compatible with the current configuration",
        Code::FirmwareMissing,
        "the host has no UEFI firmware for this VM",
        "apt install ovmf",
    ),
    // libvirt before 8.6: NixOS/nixpkgs#200104.
    (
        "operation failed: Unable to find any firmware to satisfy 'efi'",
        Code::FirmwareMissing,
        "the host has no UEFI firmware for this VM",
        "edk2-ovmf",
    ),
    // vagrant-libvirt/vagrant-libvirt#1443.
    (
        "operation failed: unable to find any master var store for loader: /usr/share/qemu/edk2-x86_64-secure-code.fd",
        Code::FirmwareMissing,
        "the host has no UEFI firmware for this VM",
        "apt install ovmf",
    ),
    (
        "internal error: process exited while connecting to monitor: 2026-11-21T21:31:08.702108Z qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory",
        Code::OutOfMemory,
        "the host has not enough memory for it",
        "spec.memoryGiB",
    ),
    (
        "internal error: hugetlbfs filesystem is not mounted or disabled by administrator config",
        Code::OutOfMemory,
        "the host has not enough huge pages for it",
        "vm.nr_hugepages",
    ),
    (
        "internal error: QEMU unexpectedly closed the monitor (vm='nv'): 2026-11-21T21:33:40.678955Z qemu-system-x86_64: system firmware block device  has invalid size 0\n2026-11-21T21:33:40.679096Z qemu-system-x86_64: info: its size must be a non-zero multiple of 0x1000",
        Code::NvramInTheWay,
        "the file with the VM's EFI variables holds no EFI variables for this firmware; an earlier VM of that name may have left it",
        "the same command again",
    ),
    (
        "internal error: process exited while connecting to monitor: 2026-11-21T21:33:41.086705Z qemu-system-x86_64: -blockdev {\"driver\":\"file\",\"filename\":\"/var/lib/libvirt/qemu/nvram/nv_VARS.fd\",\"node-name\":\"libvirt-pflash1-storage\",\"read-only\":false}: Could not open '/var/lib/libvirt/qemu/nvram/nv_VARS.fd': Is a directory",
        Code::NvramInTheWay,
        "'/var/lib/libvirt/qemu/nvram/nv_VARS.fd' holds no EFI variables for this firmware; an earlier VM of that name may have left it",
        "rm -r /var/lib/libvirt/qemu/nvram/nv_VARS.fd",
    ),
    // QEMU 8 and 9 of aarch64's flash: asylumexp/Proxmox#79.
    (
        "internal error: process exited while connecting to monitor: qemu-system-aarch64: cfi.pflash01 device '/machine/virt.flash1' requires 67108864 bytes, libvirt-pflash1-format block backend provides 4194304 bytes",
        Code::NvramInTheWay,
        "the file with the VM's EFI variables holds no EFI variables for this firmware; an earlier VM of that name may have left it",
        "foundry gc --dry-run",
    ),
    (
        "Requested operation is not valid: cannot undefine domain with nvram",
        Code::NvramInTheWay,
        "the domain has EFI variables, and was to go without them",
        "virsh undefine --nvram",
    ),
    (
        "Requested operation is not valid: cannot delete inactive domain with 1 snapshots",
        Code::SnapshotInTheWay,
        "the domain has snapshots, which need its disks as they are",
        "virsh snapshot-delete VM SNAPSHOT",
    ),
    (
        "internal error: unable to execute QEMU command 'block_resize': Can't resize an image which has snapshots",
        Code::SnapshotInTheWay,
        "the domain has snapshots, which need its disks as they are",
        "virsh snapshot-list VM",
    ),
    (
        "Failed to connect socket to '/run/libvirt/virtlogd-sock': No such file or directory",
        Code::HelperDown,
        "no daemon of libvirt's listens there: '/run/libvirt/virtlogd-sock' does not exist, or has nobody behind it",
        "systemctl enable --now virtlogd.socket",
    ),
    (
        "Cannot get interface MTU on 'br9': No such device",
        Code::BridgeMissing,
        "the host has no bridge 'br9'",
        "ip link add br9 type bridge",
    ),
    // With qemu:///session, by QEMU's bridge helper: aharpour's and vagrant's reports of it.
    (
        "/usr/lib/qemu/qemu-bridge-helper --use-vnet --br=virbr0 --fd=30: failed to communicate with bridge helper: stderr=failed to get mtu of bridge `virbr0': No such device",
        Code::BridgeMissing,
        "the host has no bridge 'virbr0'",
        "ip -br link show type bridge",
    ),
    (
        "internal error: /usr/lib/qemu/qemu-bridge-helper --use-vnet --br=br0 --fd=31: failed to communicate with bridge helper: stderr=access denied by acl file",
        Code::TapRefused,
        "QEMU's bridge helper lets this user not use that bridge",
        "/etc/qemu/bridge.conf",
    ),
    (
        "internal error: /usr/lib/qemu/qemu-bridge-helper --use-vnet --br=br0 --fd=31: failed to communicate with bridge helper: stderr=failed to create tun device: Operation not permitted",
        Code::TapRefused,
        "QEMU's bridge helper may not make tap devices, since it does not run as root",
        "chmod u+s /usr/lib/qemu/qemu-bridge-helper",
    ),
    (
        "'/usr/lib/qemu/qemu-bridge-helper' is not a suitable bridge helper: No such file or directory",
        Code::TapRefused,
        "QEMU's bridge helper is not there, by which a session's guests come to a bridge",
        "qemu-system-common",
    ),
    // libvirt before 11.0, and since.
    (
        "unsupported configuration: guest and host CPU are not compatible: Host CPU does not provide required features: svm",
        Code::CpuUnknown,
        "the host's QEMU cannot give the guest the CPU that it is to have",
        "spec.cpuMode",
    ),
    (
        "operation failed: the CPU is incompatible with host CPU: Host CPU does not provide required features: avx512f",
        Code::CpuUnknown,
        "the host's QEMU cannot give the guest the CPU that it is to have",
        "spec.cpuMode",
    ),
    (
        "Failed to open file '/usr/share/OVMF/OVMF_VARS_4M.fd': No such file or directory",
        Code::FirmwareMissing,
        "the host has no UEFI firmware for this VM",
        "apt install ovmf",
    ),
    // An image that is called like a firmware is none.
    (
        "internal error: process exited while connecting to monitor: Could not open '/srv/images/edk2-builder.qcow2': No such file or directory",
        Code::DiskUnreadable,
        "the file '/srv/images/edk2-builder.qcow2' does not exist",
        "",
    ),
    (
        "internal error: volume target path '/srv/vms/web_boot' already exists",
        Code::VolumeTaken,
        "there is a file '/srv/vms/web_boot' already, which the pool does not know",
        "foundry pool refresh",
    ),
    // libvirt 11.3's, of what somebody stopped or removed meanwhile.
    (
        "Requested operation is not valid: storage pool 'my images' is not active",
        Code::PoolInactive,
        "pool 'my images' is not started",
        "foundry pool start 'my images'",
    ),
    (
        "Requested operation is not valid: storage pool 'ssd' containing volume 'web_data' is not active",
        Code::PoolInactive,
        "pool 'ssd' is not started",
        "foundry pool start ssd",
    ),
    (
        "Storage pool not found: no storage pool with matching name 'ssd'",
        Code::PoolMissing,
        "there is no pool 'ssd'",
        "foundry pool list",
    ),
    (
        "Storage volume not found: no storage vol with matching name 'web_boot'",
        Code::VolumeMissing,
        "there is no volume 'web_boot'",
        "foundry pool refresh POOL",
    ),
    // A directory with chattr +i.
    (
        "internal error: Child process (/usr/bin/qemu-img create -f qcow2 -b /srv/images/tiny.qcow2 -o backing_fmt=qcow2,compat=1.1 /srv/vms/web_boot 1048576K) unexpected exit status 1: qemu-img: /srv/vms/web_boot: Could not create '/srv/vms/web_boot': Operation not permitted\n",
        Code::PoolUnwritable,
        "no file can be made in the pool's directory /srv/vms: it lets libvirt make none",
        "lsattr -d /srv/vms",
    ),
    (
        "cannot create path '/srv/vms/web_seed': Read-only file system",
        Code::PoolUnwritable,
        "no file can be made in the pool's directory /srv/vms: its file system is read-only",
        "findmnt -T /srv/vms",
    ),
    // An Open vSwitch bridge; and the Linux kernel's mailing list of 2021-04-21.
    (
        "Unable to add bridge virbr1 port vnet0: Operation not supported",
        Code::BridgeMissing,
        "'virbr1' on the host is no Linux bridge",
        "ip -br link",
    ),
    (
        "Cannot set interface MTU on 'vm0a4d0032': Invalid argument",
        Code::MtuRefused,
        "the host refuses the MTU that its bridge has for the VM's tap",
        "ip link set BRIDGE mtu 1500",
    ),
    (
        "Requested operation is not valid: The vm0a4d0032 interface already exists",
        Code::TapTaken,
        "the host has a network interface vm0a4d0032 already, and the VM's tap is to be called so",
        "ip link delete vm0a4d0032",
    ),
    // libvirt before 8.10, which took a tap that was there and not open.
    (
        "Unable to create tap device vm0a4d0032: Device or resource busy",
        Code::TapTaken,
        "the host has a network interface vm0a4d0032 already, and the VM's tap is to be called so",
        "ip link delete vm0a4d0032",
    ),
    (
        "Unable to create tap device vnet%d: Operation not permitted",
        Code::TapRefused,
        "this libvirt may not make tap devices",
        "qemu:///system",
    ),
    // After an upgrade of the running kernel, on Arch Linux.
    (
        "Unable to open /dev/net/tun, is tun module loaded?: No such device",
        Code::TapRefused,
        "the host's kernel makes no tap devices: its module tun is missing",
        "modprobe tun",
    ),
    (
        "Network not found: no network with matching name 'lan'",
        Code::NetworkMissing,
        "there is no network 'lan'",
        "virsh net-list --all",
    ),
    (
        "Requested operation is not valid: network 'lan' is not active",
        Code::NetworkInactive,
        "network 'lan' is not started",
        "virsh net-start lan",
    ),
    (
        "internal error: process exited while connecting to monitor: 2026-11-21T21:33:43.246319Z qemu-system-x86_64: -vnc 127.0.0.1:99,audiodev=audio1: Failed to find an available port: Address already in use",
        Code::PortTaken,
        "port 5999 is taken by another process on the host",
        "ss -ltnp sport = :5999",
    ),
    // n0stack/n0stack#242.
    (
        "qemu-system-x86_64: -vnc 0.0.0.0:4,websocket=5704: Failed to find an available port: Address already in use",
        Code::PortTaken,
        "port 5904 is taken by another process on the host",
        "ss -ltnp",
    ),
    // QEMU 2: cockpit-project/cockpit#11265.
    (
        "Failed to start VNC server: Failed to bind socket: Address already in use",
        Code::PortTaken,
        "a port that it is to listen on is taken by another process on the host",
        "ss -ltnp",
    ),
    (
        "internal error: Unable to find an unused port in range 'VNC' (5900-65535)",
        Code::PortTaken,
        "all ports for graphical consoles on the host are taken",
        "ss -ltnp",
    ),
    (
        "operation failed: domain 'web' already exists with uuid 6695eb01-f6a4-8304-79aa-97f2502e193f",
        Code::NameTaken,
        "the name 'web' is taken",
        "choose another name",
    ),
    ("storage volume 'web_boot' exists already", Code::VolumeTaken, "the name 'web_boot' is taken", ""),
    (
        "operation failed: pool 'ssd' already exists with uuid 6695eb01-f6a4-8304-79aa-97f2502e193f",
        Code::PoolTaken,
        "the name 'ssd' is taken",
        "",
    ),
    (
        "operation failed: Storage source conflict with pool: 'images'",
        Code::PoolTaken,
        "pool 'images' has that place already",
        "images",
    ),
    (
        "cannot open directory '/srv/ssd': No such file or directory",
        Code::PoolSourceMissing,
        "its directory '/srv/ssd' does not exist",
        "mkdir -p /srv/ssd",
    ),
    (
        "cannot open directory '/srv/nfs': Permission denied",
        Code::PoolUnreadable,
        "its directory '/srv/nfs' may not be read by the hypervisor's user",
        "ls -ld /srv/nfs",
    ),
    (
        "cannot fill file '/srv/ssd/web_boot': No space left on device",
        Code::OutOfSpace,
        "no space is left on the host's file system",
        "df -h",
    ),
    (
        "Cannot access storage file '/root/x.qcow2' (as uid:64055, gid:64055): Permission denied",
        Code::DiskUnreadable,
        "the file '/root/x.qcow2' may not be read by the hypervisor's user",
        "namei -l /root/x.qcow2",
    ),
    (
        "Cannot access backing file '/srv/images/tiny.qcow2' of storage file '/srv/vms/web_boot' (as uid:64055, gid:64055): Permission denied",
        Code::DiskUnreadable,
        "the file '/srv/images/tiny.qcow2' may not be read by the hypervisor's user",
        "namei -l /srv/images/tiny.qcow2",
    ),
    (
        "Cannot access backing file '/srv/images/tiny.qcow2' of storage file '/srv/vms/web_boot' (as uid:64055, gid:64055): No such file or directory",
        Code::DiskUnreadable,
        "the file '/srv/images/tiny.qcow2' does not exist",
        "the disk '/srv/vms/web_boot' lies on it",
    ),
    (
        "internal error: QEMU unexpectedly closed the monitor (vm='web'): 2026-01-02T03:04:05Z qemu-system-x86_64: -blockdev {\"driver\":\"file\"}: Could not open '/x/y': Permission denied",
        Code::DiskUnreadable,
        "the file '/x/y' may not be read by the hypervisor's user",
        "foundry doctor",
    ),
    // QEMU 2: kayrus/deploy-vm#3.
    (
        "internal error: process exited while connecting to monitor: qemu-system-x86_64: -drive file=/home/user/.libvirt/centos/centos1.qcow2,if=none,id=drive-virtio-disk0,format=qcow2: could not open disk image /home/user/.libvirt/centos/centos1.qcow2: Could not open backing file: Could not open '/home/user/.libvirt/centos/CentOS-7-x86_64-GenericCloud.img': Permission denied",
        Code::DiskUnreadable,
        "the file '/home/user/.libvirt/centos/CentOS-7-x86_64-GenericCloud.img' may not be read by the hypervisor's user",
        "namei -l",
    ),
    (
        "internal error: process exited while connecting to monitor: 2026-11-21T21:33:35.785706Z qemu-system-x86_64: -blockdev {\"node-name\":\"libvirt-2-format\",\"read-only\":true,\"driver\":\"qcow2\",\"file\":\"libvirt-2-storage\",\"backing\":null}: Failed to get shared \"write\" lock\nIs another process using the image [/srv/images/tiny.qcow2]?",
        Code::DiskOpenElsewhere,
        "another process has '/srv/images/tiny.qcow2' open, which is one of its disks or what one lies on",
        "fuser -v /srv/images/tiny.qcow2",
    ),
    (
        "qemu-system-x86_64: Failed to get \"write\" lock",
        Code::DiskOpenElsewhere,
        "another process has one of its disks open",
        "",
    ),
    (
        "internal error: missing backend for pool type 3 (logical)",
        Code::PoolDriverMissing,
        "libvirt on the host has no driver for pools of type logical; its package is libvirt-daemon-driver-storage-logical",
        "apt install libvirt-daemon-driver-storage-logical",
    ),
    (
        "internal error: Child process (/usr/bin/mount -o nodev,nosuid,noexec -t ext4 /dev/loop0 /srv/x) unexpected exit status 32: mount: /srv/x: mount point does not exist.\n       dmesg(1) may have more information after failed mount system call.",
        Code::PoolSourceMissing,
        "mount: /srv/x: mount point does not exist.",
        "",
    ),
];

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
        assert!(!found.and_then(|found| found.hint).unwrap_or_default().contains("rm "), "{why}");
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
    assert_eq!(
        found.hint.as_deref(),
        Some("setfacl -m u:libvirt-qemu:x '/srv/my images', or: chmod o+x '/srv/my images'")
    );
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
    let hint = found.hint.unwrap();
    assert!(hint.ends_with("mkdir -p /etc/apparmor.d/local/abstractions && echo '\"/home/zack/home_vm_network/iso_image/os_image\" rwk,' >>/etc/apparmor.d/local/abstractions/libvirt-qemu"), "{hint}");

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
        found.hint.as_deref(),
        Some(
            "an image in a pool is let through: foundry image import /srv/images/OpenCloudOS-Stream-23-20230530.0142-x86_64-test3.qcow2 NAME; or allow this one: semanage fcontext -a -t virt_image_t '/srv/images/OpenCloudOS-Stream-23-20230530\\.0142-x86_64-test3\\.qcow2' && restorecon /srv/images/OpenCloudOS-Stream-23-20230530.0142-x86_64-test3.qcow2"
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
        format!("apparmor=\"DENIED\" operation=\"open\" profile=\"libvirt-u-1\" name={file} pid=1")
    };
    let hexadecimal = |text: &str| text.bytes().map(|b| format!("{b:02X}")).collect::<String>();
    let hint = confined("/tiny.qcow2", &of_apparmor("\"/tiny.qcow2\""), "u-1").hint.unwrap();
    assert!(hint.contains("echo '\"/tiny.qcow2\" rwk,'") && !hint.contains('*'), "{hint}");
    for path in ["/srv/x\" rw, \"/**", "/srv/**", "/srv/{etc,a}", "/srv/@{HOME}", "/srv/[a-z]", "/srv/a\\b"] {
        let found = confined(path, &of_apparmor(&hexadecimal(path)), "u-1");
        assert_eq!(found.code, Code::Confined, "{path}");
        assert!(!found.hint.unwrap().contains("echo"), "{path}");
    }
    let selinux = "avc:  denied  { search } for comm=\"qemu-system-x86\" name=\"me\" scontext=u:r:svirt_t:s0 tcontext=u:o:user_home_dir_t:s0 permissive=0";
    let found = confined("/home/me/tiny.qcow2", selinux, "u-1");
    assert_eq!(found.code, Code::Confined);
    assert_eq!(
        found.hint.as_deref(),
        Some("an image in a pool is let through: foundry image import /home/me/tiny.qcow2 NAME"),
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
        vm: vm.map(str::to_owned),
        writes,
    };
    let libvirt = format!("{libvirt}\nIs another process using the image [/srv/tiny.qcow2]?");
    let holders = holders.iter().map(holder).collect();
    let found = diagnose(&Evidence { libvirt, holders, ..Evidence::default() }).unwrap();
    (found.cause, found.hint.unwrap())
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
    assert_eq!(found.hint.as_deref(), Some("ip link set br0 mtu 1500"));
}

#[test]
fn secure_boot_counts_where_it_was_asked_for() {
    let libvirt =
        "operation failed: Unable to find 'efi' firmware that is compatible with the current configuration";
    let asked = Asked { secure_boot: true, ..Asked::default() };
    let found = diagnose(&Evidence { libvirt: libvirt.into(), asked, ..Evidence::default() }).unwrap();
    assert_eq!(found.code, Code::SecureBootMissing);
    assert!(found.hint.unwrap().contains("secureBoot: false"));
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
        (Code::DiskUnreadable, "the file '/srv/xy' may not be read by the hypervisor's user")
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
            "usermod -aG libvirt $USER",
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
            "usermod -aG libvirt $USER",
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
        // What is pasted has to lead to the same host.
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
        assert!(found.hint.unwrap().contains(hint), "{libvirt}");
    }
    for (libvirt, told) in [
        ("internal error: client socket is closed", "it was lost before that"),
        ("End of file while reading data: Input/output error", "the daemon ended, or closed it"),
    ] {
        assert_eq!(lost(libvirt), Some(told));
    }
}
