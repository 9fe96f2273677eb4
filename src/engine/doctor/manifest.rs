//! The preflight of a VM as a list: every check of `create`, passed or not.

use std::sync::{Arc, Mutex};

use super::{Check, State};
use crate::preflight::issues::{Finding, Look, report};
use crate::preflight::look;
use crate::{Context, Event, Progress};
use foundry_core::error::Error;
use foundry_core::plan::VmPlan;

/// What `create` would find.
#[derive(Debug, Clone)]
pub struct Preflight {
    /// What was looked at, each with the VM as its object.
    pub checks: Vec<Check>,
    /// How `create` would end before it makes anything.
    pub outcome: Result<(), Error>,
}

/// Looks at everything that `create` looks at; changes nothing.
///
/// # Errors
/// Where the host refuses to say what there is.
pub fn examine_vm(context: &Context, plan: &VmPlan) -> Result<Preflight, Error> {
    let warnings = Arc::new(Warnings::default());
    let looked = look(&context.with_progress(warnings.clone()), plan)?;
    let name = plan.name.as_str();
    let checks =
        looked.findings.looks().iter().flat_map(judge).chain(warnings.checks()).map(|check| check.of(name));
    let outcome = if looked.ready.is_some() { Ok(()) } else { Err(report(name, &looked.findings)) };
    Ok(Preflight { checks: checks.collect(), outcome })
}

fn judge(look: &Look) -> Vec<Check> {
    if look.findings.is_empty() {
        return vec![Check::new(look.what.clone(), State::Ok, look.well.clone())];
    }
    let check = |finding: &Finding| Check {
        code: Some(finding.code),
        todo: finding.hints.clone(),
        ..Check::new(look.what.clone(), State::Problem, finding.message.clone())
    };
    look.findings.iter().map(check).collect()
}

/// Keeps the messages that would be shown.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Progress for Warnings {
    fn tell(&self, event: Event) {
        if let (Event::Warning(text), Ok(mut kept)) = (event, self.0.lock()) {
            kept.push(text);
        }
    }
}

impl Warnings {
    fn checks(&self) -> Vec<Check> {
        let texts = self.0.lock().map(|texts| texts.clone()).unwrap_or_default();
        texts.into_iter().map(|text| Check::new("warning", State::Warning, text)).collect()
    }
}
