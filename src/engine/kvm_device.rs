//! Detects a `/dev/kvm` that QEMU's user cannot open: libvirt is slow then.

use foundry_core::error::{Advice, Verb};
use std::path::Path;
use std::time::Duration;

use crate::Context;
use foundry_core::text::quote_for_shell;
use foundry_host::Capabilities;
use foundry_host::diagnosis::advice::OPEN_KVM;
use foundry_host::local::{self, Accounts, UnixPermissions, User};

/// A libvirt that knows QEMU answers in milliseconds. One that looks at QEMU for the answer takes longer.
const SLOW: Duration = Duration::from_secs(1);

/// A device that QEMU's user may not open.
pub(super) struct ClosedKvm {
    user: String,
    rights: UnixPermissions,
    group: String,
    /// Whether the user is in the group that the device is to be of.
    is_in_kvm: bool,
}

impl ClosedKvm {
    /// `None` where that user may open it. An access list may let it in: of a device that has one, nothing is said.
    pub(super) fn of(user: &User, accounts: &Accounts, device: &UnixPermissions) -> Option<Self> {
        let kvm = accounts.groups.iter().find(|(name, ..)| name == "kvm");
        (!user.may_use(device) && !device.has_acl).then(|| Self {
            user: accounts.name_of(user.uid),
            rights: *device,
            group: accounts.group_name(device.gid),
            is_in_kvm: kvm.is_some_and(|(_, gid, _)| user.groups.contains(gid)),
        })
    }

    /// Of the machine that is below this root, for the user as whom libvirt says that guests run.
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

    /// Who may not open it.
    pub(super) fn describe_access(&self) -> String {
        format!(
            "{}, as whom guests run, may not open /dev/kvm (group {}, mode {:o})",
            self.user,
            self.group,
            self.rights.mode & 0o777
        )
    }

    /// As [`Self::describe_access`], with what comes of it.
    pub(super) fn describe_with_effect(&self) -> String {
        format!(
            "{}: libvirt then looks at QEMU anew at every call, which takes seconds",
            self.describe_access()
        )
    }

    /// The device becomes the group kvm's, as udev makes it; nobody joins the group that it is of by chance.
    pub(super) fn commands_to_open(&self) -> Vec<String> {
        let is_kvms = self.group == "kvm" && self.rights.mode & 0o060 == 0o060;
        let open = (!is_kvms).then(|| OPEN_KVM.to_owned());
        let join = (!self.is_in_kvm)
            .then(|| format!("sudo usermod -aG kvm {}, then restart libvirtd", quote_for_shell(&self.user)));
        open.into_iter().chain(join).collect()
    }
}

/// Whether libvirt looked at QEMU for its answer; the first one after its start does so rightly.
pub(super) fn is_slow(capabilities: &Capabilities) -> bool {
    capabilities.took > SLOW
}

/// What is to be said where libvirt was slow to say what the host can do, with the cause where that can be seen.
pub(super) fn slow_warning(context: &Context, capabilities: &Capabilities) -> Option<(String, Advice)> {
    let took = is_slow(capabilities).then_some(capabilities.took.as_secs_f32())?;
    let told = format!("libvirt took {took:.1} s to say what the host can do");
    let closed =
        context.host.is_local().then(|| ClosedKvm::read(Path::new("/"), context, capabilities)).flatten();
    Some(match closed {
        Some(closed) => (
            format!("{told}: {}", closed.describe_with_effect()),
            closed.commands_to_open().join("; ").into(),
        ),
        None => {
            let again = "if it does so again, /dev/kvm of the host may be closed to QEMU's user: ";
            (told, Advice::from(again).run(Verb::Doctor).text(" there shows it"))
        }
    })
}
