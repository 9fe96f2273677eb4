//! Holds starts back after failures in a row, so that a broken image does not keep the host busy.

use crate::EpochSeconds;
use crate::rules::RetryRules;
use crate::view::StartGate;

/// The failures of a pool since the last success. A restart forgets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Breaker {
    failures: u32,
    last: EpochSeconds,
}

impl Breaker {
    /// Notes a VM that did not come up.
    pub fn note_failure(&mut self, now: EpochSeconds) {
        self.failures = self.failures.saturating_add(1);
        self.last = now;
    }

    /// Notes a runner that came up.
    pub fn note_success(&mut self) {
        *self = Self::default();
    }

    /// Until when no VM is to be made; `None` if one may be made now.
    pub fn held_until(&self, rules: &RetryRules, now: EpochSeconds) -> Option<EpochSeconds> {
        let beyond = self.failures.checked_sub(rules.break_after)?;
        let wait =
            u64::from(rules.factor).saturating_pow(beyond).saturating_mul(rules.initial).min(rules.longest);
        let until = self.last.saturating_add(wait);
        (now < until).then_some(until)
    }

    /// Whether VMs may be made now.
    pub fn gate(&self, rules: &RetryRules, now: EpochSeconds) -> StartGate {
        match self.held_until(rules, now) {
            Some(_) => StartGate::Held,
            None if self.failures >= rules.break_after => StartGate::Trial,
            None => StartGate::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_held_back_longer_and_longer() {
        let rules = RetryRules { break_after: 2, initial: 10, factor: 3, longest: 60 };
        let mut breaker = Breaker::default();
        let mut held = Vec::new();
        for _ in 0..5 {
            breaker.note_failure(100);
            held.push(breaker.held_until(&rules, 100));
        }
        assert_eq!(held, [None, Some(110), Some(130), Some(160), Some(160)]);
        assert_eq!(breaker.held_until(&rules, 160), None);
        assert_eq!(
            [breaker.gate(&rules, 159), breaker.gate(&rules, 160)],
            [StartGate::Held, StartGate::Trial]
        );
        breaker.note_success();
        assert_eq!(breaker.gate(&rules, 100), StartGate::Open);
    }

    #[test]
    fn extreme_rules_do_not_overflow() {
        let rules = RetryRules { break_after: 1, initial: u64::MAX, factor: u32::MAX, longest: u64::MAX };
        let mut breaker = Breaker::default();
        (0..100).for_each(|_| breaker.note_failure(u64::MAX - 1));
        assert_eq!(breaker.held_until(&rules, 5), Some(u64::MAX));
    }
}
