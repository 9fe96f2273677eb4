//! `foundry gitlab-executor`: the four stages of a custom executor of GitLab Runner.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::config;
use crate::connect::connect_host;
use crate::job_guest::{JobGuest, create_job_key};
use crate::settings::env_variable;
use crate::ssh_client::forget_known_hosts;
use crate::ui::Ui;
use crate::words::render_error;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error, Kind};
use foundry_core::text::describe_io_error;
use foundry_engine::vm::guest_login::find_guest_login;
use foundry_engine::vm::wait;
use foundry_engine::{Cancel, Context, wait_until};
use foundry_gitlab::driver_answer::DriverAnswer;
use foundry_gitlab::environment::Job;
use foundry_gitlab::executor_config::ExecutorConfig;
use foundry_gitlab::exit_codes::ExitCodes;
use foundry_gitlab::job_vm::JobVm;
use foundry_gitlab::vms::{create_job_vm, destroy_expired_vms, destroy_job_vm, find_job_vm, plan_job_vm};
use foundry_host::Domain;

/// Time between two tries to log in.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// The user that foundry's seed lets in. Scripts may run as another one.
const LOGIN_USER: &str = "root";

/// Run the jobs of a GitLab Runner in VMs, one for each job
///
/// GitLab Runner runs these commands as a custom executor; 'foundry help gitlab-executor' lists them, and the guide has
/// a config.toml for them.
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct GitlabExecutorArgs {
    #[command(subcommand)]
    stage: ExecutorStage,
}

#[derive(Debug, Subcommand)]
enum ExecutorStage {
    /// Print what GitLab Runner needs to know, as JSON
    #[command(after_help = "Examples:
  foundry gitlab-executor config
  foundry gitlab-executor config --executor-config gitlab.yaml")]
    Config(ExecutorArgs),
    /// Create the VM of the job, and destroy those that were left behind
    #[command(after_help = "Examples:\n  foundry gitlab-executor prepare")]
    Prepare(ExecutorArgs),
    /// Run a script in the VM of the job
    #[command(after_help = "Examples:\n  foundry gitlab-executor run script.sh build_script")]
    Run(RunScriptArgs),
    /// Destroy the VM of the job
    #[command(after_help = "Examples:\n  foundry gitlab-executor cleanup")]
    Cleanup(ExecutorArgs),
}

#[derive(Debug, Args)]
struct ExecutorArgs {
    /// The executor's configuration: the VMs that jobs get
    #[arg(long, value_name = "FILE", default_value = "/etc/foundry/gitlab-executor.yaml")]
    executor_config: PathBuf,
}

#[derive(Debug, Args)]
struct RunScriptArgs {
    #[command(flatten)]
    executor: ExecutorArgs,
    /// The script of a stage
    script: PathBuf,
    /// Name of the stage
    stage: String,
}

/// Runs a stage, and returns the exit code that GitLab Runner expects.
pub(super) fn run_gitlab_executor(args: &GitlabExecutorArgs, global: &Global, ui: &Ui) -> u8 {
    let codes = ExitCodes::read(&env_variable);
    let done = match &args.stage {
        ExecutorStage::Config(args) => print_config(args, global, ui).map(|()| 0),
        ExecutorStage::Prepare(args) => prepare_vm(args, global, ui).map(|()| 0),
        ExecutorStage::Run(args) => run_script(args, &codes, global, ui),
        ExecutorStage::Cleanup(args) => destroy_vm(args, global, ui).map(|()| 0),
    };
    done.unwrap_or_else(|error| {
        ui.show_error(&error);
        codes.of_error(&error)
    })
}

/// The executor's configuration, the job, and the job's VM.
struct Stage {
    config: ExecutorConfig,
    job: Job,
    vm: JobVm,
}

impl Stage {
    fn read(args: &ExecutorArgs, global: &Global, ui: &Ui) -> Result<Self, Error> {
        global.resolved().check_errors()?;
        global.resolved().ignored_files().iter().for_each(|why| ui.show_warning(why));
        let file = &args.executor_config;
        // Nobody but root and the caller may decide what jobs can do to this host.
        let shown = file.display().to_string();
        let text = config::read_trusted(file, &shown)?;
        let defaults = global.engine_settings()?.defaults(None);
        let config = ExecutorConfig::parse(&text, &shown, &defaults)?;
        let job = read_job()?;
        let vm = JobVm::of_job(&config, &job);
        Ok(Self { config, job, vm })
    }
}

fn read_job() -> Result<Job, Error> {
    let file = env_variable("JOB_RESPONSE_FILE").filter(|file| !file.is_empty());
    let unreadable = |e: &io::Error| {
        Error::new(Code::JobUnknown, "cannot read the file of JOB_RESPONSE_FILE")
            .because(describe_io_error(e))
    };
    let response = file.map(|file| fs::read_to_string(file).map_err(|e| unreadable(&e))).transpose()?;
    Job::read(&env_variable, response.as_deref())
}

