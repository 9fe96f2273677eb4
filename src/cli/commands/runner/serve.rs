//! `foundry runner serve`

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::pool_files::read_pools;
use super::served_pool::ServedPool;
use crate::connect::connect_host;
use crate::output::parse_duration;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Error, Kind};
use foundry_engine::{Cancel, Context};
use foundry_runner::RunnerPoolPlan;

/// How often the wait between two rounds looks whether it is to end; the shortest wait, too.
const TICK: Duration = Duration::from_millis(200);

/// Keep the pools of runners that manifests describe, until it is stopped
///
/// Its VMs go on when it stops; the next one takes them over. Changed files are read again before each round. A pool is
/// ended with 'mode: drain' in its manifest.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry runner serve pool.yaml
  foundry runner serve /etc/foundry/runners --interval 30s
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
}

pub(super) fn run_serve(args: &ServeArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let mut plans = plan_pools(&args.files, global)?;
    // What each operation does is said by the rounds.
    let quiet = ui.without_progress();
    let mut context = connect_host(global, &quiet)?;
    interrupt::install_handler(&context.cancel)?;
    let cancel = context.cancel.clone();
    let mut pools: Vec<ServedPool> = Vec::new();
    loop {
        serve_plans(&mut pools, &plans, &context, ui)?;
        for pool in &mut pools {
            if cancel.is_requested() {
                return Ok(());
            }
            let ran = pool.run_round(ui);
            match ran {
                Err(lost) if lost.kind() == Kind::Connection && !args.once => {
                    ui.show_warning(&format!("connection lost: {lost}"));
                    let Some(anew) = connect_again(&cancel, global, &quiet, args.interval) else {
                        return Ok(());
                    };
                    context = anew;
                    break;
                }
                Err(failed) if !args.once => ui.show_error(&failed),
                ran => ran?,
            }
        }
        if args.once || !wait_interval(&cancel, args.interval) {
            return Ok(());
        }
        match plan_pools(&args.files, global) {
            Ok(read) => plans = read,
            // The pools go on as they were.
            Err(error) => ui.show_error(&error),
        }
        pools.iter_mut().for_each(|pool| pool.set_context(&context));
    }
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

/// Waits; false if the wait was interrupted.
fn wait_interval(cancel: &Cancel, time: Duration) -> bool {
    let mut waited = Duration::ZERO;
    while waited < time.max(TICK) && !cancel.is_requested() {
        std::thread::sleep(TICK);
        waited += TICK;
    }
    !cancel.is_requested()
}

/// Connects again, until it succeeds or is interrupted.
fn connect_again(cancel: &Cancel, global: &Global, ui: &Ui, interval: Duration) -> Option<Context> {
    while wait_interval(cancel, interval) {
        if let Ok(context) = connect_host(global, ui) {
            return Some(Context { cancel: cancel.clone(), ..context });
        }
    }
    None
}
