//! `foundry runner serve`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{panic, thread};

use clap::Args;

use super::applied::default_directory;
use super::controller::{ControllerState, ListenArgs, RoundNews};
use super::pool_files::read_pools;
use super::served_pool::ServedPool;
use crate::connect::connect_host;
use crate::output::parse_duration;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Error, Kind};
use foundry_engine::{Cancel, Context};
use foundry_host::local::notify_service_manager;
use foundry_runner::{PoolDemand, RunnerPoolPlan};

/// How often the wait between two rounds looks whether it is to end; the shortest wait, too.
const TICK: Duration = Duration::from_millis(200);
/// The shortest pause, if jobs or wishes come.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause while VMs are on their way or end.
const BUSY_PAUSE: Duration = Duration::from_secs(2);
/// How long a forge may be silent before the controller is not ready, beside the time between two rounds, in seconds.
const READY_WITHIN: u64 = 120;

/// Keep the pools of runners that manifests describe, until it is stopped
///
/// Its VMs go on when it stops; the next one takes them over. Changed files are read again before each round. A pool is
/// ended with 'mode: drain' in its manifest.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry runner serve
  foundry runner serve /etc/foundry/runners --listen 127.0.0.1:9180
  foundry runner serve pool.yaml --once")]
pub(super) struct ServeArgs {
    /// Manifests of kind RunnerPool, or directories of them [default: /etc/foundry/runners]
    #[arg(value_name = "FILE")]
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
    let mut plans = plan_pools(args, global)?;
    // What each operation does is said by the rounds.
    let quiet = ui.without_progress();
    let mut context = connect_host(global, &quiet)?;
    let reload = Arc::new(AtomicBool::new(false));
    interrupt::install_service_handler(&context.cancel, &reload)?;
    let cancel = context.cancel.clone();
    let mut pools: Vec<ServedPool> = Vec::new();
    serve_plans(&mut pools, &plans, &context, ui)?;
    let mut told = ToldErrors { ui, last: Vec::new() };
    let mut controller =
        ControllerState::start(&args.listen, &plans, READY_WITHIN + args.interval.as_secs())?;
    if let Some(address) = controller.address() {
        ui.show_note(&format!("listening on http://{address}"));
    }
    notify_service_manager("READY=1");
    loop {
        let mut errors: Vec<Error> = controller.read_orders(&plans).err().into_iter().collect();
        let mut has_acted = false;
        for ran in run_pools(&mut pools, &plans, &mut controller, ui) {
            match ran {
                Ok(acted) => has_acted |= acted,
                Err(lost) if lost.kind() == Kind::Connection && !args.once => {
                    ui.show_warning(&format!("connection lost: {lost}"));
                    if let Some(anew) = connect_again(&cancel, global, &quiet, args.interval) {
                        context = anew;
                    }
                    break;
                }
                Err(failed) if !args.once => errors.push(failed),
                Err(failed) => return Err(failed),
            }
        }
        // More follows soon.
        let time = if has_acted { args.interval.min(BUSY_PAUSE) } else { args.interval };
        let pause = Pause { cancel: &cancel, reload: &reload, time };
        if args.once {
            return Error::combine(&errors).map_or(Ok(()), Err);
        }
        if !pause.wait(|| controller.has_news()) {
            notify_service_manager("STOPPING=1");
            return Ok(());
        }
        let read = plan_pools(args, global);
        match read.and_then(|read| controller.set_plans(&read).map(|()| read)) {
            Ok(read) => plans = read,
            // The pools go on as they were.
            Err(error) => errors.push(error),
        }
        pools.iter_mut().for_each(|pool| pool.set_context(&context));
        errors.extend(serve_plans(&mut pools, &plans, &context, ui).err());
        errors.extend(controller.note_undescribed(&context).err());
        told.tell(errors);
    }
}

/// What is wrong, said when it begins: a service that repeats itself is not read.
struct ToldErrors<'a> {
    ui: &'a Ui,
    last: Vec<String>,
}

impl ToldErrors<'_> {
    fn tell(&mut self, errors: Vec<Error>) {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        for (error, text) in errors.iter().zip(&texts) {
            if !self.last.contains(text) {
                self.ui.show_error(error);
            }
        }
        self.last = texts;
    }
}

/// Runs a round of each pool, as its manifest and its users want it, and notes how it went. The pools' rounds are at the
/// same time, so all take as long as the slowest. Returns for each whether it did anything.
fn run_pools(
    pools: &mut [ServedPool],
    plans: &[RunnerPoolPlan],
    controller: &mut ControllerState,
    ui: &Ui,
) -> Vec<Result<bool, Error>> {
    let mut ordered = Vec::new();
    let mut ended = Vec::new();
    for pool in pools {
        let Some(plan) = plans.iter().find(|plan| plan.rules.name == pool.name()) else { continue };
        match controller.order_for(plan) {
            Ok((plan, demand)) => ordered.push((pool, plan, demand)),
            Err(error) => ended.push(Err(error)),
        }
    }
    let rounds: Vec<(RunnerPoolPlan, Result<RoundNews, Error>)> = thread::scope(|scope| {
        let run = |(pool, plan, demand): (&mut ServedPool, RunnerPoolPlan, PoolDemand)| {
            pool.set_plan(&plan);
            let news = pool.run_round(&demand, ui);
            (plan, news)
        };
        let threads: Vec<_> = ordered.into_iter().map(|order| scope.spawn(move || run(order))).collect();
        threads.into_iter().map(|one| one.join().unwrap_or_else(|e| panic::resume_unwind(e))).collect()
    });
    let noted = rounds.into_iter().map(|(plan, news)| {
        let news = news?;
        controller.record_round(&plan, &news)?;
        Ok(news.has_acted)
    });
    ended.extend(noted);
    ended
}

/// Reads the manifests. The usual directory may not be there before the first 'apply'.
fn plan_pools(args: &ServeArgs, global: &Global) -> Result<Vec<RunnerPoolPlan>, Error> {
    let usual = if args.files.is_empty() { Some(default_directory()?) } else { None };
    let usual = usual.filter(|directory| directory.is_dir());
    let paths: Vec<&Path> = args.files.iter().chain(&usual).map(PathBuf::as_path).collect();
    read_pools(&paths, &global.engine_settings()?.defaults(None))
}

/// Takes the pools of the plans over. One that is no longer described is left as it is: without its manifest, nobody
/// knows its forge.
///
/// # Errors
/// For those that another process serves; the others are taken over.
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
    let mut wrong = Vec::new();
    for plan in plans {
        if pools.iter().any(|pool| pool.name() == plan.rules.name) {
            continue;
        }
        match ServedPool::begin(plan, context) {
            Ok(pool) => pools.push(pool),
            Err(error) => wrong.push(error),
        }
    }
    Error::combine(&wrong).map_or(Ok(()), Err)
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
            thread::sleep(TICK);
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
