//! Creates, finds and destroys the VMs of jobs.

use std::time::Duration;

use jiff::Timestamp;

use crate::environment::Job;
use crate::executor_config::ExecutorConfig;
use crate::job_vm::{JobVm, is_expired};
use foundry_core::domain_xml::check_patch;
use foundry_core::error::{Code, Error};
use foundry_core::plan::VmPlan;
use foundry_engine::Context;
use foundry_engine::vm::create::{CreatedVm, create_vm};
use foundry_engine::vm::destroy::{DestroyOptions, execute_destroy, plan_destroy};
use foundry_host::Domain;

/// No guest of a job is asked to shut down: nobody needs its disks.
const AT_ONCE: DestroyOptions = DestroyOptions { force: true, keep_disks: false, timeout: Duration::ZERO };

/// Plans the VM of a job, before anything is changed on the host.
///
/// # Errors
/// [`Code::JobImageRefused`], and those of [`VmPlan::from_manifest`].
pub fn plan_job_vm(
    context: &Context,
    config: &ExecutorConfig,
    (job, vm): (&Job, &JobVm),
    public_key: &str,
) -> Result<VmPlan, Error> {
    let manifest = vm.manifest(config, job, public_key, read_clock(context))?;
    let plan = VmPlan::from_manifest(&manifest, &context.settings.defaults(None))?;
    check_patch(&plan)?;
    Ok(plan)
}

/// Creates the VM of a job.
///
/// # Errors
/// Those of [`create_vm`]. An image that the job names and that does not exist is the job's
/// fault: [`Code::JobImageRefused`].
pub fn create_job_vm(context: &Context, job: &Job, plan: &VmPlan) -> Result<CreatedVm, Error> {
    create_vm(context, plan).map_err(|error| match &job.image {
        Some(image) if error.code() == Code::ImageMissing => {
            let message = format!("there is no image '{image}', which the job names");
            Error::new(Code::JobImageRefused, message).unchanged()
        }
        _ => error,
    })
}

/// Finds the VM of a job, in whatever state it is. A VM of that name without the job's labels is another's.
///
/// # Errors
/// A failed call to the host.
pub fn find_job_vm(context: &Context, vm: &JobVm) -> Result<Option<Domain>, Error> {
    let found = context.host.domain(&vm.name)?;
    let is_own = |domain: &Domain| {
        domain.own_record().is_some_and(|record| vm.is_described_by(&record.manifest.metadata))
    };
    Ok(found.filter(is_own))
}

/// Destroys the VM of a job and returns it; `None` if the job has none.
///
/// # Errors
/// Those of [`execute_destroy`].
pub fn destroy_job_vm(context: &Context, vm: &JobVm) -> Result<Option<Domain>, Error> {
    let Some(domain) = find_job_vm(context, vm)? else { return Ok(None) };
    destroy_at_once(context, &domain).map(|()| Some(domain))
}

/// Destroys the VMs of this executor whose deadline has passed: their runner ended without a cleanup. Returns them, and
/// what failed.
///
/// # Errors
/// If the VMs cannot be listed.
pub fn destroy_expired_vms(
    context: &Context,
    config: &ExecutorConfig,
) -> Result<(Vec<Domain>, Vec<Error>), Error> {
    let now = read_clock(context);
    let is_expired = |domain: &Domain| {
        domain.own_record().is_some_and(|record| is_expired(config, &record.manifest.metadata, now))
    };
    let (mut destroyed, mut failures) = (Vec::new(), Vec::new());
    for domain in context.host.domains(false)?.into_iter().filter(is_expired) {
        match destroy_at_once(context, &domain) {
            Ok(()) => destroyed.push(domain),
            // The preparation of another job was faster.
            Err(error) if error.code() == Code::ChangedMeanwhile => {}
            Err(error) => failures.push(error),
        }
    }
    Ok((destroyed, failures))
}

/// By its UUID: by now its name may be another VM's. A VM that is gone is destroyed.
fn destroy_at_once(context: &Context, domain: &Domain) -> Result<(), Error> {
    match plan_destroy(context, &domain.uuid.to_string(), AT_ONCE) {
        Err(gone) if gone.code() == Code::VmMissing => Ok(()),
        planned => execute_destroy(context, &planned?),
    }
}

/// The present time by the context's clock. If it shows none, no VM has expired.
fn read_clock(context: &Context) -> Timestamp {
    context.clock.timestamp().parse().unwrap_or(Timestamp::MIN)
}
