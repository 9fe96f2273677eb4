//! `foundry runner try`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::pool_files::read_pools;
use super::served_pool::ServedPool;
use crate::commands::launch::find_or_pull;
use crate::connect::connect_host;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error};
use foundry_core::manifest::API_VERSION;
use foundry_core::names::NetworkName;
use foundry_core::plan::Defaults;
use foundry_core::record::{RetireReason, RunnerNote, RunnerState};
use foundry_engine::{Cancel, Context};
use foundry_forge::PretendedForge;
use foundry_runner::{
    PoolDemand, PoolWish, RUNNER_POOL_KIND, RunnerPoolPlan, RunnerWish, TRIAL_POOL, load_runner_pools,
};

/// Time between two rounds.
const PAUSE: Duration = Duration::from_millis(500);
/// The job. It works only if the configuration arrived, and for long enough to be seen.
const JOB: &str = r#"[ "${RUNNER_CONFIGURATION#pretended configuration of try-}" != "$RUNNER_CONFIGURATION" ] &&
touch /tmp/foundry-trial && sleep 5"#;
/// Whether the job works.
const IS_BUSY: &str = "test -e /tmp/foundry-trial";

/// Run one pretended job in a VM of a pool, from its creation to its end
///
/// The forge is pretended, so no account is needed. With a manifest, its VMs are tried: whether they boot, have an agent, and
/// can start something as the runner's user. Without one, an image of the catalogue is tried, whose guest installs the
/// agent from the Internet.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry runner try
  foundry runner try --image ubuntu-24.04
  foundry runner try pool.yaml")]
pub(super) struct TryArgs {
    /// Manifest of kind RunnerPool whose VMs are tried
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Image in the image pool or in the catalogue
    #[arg(long, default_value = "debian-13", conflicts_with = "file")]
    image: String,
    /// libvirt network with DHCP
    #[arg(long, default_value = "default", conflicts_with = "file")]
    network: NetworkName,
    /// Leave a VM that does not come up as it is
    #[arg(long)]
    keep: bool,
}

/// How a trial goes.
struct Trial {
    begun: Instant,
    /// When each state was seen first.
    seen: BTreeMap<RunnerState, Duration>,
    /// The VM, once there is one.
    vm: Option<String>,
    failed: Option<RetireReason>,
}

pub(super) fn run_try(args: &TryArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let defaults = global.engine_settings()?.defaults(None);
    // Before anything is pulled: a wrong manifest is found at once.
    let given = args.file.as_deref().map(|file| read_trial(file, &defaults)).transpose()?;
    let context = connect_host(global, ui)?;
    interrupt::install_handler(&context.cancel)?;
    let plan = match given {
        Some(plan) => plan,
        None => plan_trial(&find_or_pull(&args.image, &context, global)?, &args.network, &defaults)?,
    };
    let quiet = Context { progress: Arc::new(ui.without_progress()), ..context };
    let forge = Box::new(PretendedForge::new(std::slice::from_ref(&plan.rules.owner_label)));
    let mut pool = ServedPool::begin_with(&plan, &quiet, forge)?;
    let mut trial = Trial { begun: Instant::now(), seen: BTreeMap::new(), vm: None, failed: None };
    let ended = trial.run(&mut pool, args.keep, ui, &quiet.cancel);
    if !quiet.cancel.is_requested() {
        return ended;
    }
    // What was begun is taken back, with a context that was not interrupted.
    let cancel = Cancel::default();
    pool.set_context(&Context { cancel: cancel.clone(), ..quiet });
    remove_vms(&mut pool, ui, &cancel)?;
    Err(Error::new(Code::Interrupted, "interrupted"))
}

