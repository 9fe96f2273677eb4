//! `foundry garm-provider`

use std::env;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;

use clap::Args;
use serde::Serialize;

use crate::config::{self, SettingKey, SettingOrigin};
use crate::connect::connect_as;
use crate::ssh_client::forget_known_hosts;
use crate::ui::Ui;
use crate::{Global, interrupt, settings};
use foundry_core::domain_xml::check_patch;
use foundry_core::error::{Code, Error};
use foundry_core::names::PoolName;
use foundry_core::plan::VmPlan;
use foundry_core::schema::input_schema;
use foundry_core::text::{describe_io_error, escape_unseen};
use foundry_engine::Context;
use foundry_engine::vm::create::create_vm;
use foundry_engine::vm::labelled::{LabelledVm, find_labelled};
use foundry_engine::vm::power::{self, StopOptions};
use foundry_garm::{
    BootstrapInstance, ExtraSpecs, GarmCommand, INTERFACE_VERSIONS, InstanceOwner, ProviderCall,
    ProviderConfig, ProviderInstance, check_pool, decode_extra_specs, is_instance, runner_manifest,
};

/// The name of the program that GARM starts without arguments.
const PROVIDER_PROGRAM: &str = "garm-provider-foundry";

/// The largest instance that GARM may describe, in bytes; its scripts must fit into a seed.
const MAX_INSTANCE: u64 = 4 << 20;

/// The libvirt of a service, which has no session of its own.
const SYSTEM_LIBVIRT: &str = "qemu:///system";

/// GARM's exit code for an instance that does not exist (garm-provider-common, package `execution`).
const EXIT_NOT_FOUND: u8 = 30;
/// GARM's exit code for an instance that exists already.
const EXIT_DUPLICATE: u8 = 31;
/// GARM's exit code for any other failure.
const EXIT_FAILED: u8 = 1;

/// Make the VMs of GARM's runners: the program that GARM calls
///
/// GARM sets the variables GARM_COMMAND and so on and calls foundry without arguments, or a link to it named
/// garm-provider-foundry. Results are JSON on stdout. foundry-guide(7) shows GARM's configuration.
#[derive(Debug, Args)]
#[command(
    hide = true,
    after_help = "Examples:
  GARM_COMMAND=GetVersion foundry garm-provider
  GARM_COMMAND=GetConfigJSONSchema foundry garm-provider
  GARM_COMMAND=GetExtraSpecsJSONSchema foundry garm-provider"
)]
pub(crate) struct GarmProviderArgs {}

/// Completes the arguments of a call by GARM, which gives none.
pub(crate) fn complete_arguments(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let is_alone = arguments.len() == 1;
    let name = arguments.first().and_then(|program| Path::new(program).file_name());
    let is_call = || env::var_os("GARM_COMMAND").is_some_and(|command| !command.is_empty());
    if is_alone && (name.is_some_and(|name| name == PROVIDER_PROGRAM) || is_call()) {
        arguments.push("garm-provider".into());
    }
    arguments
}

/// Answers one call. GARM shows both streams of a failed one, so only the error is written.
pub(super) fn run_garm_provider(_: &GarmProviderArgs, global: &Global) -> Result<u8, Error> {
    let ui = Ui::new(true, global.verbose, "never", "none");
    match answer_call(global, &ui) {
        Ok(()) => Ok(0),
        Err(error) => {
            ui.show_error(&error);
            Ok(exit_code(&error))
        }
    }
}

fn exit_code(error: &Error) -> u8 {
    match error.code() {
        Code::VmMissing => EXIT_NOT_FOUND,
        Code::NameTaken | Code::BeingCreated => EXIT_DUPLICATE,
        _ => EXIT_FAILED,
    }
}

