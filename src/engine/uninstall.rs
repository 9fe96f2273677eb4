//! Takes away what foundry made on a host: its VMs, its images and its two default pools.

use crate::Context;
use crate::image;
use crate::storage::usage::{self, Usage};
use crate::vm::destroy::{DestroyOptions, DestroyPlan, execute_destroy, plan_destroy};
use foundry_core::error::{Code, Error};
use foundry_core::origin::ImageOrigin;
use foundry_core::pool::PoolSourceSpec;
use foundry_core::record::{Owner, VolumeRef};
use foundry_host::{Domain, Pool, Volume};

/// Name of the pool by which the parent directory of the default pools is deleted: libvirt may do that, and on a remote
/// host, too.
const PARENT_POOL: &str = "foundry-uninstall";

/// What foundry made on a host.
#[derive(Debug, Clone, PartialEq)]
pub struct UninstallPlan {
    /// The VMs to destroy.
    pub vms: Vec<DestroyPlan>,
    /// The images to delete.
    pub images: Vec<Volume>,
    /// The pools to remove, with their directories.
    pub pools: Vec<Pool>,
    /// What stays, and why.
    pub kept: Vec<(String, String)>,
}

impl UninstallPlan {
    /// Whether there is nothing to take away.
    pub fn is_empty(&self) -> bool {
        self.vms.is_empty() && self.images.is_empty() && self.pools.is_empty()
    }
}

/// Finds what foundry made on the host; changes nothing. Images that cannot be pulled again are included only if
/// `all_images`. What stays is listed with the reason.
///
/// # Errors
/// A failed call to the host.
pub fn plan_uninstall(
    context: &Context,
    options: DestroyOptions,
    all_images: bool,
) -> Result<UninstallPlan, Error> {
    usage::refresh_pools(context)?;
    let mut plan = UninstallPlan { vms: Vec::new(), images: Vec::new(), pools: Vec::new(), kept: Vec::new() };
    for domain in context.host.domains(false)? {
        if !matches!(domain.owner(), Owner::Foreign) {
            plan.add_vm(context, &domain, options)?;
        }
    }
    plan.add_images(context, all_images)?;
    plan.add_pools(context)?;
    Ok(plan)
}

impl UninstallPlan {
    fn add_vm(&mut self, context: &Context, domain: &Domain, options: DestroyOptions) -> Result<(), Error> {
        match plan_destroy(context, &domain.name, options) {
            Ok(vm) => {
                self.kept.extend(vm.kept_back.iter().cloned());
                self.vms.push(vm);
            }
            // Somebody else has destroyed it meanwhile.
            Err(gone) if gone.code() == Code::VmMissing => {}
            Err(lost) if lost.kind().ends_run() => return Err(lost),
            Err(error) => self.kept.push((format!("VM '{}'", domain.name), error.to_string())),
        }
        Ok(())
    }

    fn is_going(&self, volume: &VolumeRef) -> bool {
        self.vms.iter().flat_map(|vm| &vm.volumes).any(|v| v.reference() == *volume)
            || self.images.iter().any(|image| image.reference() == *volume)
    }

    /// Adds the images whose users are all deleted, too.
    fn add_images(&mut self, context: &Context, all: bool) -> Result<(), Error> {
        let pool = context.settings.image_pool.as_str();
        if !context.host.pool(pool)?.is_some_and(|pool| pool.active) {
            return Ok(());
        }
        self.add_lonely_notes(context, pool)?;
        let usage = Usage::collect(context, None)?;
        for volume in image::list_images(context, pool)? {
            let origin = image::image_origin(context, &volume.reference())?;
            let can_be_had_again = origin.as_ref().is_some_and(ImageOrigin::can_be_had_again);
            let reason = match all || can_be_had_again {
                false => Some("it cannot be pulled again; --all deletes it, too".to_owned()),
                true => self.reason_if_used(&usage, &volume),
            };
            match reason {
                Some(reason) => self.kept.push((format!("image '{}'", volume.name), reason)),
                None => self.images.push(volume),
            }
        }
        Ok(())
    }

    /// The reason to keep a volume: something uses it that stays.
    fn reason_if_used(&self, usage: &Usage, volume: &Volume) -> Option<String> {
        let going = self.vms.iter().flat_map(|vm| &vm.volumes).map(|volume| volume.reference());
        let going: Vec<VolumeRef> = going.collect();
        let users = usage.users_of(&volume.reference(), &volume.path).without_overlays(&going);
        let is_going = |name: &str| self.vms.iter().any(|vm| vm.domain.name == name);
        let recorder = usage.recording_domain(&volume.reference()).filter(|vm| !is_going(vm));
        let named = || recorder.map(|vm| format!("the record of VM '{vm}' names it"));
        users.without_domains(is_going).reason_if_used().or_else(named)
    }

