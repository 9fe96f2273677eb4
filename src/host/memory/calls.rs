//! The calls made so far, and the faults to inject into later ones.

use super::{Failure, MemoryHost, URI};
use crate::HostError;
use foundry_core::error::Kind;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Refused, and nothing happened.
    RefuseBefore,
    /// Reported as refused although it took effect.
    RefuseAfterEffect,
    /// The connection broke before it took effect; the next call has a new one.
    LostBefore,
    /// The connection broke after it took effect; the next call has a new one.
    LostAfterEffect,
    /// As [`Self::LostBefore`], and every later call fails, too: to the host it looks as if foundry was killed before
    /// the call.
    BrokenBefore,
    /// As [`Self::LostAfterEffect`], and every later call fails, too: to the host it looks as if foundry was killed
    /// after the call.
    BrokenAfterEffect,
}

impl Effect {
    /// All effects.
    pub const ALL: [Self; 6] = [
        Self::RefuseBefore,
        Self::RefuseAfterEffect,
        Self::LostBefore,
        Self::LostAfterEffect,
        Self::BrokenBefore,
        Self::BrokenAfterEffect,
    ];

    /// Whether the call fails before it takes effect.
    pub fn comes_before(self) -> bool {
        matches!(self, Self::RefuseBefore | Self::LostBefore | Self::BrokenBefore)
    }

    /// Whether all later calls fail, too.
    pub fn breaks_connection(self) -> bool {
        matches!(self, Self::BrokenBefore | Self::BrokenAfterEffect)
    }

    fn reports_refusal(self) -> bool {
        matches!(self, Self::RefuseBefore | Self::RefuseAfterEffect)
    }
}

/// A call, as it is logged and as it reads after "cannot".
pub(super) struct Call {
    entry: String,
    operation: String,
    kind: Kind,
}

impl Call {
    /// A call about the host as a whole.
    pub(super) fn about_host(method: &str, operation: &str) -> Self {
        Self { entry: method.into(), operation: operation.into(), kind: Kind::Vm }
    }

    pub(super) fn about_domain(method: &str, verb: &str, name: &str) -> Self {
        Self {
            entry: format!("{method} {name}"),
            operation: format!("{verb} domain '{name}'"),
            kind: Kind::Vm,
        }
    }

    /// The same call with another exit code.
    pub(super) fn of_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    pub(super) fn about_network(name: &str) -> Self {
        Self {
            entry: format!("network {name}"),
            operation: format!("look up network '{name}'"),
            kind: Kind::Vm,
        }
    }

    pub(super) fn about_pools(method: &str, operation: &str) -> Self {
        Self { entry: method.into(), operation: operation.into(), kind: Kind::Storage }
    }

    pub(super) fn about_pool(method: &str, verb: &str, name: &str) -> Self {
        Self {
            entry: format!("{method} {name}"),
            operation: format!("{verb} pool '{name}'"),
            kind: Kind::Storage,
        }
    }

    pub(super) fn about_volume(method: &str, verb: &str, pool: &str, name: &str) -> Self {
        Self {
            entry: format!("{method} {pool}/{name}"),
            operation: format!("{verb} volume '{name}' in pool '{pool}'"),
            kind: Kind::Storage,
        }
    }

    pub(super) fn about_volume_at(path: &str) -> Self {
        Self {
            entry: format!("volume_at {path}"),
            operation: format!("look up the volume at {path}"),
            kind: Kind::Storage,
        }
    }

    pub(super) fn to_error(&self, failure: Failure) -> HostError {
        let operation = self.operation.clone();
        match failure {
            Failure::Refused(libvirt) => HostError::Refused { operation, kind: self.kind, libvirt },
            Failure::Busy(libvirt) => HostError::Busy { operation, libvirt },
            Failure::Lost(libvirt) => HostError::Lost { uri: URI.into(), operation, libvirt },
            Failure::Transfer { cause, interrupted } => HostError::Transfer { operation, cause, interrupted },
        }
    }

