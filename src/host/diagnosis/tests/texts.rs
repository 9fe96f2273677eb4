//! Texts of libvirt and QEMU, and their causes.

use foundry_core::error::Code;

/// Text, code, cause, a part of the hint.
pub(super) const WORDS: &[(&str, Code, &str, &str)] = &[
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
        "sudo chgrp kvm /dev/kvm && sudo chmod 0660 /dev/kvm",
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
        "[Doctor]",
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
        "mv /var/lib/libvirt/qemu/nvram/nv_VARS.fd /var/lib/libvirt/qemu/nvram/nv_VARS.fd.old",
    ),
    // QEMU 8 and 9 of aarch64's flash: asylumexp/Proxmox#79.
    (
        "internal error: process exited while connecting to monitor: qemu-system-aarch64: cfi.pflash01 device '/machine/virt.flash1' requires 67108864 bytes, libvirt-pflash1-format block backend provides 4194304 bytes",
        Code::NvramInTheWay,
        "the file with the VM's EFI variables holds no EFI variables for this firmware; an earlier VM of that name may have left it",
        "[GcDryRun]",
    ),
    (
        "internal error: unable to execute QEMU command 'block_resize': Failed to resize the file: File too large",
        Code::FileTooLarge,
        "the pool's file system has no files of that size",
        "format: qcow2",
    ),
    (
        "cannot extend file '/srv/vms/web_data-vdb': File too large",
        Code::FileTooLarge,
        "the pool's file system has no files of that size",
        "XFS",
    ),
    (
        "Requested operation is not valid: cannot undefine domain with nvram",
        Code::NvramInTheWay,
        "the domain has EFI variables, and was to go without them",
        "virsh undefine --keep-nvram",
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
        "echo 'allow br0' >>/etc/qemu/bridge.conf",
    ),
    // Put together from formats in libvirt 11.3's library or QEMU 10.0's program, and not provoked.
    (
        "internal error: /usr/lib/qemu/qemu-bridge-helper --use-vnet --br=br0 --fd=31: failed to communicate with bridge helper: stderr=failed to create tun device: Operation not permitted",
        Code::TapRefused,
        "QEMU's bridge helper may not make tap devices, since it does not run as root",
        "dpkg-statoverride --update --add root qemu-bridge 4750 /usr/lib/qemu/qemu-bridge-helper",
    ),
    // Put together from formats in libvirt 11.3's library or QEMU 10.0's program, and not provoked.
    (
        "'/usr/lib/qemu/qemu-bridge-helper' is not a suitable bridge helper: No such file or directory",
        Code::TapRefused,
        "QEMU's bridge helper is not there, by which a session's guests come to a bridge",
        "qemu-system-common",
    ),
    // The first is an older libvirt's, from memory; the second is put together from formats in libvirt 11.3's library.
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
    // Put together from formats in libvirt 11.3's library or QEMU 10.0's program, and not provoked.
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
    // Put together from formats in libvirt 11.3's library or QEMU 10.0's program, and not provoked.
    (
        "internal error: volume target path '/srv/vms/web_boot' already exists",
        Code::VolumeTaken,
        "there is a file '/srv/vms/web_boot' already, which the pool does not know",
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
        "no file can be made in the pool's directory /srv/vms: it lets libvirt make none",
        "lsattr -d /srv/vms",
    ),
    // Put together from formats in libvirt 11.3's library or QEMU 10.0's program, and not provoked.
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
        "ip link show type bridge",
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
        "[Doctor]",
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
