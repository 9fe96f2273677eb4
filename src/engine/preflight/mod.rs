//! All checks on the host before anything is created. All issues are reported together.
//!
//! Only this file builds a [`ReadyVm`], so a VM that was not checked cannot be created.

pub(crate) mod bridge_helper;
pub(crate) mod conflicts;
pub(crate) mod image;
pub(crate) mod image_name;
pub(crate) mod issues;
pub(crate) mod links;
mod revisions;
pub(crate) mod room;
pub(crate) mod stale_variables;
pub(crate) mod storage;
pub(crate) mod warm;

use std::path::PathBuf;

use crate::{Context, kvm_device};
use foundry_core::cloud_init::find_ineffective_keys;
use foundry_core::domain_xml::VirtType;
use foundry_core::error::Issue;
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::names::{DiskTarget, find_nearest};
use foundry_core::plan::{Arch, CpuMode, FirmwarePlan, UserData, VmPlan};
use foundry_core::record::VolumeRef;
use foundry_core::record::{Liveness, Owner, RecordState, RunnerNote};
use foundry_host::diagnosis::emulator_hint;
use foundry_host::local::check_liveness;
use foundry_host::{Capabilities, Domain, GuestMachine};
use issues::PreflightReport;
use storage::ReadyStorage;
pub use storage::{PlannedVolume, planned_volumes};
use warm::MemoryUse;

/// The first libvirt that adds the IOMMU which a PC with more than 255 CPUs needs for interrupts (its release notes for
/// 10.10.0).
const MANY_CPUS: u32 = 10_010_000;
/// Every machine type supports this many CPUs.
const FEW_CPUS: u32 = 64;

/// A VM that this host can create, as far as that can be checked in advance.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadyVm {
    /// The plan, with what the host knows about its interfaces.
    pub plan: VmPlan,
    /// Whether it runs with KVM or emulated.
    pub virt_type: VirtType,
    /// The guest's architecture.
    pub arch: Arch,
    /// Whether `arch` is the host's own architecture.
    pub native: bool,
    /// Its pool, volumes and image.
    pub storage: ReadyStorage,
    /// An interrupted creation of the same name, to be removed first.
    pub leftover: Option<Domain>,
    /// The directory for its EFI variables, if they cannot be in the file that libvirt names after the VM.
    pub own_variables: Option<PathBuf>,
    /// What its record notes about the runner of a pool.
    pub runner: Option<RunnerNote>,
    /// The memory that it starts from, or that is to be saved.
    pub memory: Option<MemoryUse>,
}

impl ReadyVm {
    /// Pool and name of its image, if the image is in a pool.
    pub(super) fn image_volume(&self) -> Option<&VolumeRef> {
        self.storage.image.as_ref()?.volume.as_ref()
    }
}

/// Checks whether a host can create a VM; changes nothing.
///
/// # Errors
/// All issues in one error (exit code 5 if one of them concerns storage, else 4), or an error of the host.
pub fn preflight(context: &Context, plan: &VmPlan) -> Result<ReadyVm, Error> {
    let looked = run_preflight(context, plan)?;
    looked.ready.ok_or_else(|| looked.report.to_error(plan.name.as_str()))
}

/// The result of a preflight.
pub(super) struct PreflightOutcome {
    pub(super) report: PreflightReport,
    /// The VM to create, if there is no issue.
    pub(super) ready: Option<ReadyVm>,
}

/// Runs all checks, even after an issue was found.
pub(super) fn run_preflight(context: &Context, plan: &VmPlan) -> Result<PreflightOutcome, Error> {
    let mut report = PreflightReport::default();
    let domains = context.host.domains(false)?;
    let capabilities = context.host.capabilities()?;
    if let Some((slow, advice)) = kvm_device::slow_warning(context, &capabilities) {
        context.warn_about(slow, Some(advice));
    }
    let taken = domains.iter().find(|d| d.name == plan.name.as_str());
    report.begin_check("name", format!("no other domain has the name '{}'", plan.name));
    let leftover = taken.filter(|domain| check_name(plan, domain, &mut report)).cloned();
    // Files of an existing domain of that name are its own.
    let own_variables = match taken {
        None => stale_variables::check_stale_files(context, plan, &domains, &mut report)?,
        Some(_) => stale_variables::other_place(context, plan, &domains)?,
    };
    report.begin_check("addresses", "no other domain has its IP or MAC addresses");
    let others = conflicts::check_conflicts(context, plan, &domains, &mut report)?;
    report.begin_check("machine", "the host can run this type of guest");
    let machine = choose_machine(context, plan, &capabilities, &mut report);
    check_size(context, plan, &capabilities, machine, &mut report)?;
    check_graphics(context, plan, machine, &mut report)?;
    let interfaces = links::check_links(context, plan, capabilities.libvirt_version, &mut report)?;
    let mut storage = storage::check_storage(context, plan, taken, &others, &mut report)?;
    let memory = match (&plan.warm, &mut storage, machine) {
        (Some(_), Some(storage), Some((virt_type, arch, _))) => {
            warm::check_warm(context, plan, storage, (virt_type, arch), &mut report)?
        }
        _ => None,
    };
    let ready = match (machine, storage) {
        (Some((virt_type, arch, native)), Some(storage)) if report.is_empty() => {
            warn_of_cpu(context, plan, virt_type);
            warn_of_names(context, plan);
            warn_of_user_data(context, plan);
            warn_of_own_network(context, plan);
            let plan = plan.with_image(storage.image.as_ref().map(|image| &image.reference));
            let plan = VmPlan { interfaces, ..plan };
            Some(ReadyVm {
                plan,
                virt_type,
                arch,
                native,
                storage,
                leftover,
                own_variables,
                runner: None,
                memory,
            })
        }
        _ => {
            report = recheck_name(context, plan, taken)?.unwrap_or(report);
            None
        }
    };
    Ok(PreflightOutcome { report, ready })
}

