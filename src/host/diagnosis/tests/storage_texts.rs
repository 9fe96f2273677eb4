//! Texts about names, storage and networks, and their causes.

use foundry_core::error::Code;

/// Text, code, cause, a part of the hint.
pub(super) const STORAGE_AND_NETWORK_TEXTS: &[(&str, Code, &str, &str)] = &[
    // Put together from formats in libvirt 11.3's library or QEMU 10.0's program, and not provoked.
    (
        "internal error: volume target path '/srv/vms/web_boot' already exists",
        Code::VolumeTaken,
        "there is a file '/srv/vms/web_boot' that the pool does not know",
        "[PoolRefresh",
    ),
    // Put together from formats in libvirt 11.3's library: what somebody stopped or removed meanwhile.
    (
        "Requested operation is not valid: storage pool 'my images' is not active",
        Code::PoolInactive,
        "pool 'my images' is not started",
        "[PoolStart { pool: \"my images\" }]",
    ),
    (
        "Requested operation is not valid: storage pool 'ssd' containing volume 'web_data' is not active",
        Code::PoolInactive,
        "pool 'ssd' is not started",
        "[PoolStart { pool: \"ssd\" }]",
    ),
    (
        "Storage pool not found: no storage pool with matching name 'ssd'",
        Code::PoolMissing,
        "there is no pool 'ssd'",
        "[PoolList]",
    ),
    (
        "Storage volume not found: no storage vol with matching name 'web_boot'",
        Code::VolumeMissing,
        "there is no volume 'web_boot'",
        "[PoolRefresh { pool: \"POOL\" }]",
    ),
    // A directory with chattr +i.
    (
        "internal error: Child process (/usr/bin/qemu-img create -f qcow2 -b /srv/images/tiny.qcow2 -o backing_fmt=qcow2,compat=1.1 /srv/vms/web_boot 1048576K) unexpected exit status 1: qemu-img: /srv/vms/web_boot: Could not create '/srv/vms/web_boot': Operation not permitted\n",
        Code::PoolUnwritable,
        "cannot create a file in the pool's directory /srv/vms: libvirt lacks the permission",
        "lsattr -d /srv/vms",
    ),
    // Put together from formats in libvirt 11.3's library or QEMU 10.0's program, and not provoked.
    (
        "cannot create path '/srv/vms/web_seed': Read-only file system",
        Code::PoolUnwritable,
        "cannot create a file in the pool's directory /srv/vms: its file system is read-only",
        "findmnt -T /srv/vms",
    ),
    // An Open vSwitch bridge; and the Linux kernel's mailing list of 2021-04-21.
    (
        "Unable to add bridge virbr1 port vnet0: Operation not supported",
        Code::BridgeMissing,
        "'virbr1' on the host is not a Linux bridge",
        "ip -br link",
    ),
    (
        "Cannot set interface MTU on 'vm0a4d0032': Invalid argument",
        Code::MtuRefused,
        "the host refuses the MTU that its bridge has for the VM's tap",
        "ip link show type bridge",
    ),
    (
        "Requested operation is not valid: The vm0a4d0032 interface already exists",
        Code::TapTaken,
        "the host has a network interface vm0a4d0032, which is the name of the VM's tap",
        "ip link delete vm0a4d0032",
    ),
    // libvirt before 8.10, which took a tap that was there and not open.
    (
        "Unable to create tap device vm0a4d0032: Device or resource busy",
        Code::TapTaken,
        "the host has a network interface vm0a4d0032, which is the name of the VM's tap",
        "ip link delete vm0a4d0032",
    ),
    (
        "Unable to create tap device vnet%d: Operation not permitted",
        Code::TapRefused,
        "this libvirt may not create tap devices",
        "qemu:///system",
    ),
    // After an upgrade of the running kernel, on Arch Linux.
    (
        "Unable to open /dev/net/tun, is tun module loaded?: No such device",
        Code::TapRefused,
        "the host's kernel cannot create tap devices: its module tun is missing",
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
        "a port that it needs is taken by another process on the host",
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
        "pool 'images' already has that source",
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
        "its directory '/srv/nfs' is not readable for the user of QEMU",
        "ls -ld /srv/nfs",
    ),
    (
        "cannot fill file '/srv/ssd/web_boot': No space left on device",
        Code::OutOfSpace,
        "no space left on the host's file system",
        "df -h",
    ),
    (
        "Cannot access storage file '/root/x.qcow2' (as uid:64055, gid:64055): Permission denied",
        Code::DiskUnreadable,
        "the file '/root/x.qcow2' is not readable for the user of QEMU",
        "namei -l /root/x.qcow2",
    ),
    (
        "Cannot access backing file '/srv/images/tiny.qcow2' of storage file '/srv/vms/web_boot' (as uid:64055, gid:64055): Permission denied",
        Code::DiskUnreadable,
        "the file '/srv/images/tiny.qcow2' is not readable for the user of QEMU",
        "namei -l /srv/images/tiny.qcow2",
    ),
    (
        "Cannot access backing file '/srv/images/tiny.qcow2' of storage file '/srv/vms/web_boot' (as uid:64055, gid:64055): No such file or directory",
        Code::DiskUnreadable,
        "the file '/srv/images/tiny.qcow2' does not exist",
        "the disk '/srv/vms/web_boot' needs it",
    ),
    (
        "internal error: QEMU unexpectedly closed the monitor (vm='web'): 2026-01-02T03:04:05Z qemu-system-x86_64: -blockdev {\"driver\":\"file\"}: Could not open '/x/y': Permission denied",
        Code::DiskUnreadable,
        "the file '/x/y' is not readable for the user of QEMU",
        "[Doctor]",
    ),
    // QEMU 2: kayrus/deploy-vm#3.
    (
        "internal error: process exited while connecting to monitor: qemu-system-x86_64: -drive file=/home/user/.libvirt/centos/centos1.qcow2,if=none,id=drive-virtio-disk0,format=qcow2: could not open disk image /home/user/.libvirt/centos/centos1.qcow2: Could not open backing file: Could not open '/home/user/.libvirt/centos/CentOS-7-x86_64-GenericCloud.img': Permission denied",
        Code::DiskUnreadable,
        "the file '/home/user/.libvirt/centos/CentOS-7-x86_64-GenericCloud.img' is not readable for the user of QEMU",
        "namei -l",
    ),
    (
        "internal error: process exited while connecting to monitor: 2026-11-21T21:33:35.785706Z qemu-system-x86_64: -blockdev {\"node-name\":\"libvirt-2-format\",\"read-only\":true,\"driver\":\"qcow2\",\"file\":\"libvirt-2-storage\",\"backing\":null}: Failed to get shared \"write\" lock\nIs another process using the image [/srv/images/tiny.qcow2]?",
        Code::DiskOpenElsewhere,
        "another process has '/srv/images/tiny.qcow2' open, which is one of its disks or below one",
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
