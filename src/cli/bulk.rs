//! Runs one operation for several VMs side by side.
//!
//! Each VM has one line of result. A failure of one does not stop the others; all errors are reported, and the worst
//! one is the outcome.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use clap::Args;

use crate::connect::connect_host;
use crate::ui::Ui;
use crate::vm_selection::VmSelectionArgs;
use crate::{Global, interrupt};
use foundry_core::error::{Error, Kind};
use foundry_engine::{Context, Event, Progress};

/// libvirtd answers five calls of one client at once (`max_client_requests` of libvirtd.conf), one of which is left to
/// the keep-alive.
const DEFAULT_PARALLEL: usize = 4;

/// For a selection that has no VM.
pub(crate) const NO_VMS_MATCH: &str = "No VMs match";

/// How many VMs at once.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct BulkArgs {
    /// How many VMs to work on at once
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT_PARALLEL, value_parser = parse_count)]
    parallel: usize,
}

/// Parses the number of VMs to work on at once.
pub(crate) fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=64) => Ok(count),
        _ => Err("it is a number from 1 to 64".into()),
    }
}

/// Passes on the warnings only: the steps of several VMs would mix.
struct OnlyWarnings(Ui);

impl Progress for OnlyWarnings {
    fn on_event(&self, event: Event) {
        if matches!(event, Event::Warning { .. }) {
            self.0.on_event(event);
        }
    }
}

impl BulkArgs {
    pub(crate) fn new(parallel: usize) -> Self {
        Self { parallel }
    }

    /// Runs `act` for each item, and returns all failures in the order of the items. After an interruption, the items that
    /// were not begun are named.
    pub(crate) fn collect_failures<T: Sync>(
        self,
        items: &[T],
        name: impl Fn(&T) -> &str,
        context: &Context,
        ui: &Ui,
        act: impl Fn(&Context, &T) -> Result<(), Error> + Sync,
    ) -> Vec<Error> {
        let next = AtomicUsize::new(0);
        let is_alone = self.parallel == 1 || items.len() == 1;
        let failures: Mutex<Vec<(usize, Error)>> = Mutex::new(Vec::new());
        let work = || {
            // Each VM's operation has a life of its own, which its record may name.
            let quiet: Arc<dyn Progress> = Arc::new(OnlyWarnings(ui.clone()));
            while let Some(index) = Some(next.fetch_add(1, Ordering::SeqCst)).filter(|i| *i < items.len()) {
                if context.cancel.is_requested() {
                    next.fetch_sub(1, Ordering::SeqCst);
                    return;
                }
                let own = match is_alone {
                    true => context.clone(),
                    false => Context { lease: Arc::default(), ..context.with_progress(quiet.clone()) },
                };
                if let (Err(error), Ok(mut failures)) = (act(&own, &items[index]), failures.lock()) {
                    failures.push((index, error));
                }
            }
        };
        thread::scope(|scope| {
            // The last worker is this thread.
            for _ in 1..self.parallel.min(items.len()) {
                scope.spawn(work);
            }
            work();
        });
        let mut failures = failures.into_inner().unwrap_or_default();
        failures.sort_by_key(|(index, _)| *index);
        let mut failures: Vec<Error> = failures.into_iter().map(|(_, error)| error).collect();
        let begun = next.into_inner().min(items.len());
        if context.cancel.is_requested() && begun < items.len() {
            let rest: Vec<&str> = items[begun..].iter().map(name).collect();
            let interrupted = match failures.pop() {
                Some(last) if last.kind() == Kind::Interrupted => last,
                other => {
                    failures.extend(other);
                    Error::new(Kind::Interrupted, "interrupted")
                }
            };
            failures.push(interrupted.outcome(format!("not begun: {}", rest.join(", "))));
        }
        failures
    }
}

/// Connects, and runs `act` for each selected VM side by side, with a line for each.
///
/// # Errors
/// A failed connection, a pattern that matches nothing, or the worst error of `act`.
pub(crate) fn run_for_selected(
    (vms, bulk): (&VmSelectionArgs, BulkArgs),
    (global, ui): (&Global, &Ui),
    act: impl Fn(&Context, &str) -> Result<String, Error> + Sync,
) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    interrupt::install_handler(&context.cancel)?;
    let names = vms.find_names(&context)?;
    if names.is_empty() {
        ui.show_note(NO_VMS_MATCH);
        return Ok(());
    }
    let act = |context: &Context, name: &String| act(context, name).and_then(|line| ui.write_line(&line));
    report_all(bulk.collect_failures(&names, String::as_str, &context, ui, act), ui)
}

/// Reports all failures except the worst one, which the caller reports.
pub(crate) fn report_all(mut failures: Vec<Error>, ui: &Ui) -> Result<(), Error> {
    failures.sort_by_key(Error::kind);
    let worst = failures.pop();
    failures.iter().for_each(|error| ui.show_error(error));
    worst.map_or(Ok(()), Err)
}

/// Runs `act` for each item, one after the other. It continues after a failure, unless all others would fail for the same
/// reason.
///
/// # Errors
/// The worst error, of equal ones the last; the others are reported to stderr as soon as a worse one is there.
pub(crate) fn run_for_each<T>(
    items: &[T],
    ui: &Ui,
    mut act: impl FnMut(&T) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut worst: Option<Error> = None;
    for item in items {
        let Err(error) = act(item) else { continue };
        let is_last = error.kind().ends_run();
        worst = Some(report_lesser(worst, error, ui));
        if is_last {
            break;
        }
    }
    worst.map_or(Ok(()), Err)
}

/// Reports the lesser of two errors, or the earlier of two equal ones, and returns the other.
fn report_lesser(earlier: Option<Error>, error: Error, ui: &Ui) -> Error {
    let Some(earlier) = earlier else { return error };
    let (lesser, worse) = if error.kind() >= earlier.kind() { (earlier, error) } else { (error, earlier) };
    ui.show_error(&lesser);
    worse
}