impl Trial {
    /// Runs rounds until the VM is gone.
    fn run(&mut self, pool: &mut ServedPool, keep: bool, ui: &Ui, cancel: &Cancel) -> Result<(), Error> {
        remove_vms(pool, ui, cancel)?;
        while !cancel.is_requested() {
            let wish = match (self.failed, &self.vm) {
                (Some(_), _) => PoolWish::Drain,
                (None, Some(_)) => PoolWish::Pause,
                (None, None) => PoolWish::Serve,
            };
            let news = pool.run_round(&PoolDemand { wish, ..PoolDemand::default() }, ui)?;
            match news.runners.first() {
                Some((name, note)) => self.note(name, note),
                None if self.vm.is_some() => return self.judge(ui),
                None => {}
            }
            if let (Some(reason), true) = (self.failed, keep) {
                return Err(self.error(reason).hint("look at it, then: destroy it by its name"));
            }
            if let (None, Some(why)) = (&self.vm, news.trouble) {
                return Err(Error::new(Code::NotReady, "no VM could be made").because(why));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn note(&mut self, name: &str, note: &RunnerNote) {
        let time = self.begun.elapsed();
        self.seen.entry(note.state).or_insert(time);
        self.vm = Some(name.to_owned());
        if note.state == RunnerState::Failed {
            self.failed = note.reason;
        }
    }

    /// Says how it went, once the VM is gone.
    fn judge(&self, ui: &Ui) -> Result<(), Error> {
        if let Some(reason) = self.failed {
            return Err(self.error(reason).hint("with --keep the VM stays, and its console shows why"));
        }
        let at = |state: RunnerState| self.seen.get(&state).map(Duration::as_secs);
        let Some(busy) = at(RunnerState::Busy) else {
            return Err(Error::new(Code::NotReady, "the VM came up, and its job did not work")
                .hint("its user and directory must exist: spec.guest.user, spec.guest.directory"));
        };
        ui.show_note(&format!(
            "it works: the guest answered after {} s, its job ran after {busy} s, and all was gone after {} s",
            at(RunnerState::Registering).or(at(RunnerState::Starting)).or(at(RunnerState::Idle)).unwrap_or(busy),
            self.begun.elapsed().as_secs(),
        ));
        Ok(())
    }

    fn error(&self, reason: RetireReason) -> Error {
        let name = self.vm.as_deref().unwrap_or(TRIAL_POOL);
        Error::new(Code::NotReady, format!("VM '{name}' did not come up")).because(reason.as_str())
    }
}

/// Ends the VMs of trials, also of one that was killed.
fn remove_vms(pool: &mut ServedPool, ui: &Ui, cancel: &Cancel) -> Result<(), Error> {
    let mut demand = PoolDemand { wish: PoolWish::Drain, ..PoolDemand::default() };
    while !cancel.is_requested() {
        let left = pool.run_round(&demand, ui)?.runners;
        if left.is_empty() {
            break;
        }
        demand.runner_wishes = left.into_iter().map(|(name, _)| (name, RunnerWish::Kill)).collect();
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The plan of a trial of a pool's VMs: one VM, the pretended job, nothing kept.
fn read_trial(file: &Path, defaults: &Defaults) -> Result<RunnerPoolPlan, Error> {
    let mut plans = read_pools(&[file], defaults)?;
    if plans.len() > 1 {
        return Err(Error::new(Code::TooMany, format!("{} describes {} pools", file.display(), plans.len()))
            .hint("write the one to try into a file of its own")
            .unchanged());
    }
    // A file without a pool was refused.
    Ok(to_trial(plans.remove(0)))
}

/// The plan of a trial of an image, whose guest installs the agent.
fn plan_trial(image: &str, network: &NetworkName, defaults: &Defaults) -> Result<RunnerPoolPlan, Error> {
    let text = serde_json::json!({
        "apiVersion": API_VERSION,
        "kind": RUNNER_POOL_KIND,
        "metadata": {"name": "an-image"},
        "spec": {
            "forge": {"command": {"register": ["/"], "list": ["/"], "unregister": ["/"]}},
            "labels": [TRIAL_POOL],
            "size": {"max": 1},
            "timeouts": {"start": "15m"},
            "guest": {"user": "root", "directory": "/tmp"},
            "template": {
                "vcpus": 2,
                "memoryGiB": 2,
                "bootDisk": {"image": image, "sizeGiB": 20},
                "networkInterfaces": [{"network": network.as_str()}],
                "cloudInit": {"userData": {
                    "packages": ["qemu-guest-agent"],
                    "runcmd": ["systemctl start qemu-guest-agent"],
                }},
            },
        },
    });
    let pools = load_runner_pools(&text.to_string(), "the command line")?;
    let plan = pools.first().map(|pool| RunnerPoolPlan::from_manifest(pool, defaults, TRIAL_POOL));
    // One document gives one pool.
    Ok(to_trial(plan.ok_or_else(|| Error::new(Code::NoManifest, "no pool"))??))
}

fn to_trial(mut plan: RunnerPoolPlan) -> RunnerPoolPlan {
    plan.rules.name = TRIAL_POOL.to_owned();
    (plan.rules.min_idle, plan.rules.max, plan.rules.max_starting) = (1, 1, 1);
    plan.wish = PoolWish::Serve;
    (plan.guest.run, plan.guest.busy) = (JOB.to_owned(), IS_BUSY.to_owned());
    plan
}