/// Checks a name again that was free before. If another process has created a VM with it meanwhile, the volumes that
/// were found belong to that VM, and any advice about them would be wrong; so only the name is reported.
fn recheck_name(
    context: &Context,
    plan: &VmPlan,
    taken: Option<&Domain>,
) -> Result<Option<PreflightReport>, Error> {
    let Some(newcomer) = context.host.domain(plan.name.as_str())?.filter(|_| taken.is_none()) else {
        return Ok(None);
    };
    let mut report = PreflightReport::default();
    report.begin_check("name", "");
    let is_dead = check_name(plan, &newcomer, &mut report);
    Ok((!is_dead).then_some(report))
}

/// Checks that the name is free. Returns true if it belongs to an interrupted creation whose process ended; `create`
/// replaces that. Foundry starts a VM only after it is complete. So if an incomplete VM runs, someone else started it
/// and may need it, and it is not replaced.
fn check_name(plan: &VmPlan, taken: &Domain, report: &mut PreflightReport) -> bool {
    let destroy = |force| Verb::Destroy { vm: plan.name.to_string(), force };
    let issue = match taken.owner() {
        Owner::Foundry(record) if record.state == RecordState::Creating => {
            match check_liveness(&record.maker) {
                Liveness::Dead if !taken.state.is_active() && !taken.saved => return true,
                Liveness::Dead => Issue::new(
                    Code::HalfCreated,
                    format!(
                        "VM '{}' {}, although its creation was interrupted",
                        plan.name,
                        if taken.saved { "was started and saved" } else { "runs" }
                    ),
                )
                .hint(Advice::from(destroy(false)).text(" removes it")),
                Liveness::Alive => Issue::new(
                    Code::BeingCreated,
                    format!("VM '{}' is being created by process {}", plan.name, record.maker.pid),
                ),
                Liveness::Elsewhere => Issue::new(
                    Code::BeingCreated,
                    format!("VM '{}' is being created from another machine", plan.name),
                )
                .hint(Advice::from("if that was given up: ").run(destroy(true))),
            }
        }
        Owner::Foundry(record) if record.state == RecordState::Destroying => {
            Issue::new(Code::HalfDestroyed, format!("VM '{}' is half destroyed", plan.name))
                .hint(Advice::from(destroy(false)).text(" finishes it"))
        }
        Owner::Foreign => Issue::new(
            Code::NameTaken,
            format!("a domain '{}' exists that foundry did not create", plan.name),
        )
        .hint("choose another name"),
        _ => Issue::new(Code::NameTaken, format!("VM '{}' exists", plan.name))
            .hint(Advice::from("choose another name, or ").run(destroy(false)).text(" first")),
    };
    report.push(issue);
    false
}

