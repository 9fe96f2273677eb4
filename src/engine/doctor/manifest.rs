//! The preflight of a VM as a list: every check of `create`, passed or not.

use std::sync::{Arc, Mutex};

use super::{Check, State};
use crate::preflight::issues::PreflightCheck;
use crate::preflight::look;
use crate::{Context, Event, Progress};
use foundry_core::error::{Error, Issue};
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
        looked.report.checks().iter().flat_map(judge).chain(warnings.checks()).map(|check| check.of(name));
    let outcome = if looked.ready.is_some() { Ok(()) } else { Err(looked.report.to_error(name)) };
    Ok(Preflight { checks: checks.collect(), outcome })
}

fn judge(look: &PreflightCheck) -> Vec<Check> {
    if look.issues.is_empty() {
        return vec![Check::new(look.what.clone(), State::Ok, look.ok_text.clone())];
    }
    let check = |issue: &Issue| Check {
        code: Some(issue.code),
        advice: issue.advice.clone(),
        ..Check::new(look.what.clone(), State::Problem, issue.message.clone())
    };
    look.issues.iter().map(check).collect()
}

/// Keeps the messages that would be shown.
#[derive(Default)]
struct Warnings(Mutex<Vec<Check>>);

impl Progress for Warnings {
    fn tell(&self, event: Event) {
        if let (Event::Warning { message, advice }, Ok(mut kept)) = (event, self.0.lock()) {
            let check = Check::new("warning", State::Warning, message);
            kept.push(advice.into_iter().fold(check, Check::todo));
        }
    }
}

impl Warnings {
    fn checks(&self) -> Vec<Check> {
        self.0.lock().map(|checks| checks.clone()).unwrap_or_default()
    }
}