    /// Adds the notes on images that are gone: an interrupted deletion left them.
    fn add_lonely_notes(&mut self, context: &Context, pool: &str) -> Result<(), Error> {
        for volume in context.host.volumes(pool)? {
            let Some(noted) = image::noted_image(&volume.name) else { continue };
            if context.host.volume(&VolumeRef::new(pool, noted))?.is_none() {
                self.images.push(volume);
            }
        }
        Ok(())
    }

    /// Adds the two default pools, if nothing else is in them.
    fn add_pools(&mut self, context: &Context) -> Result<(), Error> {
        let settings = &context.settings;
        for name in [settings.vm_pool.as_str(), settings.image_pool.as_str()] {
            let Some(pool) = context.host.pool(name)? else { continue };
            if self.pools.iter().any(|known| known.name == pool.name) {
                continue;
            }
            match self.reason_to_keep(context, &pool)? {
                Some(reason) => self.kept.push((format!("pool '{name}'"), reason)),
                None => self.pools.push(pool),
            }
        }
        Ok(())
    }

    fn reason_to_keep(&self, context: &Context, pool: &Pool) -> Result<Option<String>, Error> {
        // Of a stopped pool, libvirt lists no volumes; if it has any, its directory cannot be deleted, and it stays.
        let is_default = pool.kind == "dir"
            && pool.target == context.settings.default_target(&pool.name, context.host.uri());
        if !is_default {
            return Ok(Some("foundry did not make it".into()));
        }
        if !pool.active {
            return Ok(None);
        }
        let going_notes: Vec<&str> = self.images.iter().map(|image| image.name.as_str()).collect();
        let volumes = context.host.volumes(&pool.name)?;
        let is_left = |volume: &&Volume| {
            let is_note = image::noted_image(&volume.name).is_some_and(|image| going_notes.contains(&image));
            !is_note && !self.is_going(&volume.reference())
        };
        let left: Vec<&str> = volumes.iter().filter(is_left).map(|volume| volume.name.as_str()).collect();
        Ok((!left.is_empty()).then(|| format!("it has other volumes: {}", left.join(", "))))
    }
}

/// Something that was taken away.
#[derive(Debug, Clone, Copy)]
pub enum Removed<'a> {
    /// A VM with its disks.
    Vm(&'a DestroyPlan),
    /// An image.
    Image(&'a Volume),
    /// A pool with its directory.
    Pool(&'a Pool),
}

/// Takes away what was found, and calls `done` after each. It continues after a failure.
///
/// # Errors
/// All failures. Another run finishes what is left.
pub fn execute_uninstall(
    context: &Context,
    plan: &UninstallPlan,
    mut done: impl FnMut(Removed<'_>),
) -> Result<(), Vec<Error>> {
    let vms = plan.vms.iter().map(Removed::Vm);
    let all = vms.chain(plan.images.iter().map(Removed::Image)).chain(plan.pools.iter().map(Removed::Pool));
    let mut failures = context.run_for_all(all, |item| {
        match item {
            Removed::Vm(vm) => execute_destroy(context, vm)?,
            Removed::Image(found) => image::delete_image(context, &found.reference())?,
            Removed::Pool(pool) => remove_pool(context, pool)?,
        }
        done(item);
        Ok(())
    });
    if failures.iter().any(|failed| failed.kind().ends_run()) {
        return Err(failures);
    }
    if failures.is_empty() && !plan.pools.is_empty() {
        failures.extend(remove_parent_directory(context).err());
    }
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

/// Removes a pool with its directory. libvirt deletes only an empty directory; otherwise the pool is started again.
fn remove_pool(context: &Context, pool: &Pool) -> Result<(), Error> {
    let name = &pool.name;
    if pool.active {
        context.host.refresh_pool(name)?;
        context.host.stop_pool(name)?;
    }
    if let Err(refused) = context.host.remove_pool_directory(name) {
        // A pool whose directory is gone already, by an earlier run that was interrupted, cannot start.
        let is_gone = !refused.outcome_unknown() && context.host.start_pool(name).is_err();
        if !is_gone {
            return Err(Error::from(refused).outcome(format!("pool '{name}' is kept")));
        }
    }
    Ok(context.host.undefine_pool(name)?)
}

/// Deletes the parent directory of the default pools, if it is empty.
fn remove_parent_directory(context: &Context) -> Result<(), Error> {
    let Some(path) = context.settings.storage_base(context.host.uri()) else { return Ok(()) };
    // A run that was killed here left it.
    let left = context.host.pool(PARENT_POOL)?;
    if left.as_ref().is_some_and(|pool| pool.target.as_ref() != Some(&path)) {
        return Ok(());
    }
    if left.is_none() {
        context.host.define_pool(&PoolSourceSpec::Dir { path }.to_xml(PARENT_POOL)?)?;
    }
    let removed = context.host.remove_pool_directory(PARENT_POOL);
    context.host.undefine_pool(PARENT_POOL)?;
    match removed {
        Err(failed) if failed.outcome_unknown() => Err(failed.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}
