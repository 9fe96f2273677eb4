//! A host of VMs and a forge in memory, with time, jobs and faults.
//!
//! Guests boot, connect, take jobs and end as time passes. Each call can fail before or after its effect, and from one call
//! on all fail, as for a process that was killed there.

use std::collections::BTreeMap;
use std::sync::Mutex;

use foundry::Error;
use foundry::error::Code;
use foundry::record::{RetireReason, RunnerNote, RunnerState};
use foundry_runner::{
    DomainFact, Forge, ForgeError, ForgeFailure, GuestFact, HostedRunner, RegisteredRunner, Registration,
    Removal, RunnerHost,
};

/// How often things go wrong, in thousandths.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FaultRates {
    /// A call fails without an effect.
    pub(crate) before: u64,
    /// A call fails after its effect.
    pub(crate) after: u64,
    /// A guest does not answer.
    pub(crate) silence: u64,
    /// A guest never boots.
    pub(crate) broken: u64,
    /// A guest crashes in a second.
    pub(crate) crash: u64,
    /// The forge forgets a busy runner, which it should not.
    pub(crate) lies: u64,
    /// The process is killed before a call.
    pub(crate) kills: u64,
    /// A job comes in a second.
    pub(crate) arrivals: u64,
    /// A user wants something of a runner in a round.
    pub(crate) wishes: u64,
}

/// A small generator of numbers (xorshift64), so that a run can be repeated by its seed.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit.max(1)
    }

    fn hits(&mut self, thousandths: u64) -> bool {
        thousandths > 0 && self.below(1000) < thousandths
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    HalfMade,
    Running,
    Off,
}

/// The runner's process in a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    None,
    Connecting { until: u64 },
    Waiting,
    Working { since: u64, until: u64 },
}

#[derive(Debug, Clone)]
struct Vm {
    note: RunnerNote,
    power: Power,
    /// When its agent answers; never for a broken one.
    awake: Option<u64>,
    has_link: bool,
    process: Process,
    /// The id of the registration that it was given.
    given: Option<String>,
}

#[derive(Debug, Clone)]
struct KnownRunner {
    name: String,
    online: bool,
    /// Since when it works; the list shows it late.
    busy: Option<u64>,
}

#[derive(Debug)]
struct Inner {
    now: u64,
    dice: Dice,
    rates: FaultRates,
    vms: BTreeMap<String, Vm>,
    registrations: BTreeMap<String, KnownRunner>,
    next_id: u64,
    is_killed: bool,
    is_forge_down: bool,
    waiting: usize,
    done: usize,
    /// Jobs whose runner was taken away by the controller.
    killed: Vec<String>,
    ended: Vec<Option<RetireReason>>,
    forge_calls: usize,
    created: usize,
}

/// How late the forge's list shows that a runner works, in seconds.
const BUSY_LAG: u64 = 20;

#[derive(Debug)]
pub(crate) struct World(Mutex<Inner>);

