//! The VMs of a pool.

use std::sync::Arc;

use crate::disk::update_record;
use crate::vm::create::create_for_pool;
use crate::vm::labelled::{LabelledVm, find_recorded};
use crate::vm::lookup::find_vm;
use crate::{Context, runner::guest_runner};
use foundry_core::error::{Code, Error};
use foundry_core::manifest::VirtualMachine;
use foundry_core::plan::{Defaults, VmPlan};
use foundry_core::record::{Liveness, Record, RecordState, RunnerNote};
use foundry_host::libvirt_xml::DomainDescription;
use foundry_host::libvirt_xml::edit::{interface_element, set_interface_state};
use foundry_host::local::check_liveness;
use foundry_host::{Domain, DomainState, View};
use foundry_runner::{DomainFact, GuestFact, HostedRunner, RunnerGuestPlan, RunnerHost};

/// At how many guests to look at the same time: one that does not answer takes seconds.
const LOOKS_AT_ONCE: usize = 8;

/// The host of one pool's VMs.
pub struct PoolHost {
    /// The host, settings and cancellation. Each operation gets a lease of its own.
    pub context: Context,
    /// Name of the pool.
    pub pool: String,
    /// Manifest of the VMs, without a name.
    pub template: VirtualMachine,
    /// What a manifest leaves out.
    pub defaults: Defaults,
    /// The runner in the guest.
    pub guest: RunnerGuestPlan,
}

/// Lists the VMs that belong to pools, with their notes.
///
/// # Errors
/// A failed call to the host.
pub fn list_pool_vms(context: &Context) -> Result<Vec<(LabelledVm, RunnerNote)>, Error> {
    let all = find_recorded(context)?.into_iter();
    Ok(all.filter_map(|vm| Some((vm.record.runner.clone()?, vm))).map(|(note, vm)| (vm, note)).collect())
}

/// Makes a name for a VM of a pool: its name, `-`, and eight random letters or digits.
///
/// # Errors
/// If the system gives no random numbers.
pub fn random_name(pool: &str) -> Result<String, Error> {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(Code::Vm, "the system gives no random numbers").because(e.to_string()))?;
    let end: String =
        bytes.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect();
    Ok(format!("{pool}-{end}"))
}

/// Plans a VM of a pool.
///
/// # Errors
/// If the template does not give one.
pub fn plan_runner(template: &VirtualMachine, defaults: &Defaults, name: &str) -> Result<VmPlan, Error> {
    let mut manifest = template.clone();
    manifest.metadata.name = Some(name.to_owned());
    VmPlan::from_manifest(&manifest, defaults).map_err(|problems| Error::from(problems).unchanged())
}

impl PoolHost {
    /// The context of one operation, whose lease its records name.
    fn operation(&self) -> Context {
        Context { lease: Arc::default(), ..self.context.clone() }
    }

    /// Finds a VM of the pool by its name.
    fn find(&self, context: &Context, name: &str) -> Result<Option<LabelledVm>, Error> {
        let Some(domain) = find_vm(context, name)? else { return Ok(None) };
        let Some(record) = domain.own_record() else { return Ok(None) };
        let is_own = record.runner.as_ref().is_some_and(|note| note.pool == self.pool);
        Ok(is_own.then_some(LabelledVm { domain, record }))
    }

    fn require(&self, context: &Context, name: &str) -> Result<LabelledVm, Error> {
        self.find(context, name)?
            .ok_or_else(|| Error::new(Code::VmMissing, format!("pool '{}' has no VM '{name}'", self.pool)))
    }
}

/// The state of a domain, as far as it matters to a runner.
fn domain_fact(domain: &Domain, record: &Record) -> DomainFact {
    if record.state != RecordState::Created {
        return match check_liveness(&record.maker) {
            Liveness::Dead => DomainFact::HalfMade,
            Liveness::Alive | Liveness::Elsewhere => DomainFact::BeingMade,
        };
    }
    match domain.state {
        // Between its mark and its start, its maker lives.
        DomainState::ShutOff if check_liveness(&record.maker) != Liveness::Dead => DomainFact::BeingMade,
        DomainState::ShutOff | DomainState::Crashed => DomainFact::Ended,
        DomainState::Paused | DomainState::Suspended => DomainFact::Paused,
        _ => DomainFact::Running,
    }
}

impl RunnerHost for PoolHost {
    fn list_runners(&self) -> Result<Vec<HostedRunner>, Error> {
        let all = list_pool_vms(&self.context)?.into_iter().filter(|(_, note)| note.pool == self.pool);
        Ok(all
            .map(|(vm, note)| HostedRunner {
                domain: domain_fact(&vm.domain, &vm.record),
                name: vm.domain.name,
                note,
            })
            .collect())
    }

    fn look_at_guest(&self, name: &str) -> GuestFact {
        match self.find(&self.context, name) {
            Ok(Some(vm)) => guest_runner::look_at_runner(&self.context, &vm.domain, &self.guest),
            Ok(None) | Err(_) => GuestFact::Silent,
        }
    }

    fn look_at_guests(&self, names: &[&str]) -> Vec<GuestFact> {
        let look = |some: &[&str]| some.iter().map(|name| self.look_at_guest(name)).collect::<Vec<_>>();
        let looked = std::thread::scope(|scope| {
            let chunks = names.chunks(names.len().div_ceil(LOOKS_AT_ONCE).max(1));
            let threads: Vec<_> = chunks.map(|some| scope.spawn(move || look(some))).collect();
            threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
        });
        let joined = looked.into_iter().map(|one| one.unwrap_or_else(|e| std::panic::resume_unwind(e)));
        joined.flatten().collect()
    }

    fn create_runner(&self, name: &str, note: &RunnerNote) -> Result<(), Error> {
        let context = self.operation();
        let plan = plan_runner(&self.template, &self.defaults, name)?;
        create_for_pool(&context, &plan, note).map(drop)
    }

    fn write_note(&self, name: &str, note: &RunnerNote) -> Result<(), Error> {
        let context = self.operation();
        let vm = self.require(&context, name)?;
        update_record(&context, &vm.domain, |record| record.runner = Some(note.clone())).map(drop)
    }

    fn hand_over(&self, name: &str, configuration: &str) -> Result<(), Error> {
        let vm = self.require(&self.context, name)?;
        guest_runner::start_runner(&self.context, &vm.domain, &self.guest, configuration)
    }

    fn set_link(&self, name: &str, is_up: bool) -> Result<(), Error> {
        let vm = self.require(&self.context, name)?;
        let (host, uuid) = (&self.context.host, vm.domain.uuid);
        // A guest that is off has no link.
        let Some(xml) = host.domain_xml(uuid, View::Current)?.filter(|_| vm.domain.state.is_active()) else {
            return Ok(());
        };
        for interface in DomainDescription::read(&xml)?.interfaces {
            let Some(mac) = interface.mac else { continue };
            let changed = set_interface_state(&xml, &mac, is_up)?;
            if let Some(element) = interface_element(&changed, &mac)? {
                host.update_interface_now(uuid, element)?;
            }
        }
        Ok(())
    }

    fn destroy_runner(&self, name: &str) -> Result<(), Error> {
        let context = self.operation();
        self.find(&context, name)?.map_or(Ok(()), |vm| vm.destroy(&context))
    }
}
