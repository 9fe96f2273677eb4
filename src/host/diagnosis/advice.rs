//! Advice that several places use. None of it grants more than is needed.

/// What udev's rule does on hosts with udev (systemd's 50-udev-default.rules): QEMU's user is in that group.
pub const OPEN_KVM: &str = "sudo chgrp kvm /dev/kvm && sudo chmod 0660 /dev/kvm";

/// Why libvirt is slow if QEMU's user cannot open /dev/kvm: libvirt probes QEMU as root and finds KVM, then checks
/// whether QEMU's user may open the device, and discards the result (libvirt's `virQEMUCapsIsValid`).
pub const KVM_IS_CLOSED: &str = "only root may open /dev/kvm, so libvirt probes QEMU again at every call, which takes seconds, and a minute for a definition";

/// The risk of joining that group: a guest can have any file of the host as its disk.
pub const GROUP_OF_ROOTS: &str = "members of the group libvirt can become root on that host";

/// How images on a network file system get a label that guests may read, on that mount only (mount(8)).
pub const LABELLED_MOUNT: &str = "mount it with the option context=system_u:object_r:virt_image_t:s0, which labels that mount and nothing else";

/// How to put a guest into a VLAN without affecting guests that are already on the bridge.
pub const BRIDGE_WITH_VLANS: &str = "attach it to a bridge that is already on the VLAN (then without vlan), or to a new bridge: ip link add NAME type bridge vlan_filtering 1; enabling this on a bridge with guests drops their frames";

/// A path as a regular expression for semanage-fcontext(8) that matches only that path.
pub fn label_pattern(path: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/_-".contains(c);
    path.chars().flat_map(|c| (!is_plain(c)).then_some('\\').into_iter().chain([c])).collect()
}
