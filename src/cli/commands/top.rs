//! `foundry top`

use clap::Args;

use crate::Global;
use crate::connect::connect_host;
use crate::output::{ListingArgs, TableRow, WatchState, or_dash};
use crate::ui::Ui;
use crate::watch::watch_host;
use foundry_core::error::Error;
use foundry_core::units::Bytes;
use foundry_engine::vm::top::{LoadSampler, LoadView};

const NO_GUESTS: &str = "No running VMs";

/// Show what the running VMs use: CPU, memory, disks and network
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry top
  foundry top --watch
  foundry top -o json

Measured over one second. 100% is one processor of the host. VMs of other tools
are shown, too.")]
pub(crate) struct TopArgs {
    #[command(flatten)]
    listing: ListingArgs,
    /// Keep running and show each second
    #[arg(short, long)]
    watch: bool,
}

pub(super) fn run_top(args: &TopArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let mut sampler = LoadSampler::default();
    if args.watch {
        let mut shown = WatchState::default();
        return watch_host(global, ui, |context| {
            args.listing.show_again(&sampler.sample(context)?, NO_GUESTS, &mut shown, (global, ui))
        });
    }
    let context = connect_host(global, ui)?;
    args.listing.show_list(&sampler.sample(&context)?, NO_GUESTS, (global, ui))
}

impl TableRow for LoadView {
    type Object = Self;
    const HEADERS: &'static [&'static str] =
        &["VM", "CPU", "VCPUS", "MEMORY", "DISK READ/S", "WRITTEN/S", "NET IN/S", "OUT/S"];
    const WIDE_HEADERS: &'static [&'static str] = &["RESIDENT", "UUID"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(self.vm.clone())
    }

    fn row_cells(&self) -> Vec<String> {
        let rates = [self.disk_read, self.disk_written, self.net_received, self.net_sent];
        let first = [
            self.vm.clone(),
            format!("{:.1}%", self.cpu_percent),
            self.vcpus.to_string(),
            self.memory.to_string(),
        ];
        first.into_iter().chain(rates.iter().map(Bytes::to_string)).collect()
    }

    fn wide_row_cells(&self) -> Vec<String> {
        vec![or_dash(self.resident.map(|resident| resident.to_string())), self.uuid.clone()]
    }
}
