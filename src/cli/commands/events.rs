//! `foundry events`

use std::time::{Duration, Instant};

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Global;
use crate::output::{ListingArgs, OutputFormat, TableRow, to_json_line};
use crate::ui::Ui;
use crate::watch::watch_host;
use foundry_core::error::{Code, Error};
use foundry_engine::Context;
use foundry_host::{DomainChange, DomainEvent};

/// How long to wait for an event before stdout and the connection are checked.
const TICK: Duration = Duration::from_millis(500);

/// How long a connection may be silent before it is tested.
const SILENCE: Duration = Duration::from_secs(5);

/// A name that is looked up to test the connection. Whether there is such a domain does not matter.
const NOBODY: &str = "-";

/// Print the events of VMs as they happen
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry events
  foundry events web db
  foundry events -o json

libvirt keeps no past events: it prints what happens from now on until Ctrl-C.
With -o json each line is one object. If the connection breaks, it reconnects;
events in between are lost.

libvirt sends no event when autostart, the link state of an interface or the
number of processors changes: foundry list --watch shows the first.")]
pub(crate) struct EventsArgs {
    /// Only the events of these VMs
    #[arg(value_name = "VM")]
    names: Vec<String>,
    /// Keep running, which it does anyway
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    listing: ListingArgs,
}

/// One event, as it is printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventView {
    /// When foundry received it (RFC 3339).
    time: String,
    /// The name of the domain at that time.
    vm: String,
    /// Its UUID.
    uuid: String,
    /// What happened: defined, undefined, started, paused, resumed, stopped, shut-down, suspended, crashed,
    /// device-removed, agent-connected, agent-disconnected.
    event: &'static str,
}

pub(super) fn run_events(args: &EventsArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let mut is_first = !args.listing.no_headers;
    watch_host(global, ui, |context| print_events(args, context, &mut is_first, (global, ui)))
}

/// Prints events until nobody reads them, or the connection breaks.
fn print_events(
    args: &EventsArgs,
    context: &Context,
    is_first: &mut bool,
    (global, ui): (&Global, &Ui),
) -> Result<(), Error> {
    let Some(mut watch) = context.host.watch_domains()? else {
        return Err(Error::new(Code::Vm, "this host sends no events"));
    };
    ui.show_note("Waiting for events; Ctrl-C ends it");
    let mut heard = Instant::now();
    while !ui.is_unread() {
        if let Some(event) = watch.next(TICK) {
            heard = Instant::now();
            let is_wanted = args.names.is_empty() || args.names.contains(&event.name);
            if is_wanted {
                let view = EventView::of(event, context.clock.timestamp());
                view.show(args, std::mem::take(is_first), (global, ui))?;
            }
        } else if heard.elapsed() >= SILENCE {
            // A lost connection sends no events, either.
            context.host.domain(NOBODY)?;
            heard = Instant::now();
        }
    }
    Ok(())
}

impl EventView {
    fn of(event: DomainEvent, time: String) -> Self {
        Self { time, vm: event.name, uuid: event.domain.to_string(), event: event_word(event.change) }
    }

    fn show(&self, args: &EventsArgs, is_first: bool, (global, ui): (&Global, &Ui)) -> Result<(), Error> {
        match args.listing.chosen_format(global) {
            OutputFormat::Json => ui.write_result(&to_json_line(self)?),
            // The name comes last, so that lines that are printed one by one align.
            OutputFormat::Table | OutputFormat::Wide => {
                if is_first {
                    ui.write_line(&format!("{:<22}{:<20}{}", "TIME", "EVENT", "VM"))?;
                }
                ui.write_line(&format!("{:<22}{:<20}{}", self.time, self.event, self.vm))
            }
            OutputFormat::Yaml if !is_first => {
                ui.write_result("---\n")?;
                args.listing.show_list(std::slice::from_ref(self), "", (global, ui))
            }
            _ => {
                let listing = ListingArgs { no_headers: !is_first, ..args.listing.clone() };
                listing.show_list(std::slice::from_ref(self), "", (global, ui))
            }
        }
    }
}

impl TableRow for EventView {
    type Object = Self;
    const HEADERS: &'static [&'static str] = &["TIME", "EVENT", "VM"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(self.vm.clone())
    }

    fn row_cells(&self) -> Vec<String> {
        vec![self.time.clone(), self.event.into(), self.vm.clone()]
    }
}

fn event_word(change: DomainChange) -> &'static str {
    match change {
        DomainChange::Defined => "defined",
        DomainChange::Undefined => "undefined",
        DomainChange::Started => "started",
        DomainChange::Paused => "paused",
        DomainChange::Resumed => "resumed",
        DomainChange::Stopped => "stopped",
        DomainChange::ShutDown => "shut-down",
        DomainChange::Suspended => "suspended",
        DomainChange::Crashed => "crashed",
        DomainChange::DeviceRemoved => "device-removed",
        DomainChange::AgentConnected => "agent-connected",
        DomainChange::AgentDisconnected => "agent-disconnected",
        _ => "other",
    }
}
