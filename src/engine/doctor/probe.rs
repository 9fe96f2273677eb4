//! Runs a diskless test guest for two seconds. A host can offer KVM and start a domain with it, and the guest still
//! crashes at its first instructions; nothing else shows that.

use std::time::Duration;

use quick_xml::escape::escape;
use uuid::Uuid;

use super::facts::{Probe, answer_of, arch_of, virt_type_of};
use crate::poll::{Poll, Waited};
use crate::{Context, Step};
use foundry_core::domain_xml::VirtType;
use foundry_core::error::Error;
use foundry_core::plan::Arch;
use foundry_host::{Capabilities, GuestMachine};

/// Always the same name, so that there is one log, and libvirt refuses a second test guest at the same time.
const NAME: &str = "foundry-doctor";
/// How long the guest runs: several times what firmware needs until it loads its first drivers, even without KVM.
const LASTS: Duration = Duration::from_secs(2);
/// Time between two checks of the guest.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// The first libvirt with firmware that stores no variables (its page "Domain XML", `stateless`). An older one would
/// leave a variables file behind.
const STATELESS: u32 = 8_006_000;

/// Runs the test guest, if requested, the way `create` would run a VM.
pub(super) fn run_probe(
    context: &Context,
    capabilities: &Capabilities,
    machine: Option<&GuestMachine>,
    probe: bool,
) -> Result<Probe, Error> {
    if !probe {
        return Ok(Probe::NotRun);
    }
    let (Some(arch), Some(virt_type)) =
        (arch_of(capabilities), virt_type_of(&context.settings, capabilities))
    else {
        return Ok(Probe::Impossible("the host cannot run guests of its own architecture".into()));
    };
    if capabilities.libvirt_version < STATELESS {
        return Ok(Probe::Impossible(
            "libvirt before 8.6 would leave the test guest's EFI variables behind".into(),
        ));
    }
    let loader = machine.and_then(plain_firmware);
    context.report_started(Step::RunProbe);
    match answer_of(context.host.start_transient(&probe_xml(arch, virt_type, loader)))? {
        Ok(uuid) => watch_probe(context, uuid, virt_type),
        Err(why) => Ok(Probe::Refused(why)),
    }
}

/// A firmware build without Secure Boot. Fedora and Debian name the builds with it by these words.
fn plain_firmware(machine: &GuestMachine) -> Option<&str> {
    let is_secure =
        |path: &str| ["secboot", ".ms.", "snakeoil", "secure"].iter().any(|word| path.contains(word));
    machine.loaders.iter().map(String::as_str).find(|path| !is_secure(path))
}

fn probe_xml(arch: Arch, virt_type: VirtType, loader: Option<&str>) -> String {
    let loader = loader.map(|path| {
        format!("<loader readonly='yes' type='pflash' stateless='yes'>{}</loader>", escape(path))
    });
    let cpu = if virt_type == VirtType::Kvm { "host-model" } else { "maximum" };
    format!(
        "<domain type='{}'><name>{NAME}</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>\
         <os><type arch='{}' machine='{}'>hvm</type>{}</os><features><acpi/></features><cpu mode='{cpu}'/>\
         <on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>\
         <devices><memballoon model='none'/></devices></domain>",
        virt_type.as_str(),
        arch.as_str(),
        arch.machine_type(),
        loader.unwrap_or_default()
    )
}

/// Watches the guest for that time, then stops it. If stopping fails, libvirt destroys it when the connection closes.
fn watch_probe(context: &Context, uuid: Uuid, virt_type: VirtType) -> Result<Probe, Error> {
    let has_stopped = || -> Result<Option<()>, Error> {
        let now = context.host.state(uuid)?;
        Ok(now.is_none_or(|now| now.stopped_by_error()).then_some(()))
    };
    let waited = Poll::new(context, POLL_EVERY)
        .within(LASTS)
        .unless(|| context.cancel.is_requested())
        .pause_first()
        .until(has_stopped)?;
    // After an interrupt, too: the guest must not outlive the probe.
    context.host.force_off(uuid)?;
    context.cancel.check()?;
    Ok(if waited == Waited::Done(()) { Probe::Stopped(virt_type) } else { Probe::Ran(virt_type) })
}