impl World {
    pub(crate) fn new(seed: u64, rates: FaultRates) -> Self {
        Self(Mutex::new(Inner {
            now: 1_800_000_000,
            dice: Dice::new(seed),
            rates,
            vms: BTreeMap::new(),
            registrations: BTreeMap::new(),
            next_id: 1,
            is_killed: false,
            is_forge_down: false,
            waiting: 0,
            done: 0,
            killed: Vec::new(),
            ended: Vec::new(),
            forge_calls: 0,
            created: 0,
        }))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    pub(crate) fn now(&self) -> u64 {
        self.with(|inner| inner.now)
    }

    pub(crate) fn queue_jobs(&self, count: usize) {
        self.with(|inner| inner.waiting += count);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.with(|inner| inner.waiting)
    }

    pub(crate) fn done(&self) -> usize {
        self.with(|inner| inner.done)
    }

    pub(crate) fn killed(&self) -> Vec<String> {
        self.with(|inner| inner.killed.clone())
    }

    pub(crate) fn forge_calls(&self) -> usize {
        self.with(|inner| inner.forge_calls)
    }

    pub(crate) fn created(&self) -> usize {
        self.with(|inner| inner.created)
    }

    pub(crate) fn set_rates(&self, rates: FaultRates) {
        self.with(|inner| inner.rates = rates);
    }

    pub(crate) fn set_forge_down(&self, is_down: bool) {
        self.with(|inner| inner.is_forge_down = is_down);
    }

    /// Whether the process was killed; the next one begins.
    pub(crate) fn restart(&self) -> bool {
        self.with(|inner| std::mem::take(&mut inner.is_killed))
    }

    pub(crate) fn working(&self) -> usize {
        self.with(|inner| {
            inner.vms.values().filter(|vm| matches!(vm.process, Process::Working { .. })).count()
        })
    }

    /// The names of the VMs that work, and of those that do not.
    pub(crate) fn names_by_work(&self) -> (Vec<String>, Vec<String>) {
        self.with(|inner| {
            let names = |works: bool| {
                let is_so = |vm: &Vm| matches!(vm.process, Process::Working { .. }) == works;
                inner.vms.iter().filter(|(_, vm)| is_so(vm)).map(|(name, _)| name.clone()).collect()
            };
            (names(true), names(false))
        })
    }

    /// Whether a user wants something of a runner now; then 0 or 1.
    pub(crate) fn roll_wish(&self) -> Option<usize> {
        self.with(|inner| inner.dice.hits(inner.rates.wishes).then(|| inner.dice.below(2) as usize))
    }

    /// The notes of all VMs.
    pub(crate) fn notes(&self) -> Vec<RunnerNote> {
        self.with(|inner| inner.vms.values().map(|vm| vm.note.clone()).collect())
    }

    pub(crate) fn registered_names(&self) -> Vec<String> {
        self.with(|inner| inner.registrations.values().map(|one| one.name.clone()).collect())
    }

    /// Registers a runner of somebody else's.
    pub(crate) fn add_foreign(&self, name: &str) {
        self.with(|inner| {
            let known = KnownRunner { name: name.into(), online: false, busy: None };
            inner.registrations.insert(format!("foreign-{name}"), known);
        });
    }

    /// Cuts the power of a VM, as its host's would be.
    pub(crate) fn cut_power(&self, nth: usize) {
        self.with(|inner| {
            let Some(name) = inner.vms.keys().nth(nth).cloned() else { return };
            inner.end_guest(&name);
        });
    }

    /// Undefines a VM behind foundry's back.
    pub(crate) fn undefine(&self, nth: usize) {
        self.with(|inner| {
            let Some(name) = inner.vms.keys().nth(nth).cloned() else { return };
            inner.end_guest(&name);
            inner.vms.remove(&name);
        });
    }

    /// Lets a second pass.
    pub(crate) fn pass_second(&self) {
        self.with(Inner::pass_second);
    }
}

impl Inner {
    fn pass_second(&mut self) {
        self.now += 1;
        self.waiting += usize::from(self.dice.hits(self.rates.arrivals));
        let names: Vec<String> = self.vms.keys().cloned().collect();
        for name in names {
            if self.dice.hits(self.rates.crash) {
                self.end_guest(&name);
            }
            self.advance(&name);
        }
    }

    fn advance(&mut self, name: &str) {
        let now = self.now;
        let Some(vm) = self.vms.get_mut(name).filter(|vm| vm.power == Power::Running) else { return };
        let registration = vm.given.as_ref().and_then(|id| self.registrations.get_mut(id));
        match (vm.process, registration) {
            (Process::Connecting { until }, Some(registration)) if now >= until && vm.has_link => {
                registration.online = true;
                vm.process = Process::Waiting;
            }
            (Process::Waiting, Some(registration)) if vm.has_link && self.waiting > 0 => {
                self.waiting -= 1;
                registration.busy = Some(now);
                vm.process = Process::Working { since: now, until: now + 3 + self.dice.below(120) };
            }
            (Process::Working { until, .. }, _) if now >= until && vm.has_link => {
                self.done += 1;
                let given = vm.given.clone();
                vm.process = Process::None;
                vm.power = Power::Off;
                given.map(|id| self.registrations.remove(&id));
            }
            _ => {}
        }
    }