fn answer_call(global: &Global, ui: &Ui) -> Result<(), Error> {
    let call = ProviderCall::from_environment(settings::env_variable)?;
    match call.command {
        GarmCommand::GetVersion => ui.write_line(&format!("v{}", env!("CARGO_PKG_VERSION"))),
        GarmCommand::GetSupportedInterfaceVersions => print_json(&INTERFACE_VERSIONS, ui),
        GarmCommand::GetConfigJSONSchema => print_json(&input_schema::<ProviderConfig>(), ui),
        GarmCommand::GetExtraSpecsJSONSchema => print_json(&input_schema::<ExtraSpecs>(), ui),
        GarmCommand::ValidatePoolInfo => {
            check_pool(decode_extra_specs(&call.extra_specs)?, &read_config(&call)?)
        }
        GarmCommand::CreateInstance => Provider::new(&call, global, ui)?.create_instance(),
        GarmCommand::DeleteInstance => Provider::new(&call, global, ui)?.delete_instance(),
        GarmCommand::GetInstance => Provider::new(&call, global, ui)?.show_instance(),
        GarmCommand::ListInstances => Provider::new(&call, global, ui)?.list_instances(),
        GarmCommand::RemoveAllInstances => Provider::new(&call, global, ui)?.remove_all(),
        GarmCommand::StartInstance => Provider::new(&call, global, ui)?.start_instance(),
        GarmCommand::StopInstance => Provider::new(&call, global, ui)?.stop_instance(),
    }
}

fn print_json(value: &impl Serialize, ui: &Ui) -> Result<(), Error> {
    let text = serde_json::to_string(value).map_err(|e| {
        Error::new(Code::OutputUnwritable, "the answer cannot be written as JSON").because(e.to_string())
    })?;
    ui.write_line(&text)
}

fn read_config(call: &ProviderCall) -> Result<ProviderConfig, Error> {
    let file = call.config_file()?;
    let text = config::read_trusted(file, &format!("the provider's configuration {}", file.display()))
        .map_err(Error::unchanged)?;
    ProviderConfig::parse(&text, &file.display().to_string())
}

/// A call that shows or changes VMs, with what it needs.
struct Provider<'a> {
    call: &'a ProviderCall,
    config: ProviderConfig,
    context: Context,
    ui: &'a Ui,
}

impl<'a> Provider<'a> {
    fn new(call: &'a ProviderCall, global: &Global, ui: &'a Ui) -> Result<Self, Error> {
        let config = read_config(call)?;
        let mut settings = global.engine_settings()?;
        if let Some(pool) = &config.image_pool {
            settings.image_pool = parse_pool(pool)?;
        }
        let uri = config.connect.clone().unwrap_or_else(|| configured_uri(global));
        let context = connect_as(&uri, settings, global, ui)?;
        // The VMs change under the reader's hands: spent ones are deleted by a listing, too.
        interrupt::install_handler(&context.cancel)?;
        Ok(Self { call, config, context, ui })
    }

    /// The controller's VMs; with the pool, if GARM names one.
    fn find_own(&self) -> Result<Vec<LabelledVm>, Error> {
        let owner = InstanceOwner { controller: &self.call.controller, pool: self.call.pool.as_deref() };
        find_labelled(&self.context, |labels| owner.owns(labels))
    }

    /// The VM that GARM means, of whatever pool: a scale set's number may come and go in the call.
    fn find_instance(&self, asked: &str) -> Result<Option<LabelledVm>, Error> {
        Ok(self.find_of_all_pools()?.into_iter().find(|vm| is_meant(vm, asked)))
    }

    fn find_of_all_pools(&self) -> Result<Vec<LabelledVm>, Error> {
        let owner = InstanceOwner { controller: &self.call.controller, pool: None };
        find_labelled(&self.context, |labels| owner.owns(labels))
    }

    /// The VM that GARM means, if it has not done its work.
    fn find_usable(&self) -> Result<LabelledVm, Error> {
        let found = self.find_instance(&self.call.instance)?;
        found.filter(|vm| !vm.is_spent()).ok_or_else(|| {
            let shown = escape_unseen(&self.call.instance);
            Error::new(Code::VmMissing, format!("this controller has no instance '{shown}'"))
                .because("it was never made, was deleted, or its guest has ended")
                .unchanged()
        })
    }

    /// Creates the VM and starts it. A VM with this runner's name is the rest of an earlier try, whose token is dead:
    /// GARM repeats a failed call with the same name.
    fn create_instance(&self) -> Result<(), Error> {
        let asked = read_instance()?;
        let owner = InstanceOwner { controller: &self.call.controller, pool: self.call.pool.as_deref() };
        let manifest = runner_manifest(&asked, &self.config, owner)?;
        let defaults = self.context.settings.defaults(None);
        let plan =
            VmPlan::from_manifest(&manifest, &defaults).and_then(|plan| check_patch(&plan).map(|()| plan));
        let plan = plan.map_err(|problems| Error::from(problems).unchanged())?;
        let all = self.find_of_all_pools()?;
        if let Some(earlier) = all.iter().find(|vm| is_meant(vm, &asked.name)) {
            self.destroy(earlier)?;
        }
        self.delete_spent(all.iter().filter(|vm| owner.owns(vm.labels()) && !is_meant(vm, &asked.name)));
        let created = create_vm(&self.context, &plan)?;
        let arch = manifest.spec.arch.as_deref();
        print_json(&ProviderInstance::created(&created.uuid.to_string(), &asked.name, arch), self.ui)
    }

