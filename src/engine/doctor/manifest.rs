//! Lists every check that `create` makes for a VM, passed or not.

use std::sync::{Arc, Mutex};

use super::{CheckState, HostCheck};
use crate::preflight::issues::PreflightCheck;
use crate::preflight::run_preflight;
use crate::{Context, Event, Progress};
use foundry_core::error::{Error, Issue};
use foundry_core::plan::VmPlan;

/// The checks that `create` would make for one VM.
#[derive(Debug, Clone)]
pub struct Preflight {
    /// All checks, each with the VM as its object.
    pub checks: Vec<HostCheck>,
    /// The result of the checks: an error if `create` would refuse.
    pub outcome: Result<(), Error>,
}

/// Runs all checks of `create`; changes nothing.
///
/// # Errors
/// If the host refuses a query.
pub fn examine_vm(context: &Context, plan: &VmPlan) -> Result<Preflight, Error> {
    let warnings = Arc::new(WarningRecorder::default());
    let looked = run_preflight(&context.with_progress(warnings.clone()), plan)?;
    let name = plan.name.as_str();
    let checks = looked
        .report
        .checks()
        .iter()
        .flat_map(host_checks)
        .chain(warnings.recorded_checks())
        .map(|check| check.about(name));
    let outcome = if looked.ready.is_some() { Ok(()) } else { Err(looked.report.to_error(name)) };
    Ok(Preflight { checks: checks.collect(), outcome })
}

fn host_checks(look: &PreflightCheck) -> Vec<HostCheck> {
    if look.issues.is_empty() {
        return vec![HostCheck::new(look.what.clone(), CheckState::Ok, look.ok_text.clone())];
    }
    let check = |issue: &Issue| HostCheck {
        code: Some(issue.code),
        advice: issue.advice.clone(),
        ..HostCheck::new(look.what.clone(), CheckState::Problem, issue.message.clone())
    };
    look.issues.iter().map(check).collect()
}

/// Records the warnings that `create` would show, as checks.
#[derive(Default)]
struct WarningRecorder(Mutex<Vec<HostCheck>>);

impl Progress for WarningRecorder {
    fn on_event(&self, event: Event) {
        if let (Event::Warning { message, advice }, Ok(mut kept)) = (event, self.0.lock()) {
            let check = HostCheck::new("warning", CheckState::Warning, message);
            kept.push(advice.into_iter().fold(check, HostCheck::add_advice));
        }
    }
}

impl WarningRecorder {
    fn recorded_checks(&self) -> Vec<HostCheck> {
        self.0.lock().map(|checks| checks.clone()).unwrap_or_default()
    }
}