    /// A guest that ends by itself loses its job, which is queued again.
    fn end_guest(&mut self, name: &str) {
        let Some(vm) = self.vms.get_mut(name) else { return };
        if matches!(vm.process, Process::Working { .. }) {
            self.waiting += 1;
        }
        vm.process = Process::None;
        vm.power = if vm.power == Power::HalfMade { Power::HalfMade } else { Power::Off };
        if let Some(registration) = vm.given.as_ref().and_then(|id| self.registrations.get_mut(id)) {
            registration.online = false;
            registration.busy = None;
        }
    }

    /// Whether a call is to fail, and if so, after its effect.
    fn draw_fault(&mut self) -> Option<bool> {
        if self.dice.hits(self.rates.kills) {
            self.is_killed = true;
        }
        if self.is_killed || self.dice.hits(self.rates.before) {
            return Some(false);
        }
        self.dice.hits(self.rates.after).then_some(true)
    }

    fn on_host<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> Result<T, Error> {
        let fault = self.draw_fault();
        if fault == Some(false) {
            return Err(Error::new(Code::Vm, "the host failed"));
        }
        let done = act(self);
        if fault == Some(true) { Err(Error::new(Code::Vm, "the host failed afterwards")) } else { Ok(done) }
    }

    fn on_forge<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, ForgeError>) -> Result<T, ForgeError> {
        self.forge_calls += 1;
        let failed = |what: &str| ForgeError { failure: ForgeFailure::Unreachable, message: what.into() };
        let fault = if self.is_forge_down { Some(false) } else { self.draw_fault() };
        if fault == Some(false) {
            return Err(failed("no answer"));
        }
        let done = act(self)?;
        if fault == Some(true) { Err(failed("half an answer")) } else { Ok(done) }
    }
}

impl RunnerHost for World {
    fn list_runners(&self) -> Result<Vec<HostedRunner>, Error> {
        self.with(|inner| {
            inner.on_host(|inner| {
                let fact = |power| match power {
                    Power::HalfMade => DomainFact::HalfMade,
                    Power::Running => DomainFact::Running,
                    Power::Off => DomainFact::Ended,
                };
                let all = inner.vms.iter();
                all.map(|(name, vm)| HostedRunner {
                    name: name.clone(),
                    note: vm.note.clone(),
                    domain: fact(vm.power),
                })
                .collect()
            })
        })
    }

    fn look_at_guest(&self, name: &str) -> GuestFact {
        self.with(|inner| {
            let silence = inner.rates.silence;
            if inner.dice.hits(silence) || inner.is_killed {
                return GuestFact::Silent;
            }
            let Some(vm) = inner.vms.get(name) else { return GuestFact::Silent };
            if vm.power != Power::Running || vm.awake.is_none_or(|at| inner.now < at) {
                return GuestFact::Silent;
            }
            match vm.process {
                Process::None => GuestFact::WithoutRunner,
                Process::Connecting { .. } | Process::Waiting => GuestFact::Waiting,
                // The process of the job comes a moment after the job.
                Process::Working { since, .. } if inner.now < since + 2 => GuestFact::Waiting,
                Process::Working { .. } => GuestFact::Working,
            }
        })
    }

    fn create_runner(&self, name: &str, note: &RunnerNote) -> Result<(), Error> {
        self.with(|inner| {
            let fault = inner.draw_fault();
            if fault == Some(false) && inner.dice.below(2) == 0 {
                return Err(Error::new(Code::Vm, "not created"));
            }
            inner.created += 1;
            let boot = inner.now + 5 + inner.dice.below(40);
            let broken = inner.rates.broken;
            let awake = (!inner.dice.hits(broken)).then_some(boot);
            let power = if fault == Some(false) { Power::HalfMade } else { Power::Running };
            let vm =
                Vm { note: note.clone(), power, awake, has_link: true, process: Process::None, given: None };
            assert!(inner.vms.insert(name.to_owned(), vm).is_none(), "{name} twice");
            if fault.is_some() { Err(Error::new(Code::Vm, "interrupted")) } else { Ok(()) }
        })
    }

