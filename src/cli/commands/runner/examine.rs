//! `foundry doctor` with manifests of pools.

use std::borrow::Cow;
use std::path::Path;

use super::controller::listened_pool;
use super::pool_files::read_pools;
use super::served_pool::make_forge;
use foundry_core::error::{Code, Error};
use foundry_core::plan::Defaults;
use foundry_engine::Context;
use foundry_engine::doctor::{CheckState, HostCheck, examine_vm};
use foundry_engine::runner::plan_runner;
use foundry_runner::{DemandPlan, ForgeFailure, RunnerPoolPlan};

/// How a pool fares here.
pub(crate) struct PoolExam {
    /// Its name.
    pub(crate) name: String,
    /// What was looked at.
    pub(crate) checks: Vec<HostCheck>,
    /// The worst that was found.
    pub(crate) worst: Option<Error>,
}

/// Looks whether pools can work: their VMs here, their forge from here, and the secrets of their webhooks. The forge is only
/// asked for its list.
///
/// # Errors
/// What is wrong in the manifests; a lost connection.
pub(crate) fn examine_pools(
    files: &[String],
    context: &Context,
    defaults: &Defaults,
) -> Result<Vec<PoolExam>, Error> {
    let paths: Vec<&Path> = files.iter().map(Path::new).collect();
    read_pools(&paths, defaults)?.iter().map(|plan| examine_pool(plan, context, defaults)).collect()
}

fn examine_pool(plan: &RunnerPoolPlan, context: &Context, defaults: &Defaults) -> Result<PoolExam, Error> {
    let name = plan.rules.name.clone();
    // Any of its VMs, which are alike.
    let vm = plan_runner(&plan.template, defaults, &format!("{name}-00000000"))?;
    let found = examine_vm(context, &vm)?;
    let mut checks = found.checks;
    let mut errors: Vec<Error> = found.outcome.err().into_iter().collect();
    let mut add = |what: &'static str, result: Result<String, Error>| {
        let (state, found, code) = match &result {
            Ok(found) => (CheckState::Ok, found.clone(), None),
            Err(error) => (CheckState::Problem, error.to_string(), Some(error.code())),
        };
        let advice = result.as_ref().err().and_then(Error::advice).cloned();
        checks.push(HostCheck {
            name: Cow::Borrowed(what),
            object: Some(name.clone()),
            state,
            found,
            code,
            advice: advice.into_iter().collect(),
        });
        errors.extend(result.err());
    };
    add("forge", ask_forge(plan));
    if plan.demand != DemandPlan::Static {
        add("webhook", listened_pool(plan).map(|_| "its secret can be used".to_owned()));
    }
    Ok(PoolExam { name, checks, worst: errors.into_iter().max_by_key(Error::kind) })
}

/// Asks the forge for its list: that needs the login, the right to manage runners, and a way there.
fn ask_forge(plan: &RunnerPoolPlan) -> Result<String, Error> {
    match make_forge(plan).list_registrations() {
        Ok(list) => Ok(format!("it answers, and has {} runners there", list.len())),
        Err(failure) => {
            let what = match failure.failure {
                ForgeFailure::Refused => "the forge refuses",
                ForgeFailure::Unreachable | ForgeFailure::NameTaken => "the forge cannot be asked",
            };
            Err(Error::new(Code::ForgeUnusable, what).because(failure.message))
        }
    }
}