    pub(super) fn injected_error(&self, effect: Effect) -> HostError {
        let operation = self.operation.clone();
        if effect.reports_refusal() {
            let libvirt = format!("a fault that the test asked for: {effect:?}");
            return HostError::Refused { operation, kind: self.kind, libvirt };
        }
        HostError::Lost { uri: URI.into(), operation, libvirt: "Connection reset by peer".into() }
    }

    /// `start` means all calls of that name, `start web` only those on that object.
    fn is_named(&self, name: &str) -> bool {
        self.entry.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    }
}

type Hook = Box<dyn FnOnce(&MemoryHost) + Send>;

/// The calls so far, and the faults and hooks to come.
#[derive(Default)]
pub(super) struct Calls {
    log: Vec<String>,
    at: Vec<(usize, Effect)>,
    named: Vec<(String, Effect)>,
    hooks: Vec<(usize, Hook)>,
    in_hook: bool,
    broken: bool,
    hit: bool,
}

impl Calls {
    /// Logs a call and returns the fault that is due. Calls of a hook stand for somebody else: they are neither counted
    /// nor made to fail.
    pub(super) fn record_call(&mut self, call: &Call) -> Option<Effect> {
        if self.in_hook {
            return None;
        }
        let number = self.log.len();
        self.log.push(call.entry.clone());
        if self.broken {
            return Some(Effect::BrokenBefore);
        }
        let numbered = self.at.iter().find(|(n, _)| *n == number).map(|(_, effect)| *effect);
        let named = || self.named.iter().find(|(name, _)| call.is_named(name)).map(|(_, effect)| *effect);
        let effect = numbered.or_else(named)?;
        self.hit = true;
        self.broken = effect.breaks_connection();
        Some(effect)
    }

    pub(super) fn take_hook(&mut self) -> Option<Hook> {
        if self.in_hook {
            return None;
        }
        let due = self.hooks.iter().position(|(n, _)| *n == self.log.len())?;
        self.in_hook = true;
        Some(self.hooks.remove(due).1)
    }

    pub(super) fn hook_ended(&mut self) {
        self.in_hook = false;
    }
}

/// Faults and counts. Calls are numbered from the next one on, which is 0.
impl MemoryHost {
    /// Makes the n-th call from now fail.
    pub fn fail_at(&self, n: usize, effect: Effect) {
        let calls = &mut self.lock_inside().calls;
        let at = calls.log.len() + n;
        calls.at.push((at, effect));
    }

    /// Refuses every call of that name: `delete_volume` for all, `delete_volume vms/web_boot` for one object.
    pub fn fail_calls_named(&self, name: &str) {
        self.fail_calls_named_with(name, Effect::RefuseBefore);
    }

    /// Makes every call of that name fail.
    pub fn fail_calls_named_with(&self, name: &str, effect: Effect) {
        self.lock_inside().calls.named.push((name.to_owned(), effect));
    }

    /// Runs a hook right before the n-th call from now, as another user or process might act then. Its own calls are
    /// not counted.
    pub fn on_call(&self, n: usize, act: impl FnOnce(&MemoryHost) + Send + 'static) {
        let calls = &mut self.lock_inside().calls;
        let at = calls.log.len() + n;
        calls.hooks.push((at, Box::new(act)));
    }

    /// Whether a fault was injected; a loop over n ends when none was.
    pub fn fault_hit(&self) -> bool {
        self.lock_inside().calls.hit
    }

    /// Removes all faults and hooks and restores the connection, for the next run of foundry.
    pub fn heal(&self) {
        let calls = &mut self.lock_inside().calls;
        let log = std::mem::take(&mut calls.log);
        *calls = Calls { log, ..Calls::default() };
    }

    /// All calls, each its name and its object (`create_volume vms/web_boot`), failed ones too.
    pub fn calls(&self) -> Vec<String> {
        self.lock_inside().calls.log.clone()
    }

    /// The number of calls.
    pub fn call_count(&self) -> usize {
        self.lock_inside().calls.log.len()
    }

    /// Clears the log, and all pending faults, whose numbers would be wrong.
    pub fn forget_calls(&self) {
        self.heal();
        self.lock_inside().calls.log.clear();
    }
}
