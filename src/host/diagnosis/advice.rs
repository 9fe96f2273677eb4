//! Advice that several places give. None of it grants more than what is needed.

/// What udev's rule does where udev runs (systemd's 50-udev-default.rules): QEMU's user is in that group.
pub const OPEN_KVM: &str = "sudo chgrp kvm /dev/kvm && sudo chmod 0660 /dev/kvm";

/// Why libvirt is slow beside a device that QEMU's user may not open: libvirt looks at QEMU as root and finds KVM, then
/// looks whether that user may open it, and throws away what it found (libvirt's `virQEMUCapsIsValid`).
pub const KVM_IS_CLOSED: &str = "nobody but root may open /dev/kvm: libvirt then looks at QEMU anew at every call, which takes seconds, and a minute for a definition";

/// What is to be known before somebody gets into that group: a guest can have any file of the host as its disk.
pub const GROUP_OF_ROOTS: &str = "whoever is in the group libvirt can become root on that host";

/// How images on a network's file system get a label that guests may read, on that mount only (mount(8)).
pub const LABELLED_MOUNT: &str = "mount it with the option context=system_u:object_r:virt_image_t:s0, which labels that mount and nothing else";

/// How a guest gets into a VLAN without a change for those that are on the bridge.
pub const BRIDGE_WITH_VLANS: &str = "attach it to a bridge that is on the VLAN already (then without vlan), or to a new one that is made so: ip link add NAME type bridge vlan_filtering 1; switched on where guests are, it drops frames of theirs";

/// A path as a pattern of semanage-fcontext(8) that stands for that path only.
pub fn label_pattern(path: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/_-".contains(c);
    path.chars().flat_map(|c| (!is_plain(c)).then_some('\\').into_iter().chain([c])).collect()
}
