//! `foundry runner serve`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use super::controller::{ControllerState, ListenArgs};
use super::pool_files::read_pools;
use super::served_pool::ServedPool;
use crate::connect::connect_host;
use crate::output::parse_duration;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Error, Kind};
use foundry_engine::{Cancel, Context};
use foundry_host::local::notify_service_manager;
use foundry_runner::RunnerPoolPlan;

/// How often the wait between two rounds looks whether it is to end; the shortest wait, too.
const TICK: Duration = Duration::from_millis(200);
/// The shortest pause, if jobs or wishes come.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a forge may be silent before the controller is not ready, beside the time between two rounds, in seconds.
const READY_WITHIN: u64 = 120;

/// Keep the pools of runners that manifests describe, until it is stopped
///
/// Its VMs go on when it stops; the next one takes them over. Changed files are read again before each round. A pool is
/// ended with 'mode: drain' in its manifest.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry runner serve pool.yaml
  foundry runner serve /etc/foundry/runners --listen 127.0.0.1:9180
  foundry runner serve pool.yaml --once")]
pub(super) struct ServeArgs {
    /// Manifests of kind RunnerPool, or directories of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Time between two rounds
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = parse_duration)]
    interval: Duration,
    /// Run one round and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    listen: ListenArgs,
}

pub(super) fn run_serve(args: &ServeArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let mut plans = plan_pools(&args.files, global)?;
    // What each operation does is said by the rounds.
    let quiet = ui.without_progress();
    let mut context = connect_host(global, &quiet)?;
    let reload = Arc::new(AtomicBool::new(false));
    interrupt::install_service_handler(&context.cancel, &reload)?;
    let cancel = context.cancel.clone();
    let mut pools: Vec<ServedPool> = Vec::new();
    serve_plans(&mut pools, &plans, &context, ui)?;
    let mut controller =
        ControllerState::start(&args.listen, &plans, READY_WITHIN + args.interval.as_secs())?;
    if let Some(address) = controller.address() {
        ui.show_note(&format!("listening on http://{address}"));
    }
    notify_service_manager("READY=1");
    loop {
        if let Err(error) = controller.read_orders(&plans) {
            ui.show_error(&error);
        }
        for pool in &mut pools {
            if cancel.is_requested() {
                break;
            }
            let ran = run_pool(pool, &plans, &mut controller, ui);
            match ran {
                Err(lost) if lost.kind() == Kind::Connection && !args.once => {
                    ui.show_warning(&format!("connection lost: {lost}"));
                    let Some(anew) = connect_again(&cancel, global, &quiet, args.interval) else { break };
                    context = anew;
                    break;
                }
                Err(failed) if !args.once => ui.show_error(&failed),
                ran => ran?,
            }
        }
        let pause = Pause { cancel: &cancel, reload: &reload, time: args.interval };
        if args.once || !pause.wait(|| controller.has_news()) {
            notify_service_manager("STOPPING=1");
            return Ok(());
        }
        match plan_pools(&args.files, global) {
            Ok(read) if read != plans => match controller.set_plans(&read) {
                Ok(()) => plans = read,
                Err(error) => ui.show_error(&error),
            },
            Ok(_) => {}
            // The pools go on as they were.
            Err(error) => ui.show_error(&error),
        }
        pools.iter_mut().for_each(|pool| pool.set_context(&context));
        serve_plans(&mut pools, &plans, &context, ui)?;
    }
}

/// Runs a round of a pool, as its manifest and its users want it, and notes how it went.
fn run_pool(
    pool: &mut ServedPool,
    plans: &[RunnerPoolPlan],
    controller: &mut ControllerState,
    ui: &Ui,
) -> Result<(), Error> {
    let Some(plan) = plans.iter().find(|plan| plan.rules.name == pool.name()) else { return Ok(()) };
    let (plan, demand) = controller.order_for(plan)?;
    pool.set_plan(&plan);
    let news = pool.run_round(&demand, ui)?;
    controller.record_round(&plan, &news)
}

fn plan_pools(files: &[PathBuf], global: &Global) -> Result<Vec<RunnerPoolPlan>, Error> {
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    read_pools(&paths, &global.engine_settings()?.defaults(None))
}

/// Makes the pools those of the plans. One that is no longer described is left as it is: without its manifest, nobody
/// knows its forge.
fn serve_plans(
    pools: &mut Vec<ServedPool>,
    plans: &[RunnerPoolPlan],
    context: &Context,
    ui: &Ui,
) -> Result<(), Error> {
    pools.retain(|pool| {
        let is_described = plans.iter().any(|plan| plan.rules.name == pool.name());
        if !is_described {
            ui.show_note(&format!("pool {}: it has no manifest any more, and its VMs stay", pool.name()));
        }
        is_described
    });
    for plan in plans {
        match pools.iter_mut().find(|pool| pool.name() == plan.rules.name) {
            Some(pool) => pool.set_plan(plan),
            None => pools.push(ServedPool::begin(plan, context)?),
        }
    }
    Ok(())
}

/// The pause between two rounds.
struct Pause<'a> {
    cancel: &'a Cancel,
    reload: &'a AtomicBool,
    time: Duration,
}

impl Pause<'_> {
    /// Waits, shorter if there are news; false if the wait was interrupted.
    fn wait(&self, mut has_news: impl FnMut() -> bool) -> bool {
        let mut waited = Duration::ZERO;
        while waited < self.time.max(TICK) && !self.cancel.is_requested() {
            std::thread::sleep(TICK);
            waited += TICK;
            // A storm of events does not become a storm of questions to the forge.
            let may_end = waited >= SHORTEST_PAUSE;
            if may_end && (self.reload.swap(false, Ordering::Relaxed) || has_news()) {
                break;
            }
        }
        !self.cancel.is_requested()
    }
}

/// Connects again, until it succeeds or is interrupted.
fn connect_again(cancel: &Cancel, global: &Global, ui: &Ui, interval: Duration) -> Option<Context> {
    let pause = Pause { cancel, reload: &AtomicBool::new(false), time: interval };
    while pause.wait(|| false) {
        if let Ok(context) = connect_host(global, ui) {
            return Some(Context { cancel: cancel.clone(), ..context });
        }
    }
    None
}