    fn delete_instance(&self) -> Result<(), Error> {
        // GARM deletes what was never made, and deletes twice.
        self.find_instance(&self.call.instance)?.map_or(Ok(()), |vm| self.destroy(&vm))
    }

    fn show_instance(&self) -> Result<(), Error> {
        print_json(&self.describe(&self.find_usable()?)?, self.ui)
    }

    /// Lists the pool's VMs. Those that have done their work are deleted: GARM would start a stopped VM again, and
    /// forgets one that is not listed.
    fn list_instances(&self) -> Result<(), Error> {
        let own = self.find_own()?;
        self.delete_spent(own.iter());
        let usable: Result<Vec<_>, Error> =
            own.iter().filter(|vm| !vm.is_spent()).map(|vm| self.describe(vm)).collect();
        print_json(&usable?, self.ui)
    }

    fn remove_all(&self) -> Result<(), Error> {
        let failures: Vec<Error> = self.find_own()?.iter().filter_map(|vm| self.destroy(vm).err()).collect();
        Error::combine(&failures).map_or(Ok(()), Err)
    }

    fn start_instance(&self) -> Result<(), Error> {
        power::start(&self.context, &self.find_usable()?.domain.uuid.to_string(), false).map(drop)
    }

    fn stop_instance(&self) -> Result<(), Error> {
        let options = StopOptions { force: true, timeout: std::time::Duration::ZERO };
        power::stop(&self.context, &self.find_usable()?.domain.uuid.to_string(), options).map(drop)
    }

    /// Deletes the VMs that have done their work. One that cannot be deleted stays for the next call.
    fn delete_spent<'v>(&self, vms: impl Iterator<Item = &'v LabelledVm>) {
        for vm in vms.filter(|vm| vm.is_spent()) {
            if let Err(error) = self.destroy(vm) {
                self.ui.show_warning(&format!("VM '{}' is not deleted: {error}", vm.domain.name));
            }
        }
    }

    fn destroy(&self, vm: &LabelledVm) -> Result<(), Error> {
        vm.destroy(&self.context)?;
        forget_known_hosts(vm.domain.uuid);
        Ok(())
    }

    fn describe(&self, vm: &LabelledVm) -> Result<ProviderInstance, Error> {
        let seen = vm.view(&self.context)?;
        let arch = vm.record.manifest.spec.arch.as_deref();
        let uuid = vm.domain.uuid.to_string();
        Ok(ProviderInstance::describe(&uuid, vm.labels(), arch, seen.vm.status.as_ref()))
    }
}

fn is_meant(vm: &LabelledVm, asked: &str) -> bool {
    is_instance(asked, &vm.domain.uuid.to_string(), vm.labels())
}

fn read_instance() -> Result<BootstrapInstance, Error> {
    let mut text = Vec::new();
    io::stdin().lock().take(MAX_INSTANCE + 1).read_to_end(&mut text).map_err(|e| {
        Error::new(Code::ProviderCallUnfit, "cannot read the instance from standard input")
            .because(describe_io_error(&e))
            .unchanged()
    })?;
    if text.len() as u64 > MAX_INSTANCE {
        let what = "what GARM wrote to standard input is larger than 4 MiB";
        return Err(Error::new(Code::ProviderCallUnfit, what).unchanged());
    }
    BootstrapInstance::from_json(&text)
}

fn parse_pool(name: &str) -> Result<PoolName, Error> {
    name.parse().map_err(|why| Error::new(Code::NameUnfit, format!("imagePool: '{name}' {why}")).unchanged())
}

/// The libvirt of foundry's settings, if they name one.
fn configured_uri(global: &Global) -> String {
    match global.effective_config().get(SettingKey::Connect) {
        Some(named) if named.origin != SettingOrigin::Default => named.text.clone(),
        _ => SYSTEM_LIBVIRT.to_owned(),
    }
}
