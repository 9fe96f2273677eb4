//! Texts about KVM, machine types, CPUs and firmware, and their causes.

use foundry_core::error::Code;

/// Text, code, cause, a part of the hint.
pub(super) const MACHINE_TEXTS: &[(&str, Code, &str, &str)] = &[
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
        "the host does not have enough memory for it",
        "spec.memoryGiB",
    ),
    (
        "internal error: hugetlbfs filesystem is not mounted or disabled by administrator config",
        Code::OutOfMemory,
        "the host does not have enough huge pages for it",
        "vm.nr_hugepages",
    ),
    (
        "internal error: QEMU unexpectedly closed the monitor (vm='nv'): 2026-11-21T21:33:40.678955Z qemu-system-x86_64: system firmware block device  has invalid size 0\n2026-11-21T21:33:40.679096Z qemu-system-x86_64: info: its size must be a non-zero multiple of 0x1000",
        Code::NvramInTheWay,
        "the file with the VM's EFI variables contains no EFI variables for this firmware; an earlier VM of that name may have left it",
        "the same command again",
    ),
    (
        "internal error: process exited while connecting to monitor: 2026-11-21T21:33:41.086705Z qemu-system-x86_64: -blockdev {\"driver\":\"file\",\"filename\":\"/var/lib/libvirt/qemu/nvram/nv_VARS.fd\",\"node-name\":\"libvirt-pflash1-storage\",\"read-only\":false}: Could not open '/var/lib/libvirt/qemu/nvram/nv_VARS.fd': Is a directory",
        Code::NvramInTheWay,
        "'/var/lib/libvirt/qemu/nvram/nv_VARS.fd' contains no EFI variables for this firmware; an earlier VM of that name may have left it",
        "mv /var/lib/libvirt/qemu/nvram/nv_VARS.fd /var/lib/libvirt/qemu/nvram/nv_VARS.fd.old",
    ),
    // QEMU 8 and 9 of aarch64's flash: asylumexp/Proxmox#79.
    (
        "internal error: process exited while connecting to monitor: qemu-system-aarch64: cfi.pflash01 device '/machine/virt.flash1' requires 67108864 bytes, libvirt-pflash1-format block backend provides 4194304 bytes",
        Code::NvramInTheWay,
        "the file with the VM's EFI variables contains no EFI variables for this firmware; an earlier VM of that name may have left it",
        "[GcDryRun]",
    ),
    (
        "internal error: unable to execute QEMU command 'block_resize': Failed to resize the file: File too large",
        Code::FileTooLarge,
        "the pool's file system does not support files of that size",
        "format: qcow2",
    ),
    (
        "cannot extend file '/srv/vms/web_data-vdb': File too large",
        Code::FileTooLarge,
        "the pool's file system does not support files of that size",
        "XFS",
    ),
    (
        "Requested operation is not valid: cannot undefine domain with nvram",
        Code::NvramInTheWay,
        "the domain has EFI variables, which undefining must keep or delete",
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
        "no libvirt daemon listens there: '/run/libvirt/virtlogd-sock' does not exist, or nothing listens there",
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
        "QEMU's bridge helper does not let this user use that bridge",
        "echo 'allow br0' >>/etc/qemu/bridge.conf",
    ),
    // Put together from formats in libvirt 11.3's library or QEMU 10.0's program, and not provoked.
    (
        "internal error: /usr/lib/qemu/qemu-bridge-helper --use-vnet --br=br0 --fd=31: failed to communicate with bridge helper: stderr=failed to create tun device: Operation not permitted",
        Code::TapRefused,
        "QEMU's bridge helper may not create tap devices, because it does not run as root",
        "dpkg-statoverride --update --add root qemu-bridge 4750 /usr/lib/qemu/qemu-bridge-helper",
    ),
    // Put together from formats in libvirt 11.3's library or QEMU 10.0's program, and not provoked.
    (
        "'/usr/lib/qemu/qemu-bridge-helper' is not a suitable bridge helper: No such file or directory",
        Code::TapRefused,
        "QEMU's bridge helper is missing, which session guests need for bridges",
        "qemu-system-common",
    ),
    // The first is an older libvirt's, from memory; the second is put together from formats in libvirt 11.3's library.
    (
        "unsupported configuration: guest and host CPU are not compatible: Host CPU does not provide required features: svm",
        Code::CpuUnknown,
        "the host's QEMU cannot provide the CPU that the guest asks for",
        "spec.cpuMode",
    ),
    (
        "operation failed: the CPU is incompatible with host CPU: Host CPU does not provide required features: avx512f",
        Code::CpuUnknown,
        "the host's QEMU cannot provide the CPU that the guest asks for",
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
];