/// Chooses the architecture, and KVM or emulation. Returns also whether the architecture is the host's own.
fn choose_machine(
    context: &Context,
    plan: &VmPlan,
    capabilities: &Capabilities,
    report: &mut PreflightReport,
) -> Option<(VirtType, Arch, bool)> {
    let name = plan.arch.map_or(capabilities.arch.as_str(), |arch| arch.as_str());
    let Some(arch) = Arch::ALL.into_iter().find(|a| a.as_str() == name) else {
        report.push(
            Issue::new(Code::ArchUnsupported, format!("the host's architecture {name} is not supported"))
                .hint("set spec.arch"),
        );
        return None;
    };
    let offered = capabilities.guests.get(name).cloned().unwrap_or_default();
    let offers = |wanted: VirtType| offered.iter().any(|o| o == wanted.as_str());
    let chosen = match context.settings.virt_type {
        Some(wanted) => Some(wanted).filter(|w| offers(*w)),
        None => [VirtType::Kvm, VirtType::Qemu].into_iter().find(|t| offers(*t)),
    };
    if chosen.is_none() {
        let wanted = context.settings.virt_type.map(|t| format!(" with {}", t.as_str())).unwrap_or_default();
        let listed = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
        // If the host emulates this architecture, the cause is missing KVM and not the architecture.
        let wants_kvm = context.settings.virt_type == Some(VirtType::Kvm) && !offered.is_empty();
        let code = if wants_kvm { Code::NoKvm } else { Code::ArchUnsupported };
        let message = format!("the host cannot run {name} guests{wanted}; it offers {listed}");
        let hint = match code {
            Code::NoKvm => Advice::from(Verb::Doctor)
                .text(" shows why; --virt-type qemu works without it, many times slower"),
            _ => emulator_hint(name).into(),
        };
        report.push(Issue::new(code, message).hint(hint));
    }
    if arch == Arch::Aarch64 && plan.firmware == FirmwarePlan::Bios {
        report.push(
            Issue::new(Code::FirmwareMissing, "spec.firmware.type: aarch64 machines have no BIOS")
                .hint("omit it, or set it to efi"),
        );
    }
    chosen.map(|virt_type| (virt_type, arch, name == capabilities.arch))
}

/// Checks that the machine type supports the number of CPUs and that the host has the memory. QEMU would only refuse
/// at the start, after the disks were created.
fn check_size(
    context: &Context,
    plan: &VmPlan,
    capabilities: &Capabilities,
    machine: Option<(VirtType, Arch, bool)>,
    report: &mut PreflightReport,
) -> Result<(), Error> {
    let memory = context.host.memory()?;
    if plan.memory > memory {
        let message =
            format!("spec.memoryGiB: the VM needs {} of memory, but the host has only {memory}", plan.memory);
        report.push(Issue::new(Code::OutOfMemory, message).hint("assign less memory"));
    } else if plan.max_memory > memory {
        let message = format!(
            "spec.resources.maxMemoryGiB: the VM may grow to {}, but the host has only {memory}",
            plan.max_memory
        );
        report.push(Issue::new(Code::OutOfMemory, message).hint("leave it less room"));
    }
    let Some((virt_type, arch, _)) = machine.filter(|_| plan.max_vcpus > FEW_CPUS) else { return Ok(()) };
    // If the host does not report a limit, none is assumed.
    let most = guest_machine(context, arch, virt_type)?.and_then(|machine| machine.max_vcpus);
    let vcpus = plan.max_vcpus;
    let path = if vcpus == plan.vcpus { "spec.vcpus" } else { "spec.resources.maxVcpus" };
    let issue = |message| Issue::new(Code::TooManyCpus, format!("{path}: {message}"));
    if let Some(most) = most.filter(|most| vcpus > *most) {
        let message =
            format!("a {} machine of this host has at most {most} CPUs, not {vcpus}", arch.machine_type());
        report.push(issue(message));
    } else if arch == Arch::X86_64 && vcpus > 255 && capabilities.libvirt_version < MANY_CPUS {
        let message = "more than 255 CPUs need an IOMMU, which libvirt adds from 10.10 on; this host's libvirt is older";
        report.push(issue(message.to_owned()).hint("use at most 255"));
    }
    Ok(())
}

/// Checks that QEMU can offer the screen; libvirt would refuse it only at the start.
fn check_graphics(
    context: &Context,
    plan: &VmPlan,
    machine: Option<(VirtType, Arch, bool)>,
    report: &mut PreflightReport,
) -> Result<(), Error> {
    let Some((virt_type, arch, _)) = machine.filter(|_| plan.graphics.is_some()) else { return Ok(()) };
    let found = guest_machine(context, arch, virt_type)?;
    if found.is_some_and(|machine| !machine.graphics.iter().any(|kind| kind == "vnc")) {
        let message = "spec.graphics: this host's QEMU has no VNC server";
        report.push(Issue::new(Code::GraphicsUnsupported, message).hint("leave spec.graphics out"));
    }
    Ok(())
}

/// The abilities of guests; `None` if the host does not say.
fn guest_machine(context: &Context, arch: Arch, virt_type: VirtType) -> Result<Option<GuestMachine>, Error> {
    match context.host.guest_machine(arch.as_str(), arch.machine_type(), virt_type.as_str()) {
        Err(lost) if lost.outcome_unknown() => Err(lost.into()),
        asked => Ok(asked.ok()),
    }
}

