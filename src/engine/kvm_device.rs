//! Detects a `/dev/kvm` that QEMU's user cannot open, which makes libvirt slow.

use std::path::Path;
use std::time::Duration;

use crate::Context;
use foundry_core::error::{Advice, Verb};
use foundry_core::text::quote_for_shell;
use foundry_host::Capabilities;
use foundry_host::diagnosis::advice::OPEN_KVM;
use foundry_host::local::{self, Accounts, UnixPermissions, User};

/// libvirt answers in milliseconds from its cache. It takes longer than this if it has to run QEMU for the answer.
const SLOW: Duration = Duration::from_secs(1);

/// A `/dev/kvm` that QEMU's user may not open.
pub(super) struct ClosedKvm {
    user: String,
    rights: UnixPermissions,
    group: String,
    /// Whether the user is in the group kvm.
    is_in_kvm: bool,
}

impl ClosedKvm {
    /// Returns `None` if the user may open the device, or if an access control list may permit it.
    pub(super) fn of(user: &User, accounts: &Accounts, device: &UnixPermissions) -> Option<Self> {
        let kvm = accounts.groups.iter().find(|(name, ..)| name == "kvm");
        (!user.may_use(device) && !device.has_acl).then(|| Self {
            user: accounts.name_of(user.uid),
            rights: *device,
            group: accounts.group_name(device.gid),
            is_in_kvm: kvm.is_some_and(|(_, gid, _)| user.groups.contains(gid)),
        })
    }

    /// Reads the device below `root`, for the user that runs QEMU according to libvirt.
    fn read(root: &Path, context: &Context, capabilities: &Capabilities) -> Option<Self> {
        let device = local::kvm_device(root)?;
        let accounts = Accounts::load(root);
        let user = if local::is_session(context.host.uri()) {
            User::current_user()
        } else {
            let (uid, gid) = capabilities.guest_ids()?;
            accounts.user_with_groups(uid, gid)
        };
        Self::of(&user, &accounts, &device)
    }

    /// A sentence that says who may not open the device.
    pub(super) fn describe_access(&self) -> String {
        format!(
            "the QEMU user {} may not open /dev/kvm (group {}, mode {:o})",
            self.user,
            self.group,
            self.rights.mode & 0o777
        )
    }

    /// The sentence of [`Self::describe_access`] with the consequence.
    pub(super) fn describe_with_effect(&self) -> String {
        format!(
            "{}: libvirt then probes QEMU again at every call, which takes seconds",
            self.describe_access()
        )
    }

    /// The commands that give access. The device gets the group kvm, as udev would set it; the user is never added to
    /// another group that the device happens to have.
    pub(super) fn commands_to_open(&self) -> Vec<String> {
        let is_kvms = self.group == "kvm" && self.rights.mode & 0o060 == 0o060;
        let open = (!is_kvms).then(|| OPEN_KVM.to_owned());
        let join = (!self.is_in_kvm)
            .then(|| format!("sudo usermod -aG kvm {}, then restart libvirtd", quote_for_shell(&self.user)));
        open.into_iter().chain(join).collect()
    }
}

/// Returns whether libvirt ran QEMU for its answer. For the first answer after a start that is normal.
pub(super) fn is_slow(capabilities: &Capabilities) -> bool {
    capabilities.took > SLOW
}

/// Returns a warning if libvirt was slow to report the host's capabilities, with the cause if it can be seen.
pub(super) fn slow_warning(context: &Context, capabilities: &Capabilities) -> Option<(String, Advice)> {
    let took = is_slow(capabilities).then_some(capabilities.took.as_secs_f32())?;
    let told = format!("libvirt took {took:.1} s to report the host's capabilities");
    let closed =
        context.host.is_local().then(|| ClosedKvm::read(Path::new("/"), context, capabilities)).flatten();
    Some(match closed {
        Some(closed) => (
            format!("{told}: {}", closed.describe_with_effect()),
            closed.commands_to_open().join("; ").into(),
        ),
        None => {
            let again = "if that happens again, QEMU's user may be unable to open the host's /dev/kvm: ";
            (told, Advice::from(again).run(Verb::Doctor).text(" on the host checks that"))
        }
    })
}
