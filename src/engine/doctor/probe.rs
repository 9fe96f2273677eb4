//! Runs a diskless test guest for two seconds: a host can offer KVM, start a domain with it, and the guest still crashes
//! at its first instructions. Nothing else shows that.

use std::time::Duration;

use quick_xml::escape::escape;
use uuid::Uuid;

use super::facts::{Probe, answer_of, arch_of, virt_type_of};
use crate::Context;
use crate::poll::{Poll, Waited};
use foundry_core::domain_xml::VirtType;
use foundry_core::error::Error;
use foundry_core::plan::Arch;
use foundry_host::{Capabilities, GuestMachine};

/// One name, so that libvirt's log of it is one, and two trials at a time do not happen.
const NAME: &str = "foundry-doctor";
/// Several times what firmware takes to its first drivers, under the translator, too.
const LASTS: Duration = Duration::from_secs(2);
/// Between two looks.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// libvirt's first version with firmware that has no store of variables (its page "Domain XML", `stateless`):
/// the file of one would stay behind.
const STATELESS: u32 = 8_006_000;

/// Runs it, where somebody asks for it, as `create` would run a VM.
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
        return Ok(Probe::Impossible("the host offers no guests of its own architecture".into()));
    };
    if capabilities.libvirt_version < STATELESS {
        return Ok(Probe::Impossible(
            "libvirt before 8.6 would leave the trial guest's EFI variables behind".into(),
        ));
    }
    let loader = machine.and_then(plain_firmware);
    context.report_working("Running a guest for a moment");
    match answer_of(context.host.start_transient(&probe_xml(arch, virt_type, loader)))? {
        Ok(uuid) => watch_probe(context, uuid, virt_type),
        Err(why) => Ok(Probe::Refused(why)),
    }
}

/// Firmware that starts anything. Fedora and Debian name the other builds so.
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

/// Looks until its time is over, and takes it away. Should that fail, it goes with the connection.
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
    context.host.force_off(uuid)?;
    context.cancel.check()?;
    Ok(if waited == Waited::Done(()) { Probe::Stopped(virt_type) } else { Probe::Ran(virt_type) })
}