fn print_config(args: &ExecutorArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let stage = Stage::read(args, global, ui)?;
    let answer = serde_json::to_string(&DriverAnswer::new(&stage.config, &stage.vm));
    let answer = answer.map_err(|e| Error::new(Kind::Configuration, e.to_string()))?;
    ui.write_result(&format!("{answer}\n"))
}

fn prepare_vm(args: &ExecutorArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let Stage { config, job, vm } = Stage::read(args, global, ui)?;
    if job.has_services {
        ui.show_warning(
            "the job's services are not started: they are containers, and this executor has none",
        );
    }
    let context = connect_host(global, ui)?;
    interrupt::install_handler(&context.cancel)?;
    let plan = plan_job_vm(&context, &config, (&job, &vm), &create_job_key(&job)?)?;
    reap_expired(&context, &config, ui)?;
    // An earlier try of this job may have left its VM.
    destroy_job_vm(&context, &vm)?.iter().for_each(forget_vm);
    let created = create_job_vm(&context, &job, &plan)?;
    let begun = context.clock.elapsed();
    wait::wait_for_vm(&context, &created, config.wait_for, config.start_timeout)?;
    let login = find_guest_login(&context, &created.uuid.to_string(), Some(LOGIN_USER))?;
    let guest = JobGuest::new(&job, &login)?;
    let rest = config.start_timeout.saturating_sub(context.clock.elapsed().saturating_sub(begun));
    set_up_guest(&context, &config, &guest, rest)?;
    ui.show_note(&format!("VM '{}' is ready for job {}", vm.name, job.id));
    Ok(())
}

/// An SSH server may answer before cloud-init has given it the key.
fn set_up_guest(
    context: &Context,
    config: &ExecutorConfig,
    guest: &JobGuest,
    within: Duration,
) -> Result<(), Error> {
    let mut refusal = String::new();
    let ready = wait_until(context, TRY_EVERY, within, || match guest.set_up(config)? {
        Ok(()) => Ok(Some(())),
        Err(said) => {
            refusal = said;
            Ok(None)
        }
    })?;
    ready.ok_or_else(|| guest.not_let_in(&refusal))
}

/// A VM that cannot be destroyed now is left to the next job: this one does not need it.
fn reap_expired(context: &Context, config: &ExecutorConfig, ui: &Ui) -> Result<(), Error> {
    let (destroyed, failures) = destroy_expired_vms(context, config)?;
    for domain in &destroyed {
        forget_vm(domain);
        ui.show_note(&format!("Destroyed VM '{}', whose job was never cleaned up", domain.name));
    }
    let shown = failures.iter().map(|error| format!("an expired VM is left: {}", render_error(error)));
    shown.for_each(|warning| ui.show_warning(&warning));
    Ok(())
}

fn run_script(args: &RunScriptArgs, codes: &ExitCodes, global: &Global, ui: &Ui) -> Result<u8, Error> {
    let Stage { config, job, vm } = Stage::read(&args.executor, global, ui)?;
    let cancel = Cancel::default();
    interrupt::install_handler(&cancel)?;
    let guest = {
        // The connection is closed while the script runs.
        let context = connect_host(global, ui)?;
        let found = find_job_vm(&context, &vm)?.ok_or_else(|| {
            let message = format!("job {} has no VM '{}' for its stage '{}'", job.id, vm.name, args.stage);
            Error::new(Code::VmMissing, message).because("it was not prepared, or was destroyed")
        })?;
        let login = find_guest_login(&context, &found.uuid.to_string(), Some(LOGIN_USER))?;
        JobGuest::new(&job, &login)?
    };
    let code = guest.run_script(&config, &args.script, &cancel)?;
    if let Some(file) = codes.script_code_file.as_ref().filter(|_| code != 0)
        && let Err(e) = fs::write(file, format!("{code}\n"))
    {
        let why = describe_io_error(&e);
        ui.show_warning(&format!("the exit code {code} of the script is not noted: {why}"));
    }
    Ok(codes.of_script(code))
}

fn destroy_vm(args: &ExecutorArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let stage = Stage::read(args, global, ui)?;
    let context = connect_host(global, ui)?;
    interrupt::install_handler(&context.cancel)?;
    destroy_job_vm(&context, &stage.vm)?.iter().for_each(forget_vm);
    Ok(())
}

/// An administrator may have logged in with `foundry ssh`.
fn forget_vm(domain: &Domain) {
    forget_known_hosts(domain.uuid);
}