    fn write_note(&self, name: &str, note: &RunnerNote) -> Result<(), Error> {
        self.with(|inner| {
            inner.on_host(|inner| {
                if let Some(vm) = inner.vms.get_mut(name) {
                    vm.note = note.clone();
                }
            })
        })
    }

    fn hand_over(&self, name: &str, configuration: &str) -> Result<(), Error> {
        self.with(|inner| {
            inner.on_host(|inner| {
                let until = inner.now + 2 + inner.dice.below(10);
                if let Some(vm) = inner.vms.get_mut(name).filter(|vm| vm.power == Power::Running) {
                    vm.given = configuration.strip_prefix("SECRET-").map(str::to_owned);
                    vm.process = Process::Connecting { until };
                }
            })
        })
    }

    fn set_link(&self, name: &str, is_up: bool) -> Result<(), Error> {
        self.with(|inner| {
            inner.on_host(|inner| {
                if let Some(vm) = inner.vms.get_mut(name) {
                    vm.has_link = is_up;
                }
            })
        })
    }

    fn destroy_runner(&self, name: &str) -> Result<(), Error> {
        self.with(|inner| {
            inner.on_host(|inner| {
                let Some(vm) = inner.vms.remove(name) else { return };
                let is_late = vm.note.reason == Some(RetireReason::JobTimeout);
                if matches!(vm.process, Process::Working { .. }) {
                    if is_late {
                        inner.done += 1;
                    } else {
                        inner.killed.push(format!("{name}: {:?}", vm.note));
                    }
                }
                if let Some(registration) = vm.given.as_ref().and_then(|id| inner.registrations.get_mut(id)) {
                    registration.online = false;
                    registration.busy = None;
                }
                inner.ended.push(vm.note.reason);
            })
        })
    }
}

impl Forge for World {
    fn list_registrations(&self) -> Result<Vec<Registration>, ForgeError> {
        self.with(|inner| {
            inner.on_forge(|inner| {
                let shown = inner.registrations.iter().map(|(id, one)| Registration {
                    id: id.clone(),
                    name: one.name.clone(),
                    online: one.online,
                    busy: one.busy.is_some_and(|since| inner.now >= since + BUSY_LAG),
                    labels: if id.starts_with("foreign") { vec![] } else { vec!["foundry-here".into()] },
                });
                Ok(shown.collect())
            })
        })
    }

    fn register_runner(&self, name: &str) -> Result<RegisteredRunner, ForgeError> {
        self.with(|inner| {
            inner.on_forge(|inner| {
                if inner.registrations.values().any(|one| one.name == name) {
                    let message = "already exists".to_owned();
                    return Err(ForgeError { failure: ForgeFailure::NameTaken, message });
                }
                let id = format!("r{}", inner.next_id);
                inner.next_id += 1;
                let known = KnownRunner { name: name.into(), online: false, busy: None };
                inner.registrations.insert(id.clone(), known);
                Ok(RegisteredRunner { configuration: format!("SECRET-{id}"), id })
            })
        })
    }

    fn remove_registration(&self, id: &str) -> Result<Removal, ForgeError> {
        self.with(|inner| {
            inner.on_forge(|inner| {
                let lies = inner.rates.lies;
                let is_busy = inner.registrations.get(id).is_some_and(|one| one.busy.is_some());
                if is_busy && !inner.dice.hits(lies) {
                    return Ok(Removal::Busy);
                }
                inner.registrations.remove(id);
                Ok(Removal::Removed)
            })
        })
    }
}

/// Whether a note has what only a guest may have.
pub(crate) fn has_secret(note: &RunnerNote) -> bool {
    serde_json::to_string(note).unwrap().contains("SECRET")
}

/// Whether a VM with this note counts against the pool's maximum.
pub(crate) fn is_live(note: &RunnerNote) -> bool {
    note.state <= RunnerState::Busy
}