/// Checks size and screen of a VM that exists and gets others. Its machine stays what it is.
pub(crate) fn check_changed_machine(
    context: &Context,
    plan: &VmPlan,
    domain_type: &str,
    report: &mut PreflightReport,
) -> Result<(), Error> {
    let capabilities = context.host.capabilities()?;
    let virt_type = if domain_type == "kvm" { VirtType::Kvm } else { VirtType::Qemu };
    let name = plan.arch.map_or(capabilities.arch.as_str(), |arch| arch.as_str());
    let arch = Arch::ALL.into_iter().find(|arch| arch.as_str() == name);
    let machine = arch.map(|arch| (virt_type, arch, name == capabilities.arch));
    check_size(context, plan, &capabilities, machine, report)?;
    check_graphics(context, plan, machine, report)
}

/// Checks the image and the pool of new volumes for a VM that exists; the plan has only these volumes.
///
/// # Errors
/// All issues in one error.
pub(crate) fn check_boot_storage(context: &Context, plan: &VmPlan) -> Result<ReadyStorage, Error> {
    let mut report = PreflightReport::default();
    let domains = context.host.domains(false)?;
    let taken = domains.iter().find(|d| d.name == plan.name.as_str());
    let others = conflicts::check_conflicts(context, plan, &domains, &mut report)?;
    let storage = storage::check_storage(context, plan, taken, &others, &mut report)?;
    let refused = |report: &PreflightReport| {
        let issues = report.issues().cloned().collect();
        Error::of_issues(format!("VM '{}' cannot be repaved", plan.name), issues).unchanged()
    };
    storage.filter(|_| report.is_empty()).ok_or_else(|| refused(&report))
}

/// A guest's kernel names disks by their order and ignores the names in the manifest.
fn warn_of_names(context: &Context, plan: &VmPlan) {
    let mut targets: Vec<_> = plan.data_disks.iter().map(|disk| &disk.target).collect();
    targets.sort();
    if let Some((target, name)) =
        targets.into_iter().zip(DiskTarget::all_targets()).find(|(t, name)| *t != name)
    {
        context.warn(format!(
            "spec.dataDisks: device letters are skipped, so the guest's kernel calls '{target}' /dev/{name}; use /dev/disk/by-id/virtio-SERIAL in the guest"
        ));
    }
}

fn warn_of_user_data(context: &Context, plan: &VmPlan) {
    let Some(UserData::Merged(text)) = plan.seed.as_ref().map(|seed| &seed.user_data) else { return };
    for key in find_ineffective_keys(text) {
        context.warn(format!(
            "spec.cloudInit.userData: '{key}' applies to the image's default user, which is not created: add 'default' to users, or set it for root"
        ));
    }
}

/// Warns about interface fields that would reach the guest only through the generated network-config.
fn warn_of_own_network(context: &Context, plan: &VmPlan) {
    if plan.seed.as_ref().is_none_or(|seed| seed.network_config.is_none()) {
        return;
    }
    for (index, nic) in plan.manifest.spec.network_interfaces.iter().enumerate() {
        let said = [
            ("gateway", nic.gateway.is_some()),
            ("gateway6", nic.gateway6.is_some()),
            ("onLink", nic.on_link.is_some()),
            ("dnsServers", !nic.dns_servers.is_empty()),
            ("searchDomains", !nic.search_domains.is_empty()),
            ("defaultRoute", nic.default_route.is_some()),
        ];
        let idle: Vec<&str> =
            said.into_iter().filter(|(_, is_said)| *is_said).map(|(field, _)| field).collect();
        if !idle.is_empty() {
            context.warn(format!(
                "spec.networkInterfaces[{index}]: {} without effect: the guest gets spec.cloudInit.networkConfig instead",
                idle.join(", ")
            ));
        }
    }
}

/// Warns about slow or different CPUs; once per VM, and only if it will be created.
fn warn_of_cpu(context: &Context, plan: &VmPlan, virt_type: VirtType) {
    if context.settings.virt_type.is_none() && virt_type == VirtType::Qemu {
        context.warn("the host offers no KVM: the guest is emulated, many times slower");
    }
    if plan.cpu_mode == CpuMode::HostPassthrough && virt_type == VirtType::Qemu {
        context.warn("spec.cpuMode: host-passthrough needs KVM; the guest gets QEMU's largest CPU (maximum)");
    }
}

/// Suggests the most similar of the known names, and lists the others.
pub(super) fn suggest_names(word: &str, known: &[&str]) -> String {
    match (find_nearest(word, known.iter().copied()), known) {
        (_, []) => "there is none".into(),
        (Some(near), [_]) => format!("did you mean '{near}'?"),
        (Some(near), all) => format!("did you mean '{near}'? There are {}", all.join(", ")),
        (None, [only]) => format!("there is only '{only}'"),
        (None, all) => format!("there are {}", all.join(", ")),
    }
}
