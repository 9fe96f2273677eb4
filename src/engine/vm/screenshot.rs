//! Takes a picture of a VM's screen.

use super::console_session::{off_error, refused_or_off};
use super::handle::find_own_vm;
use super::lookup::removed_meanwhile;
use crate::Context;
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_host::{Screenshot, View};

/// Takes a picture of the screen of a running VM.
///
/// # Errors
/// [`Code::GuestOff`] if the VM is off; [`Code::ScreenMissing`] if it has no video device.
pub fn take_screenshot(context: &Context, name: &str) -> Result<Screenshot, Error> {
    let (domain, _) = find_own_vm(context, name)?;
    if !domain.state.is_active() {
        return Err(off_error(&domain));
    }
    let described = context.host.describe(domain.uuid, View::Current)?;
    let described = described.ok_or_else(|| removed_meanwhile(&domain.name))?;
    if !described.has_video {
        let console = Advice::from(Verb::Logs { vm: domain.command_name() });
        return Err(Error::new(Code::ScreenMissing, format!("VM '{}' has no screen", domain.name))
            .because("its manifest has no spec.graphics")
            .hint(console.text(" shows what its serial console said"))
            .unchanged());
    }
    let taken = context.host.screenshot(domain.uuid, 0);
    taken.map_err(|refused| refused_or_off(context, &domain, refused))
}
