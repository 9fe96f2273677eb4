//! Refuses to destroy a VM that another foundry process is working on.

use super::destroy_plan::DestroyOptions;
use super::repave;
use crate::advice::destroy_command;
use foundry_core::error::{Advice, Code, Error};
use foundry_core::record::{Liveness, Maker, Record, RecordState};
use foundry_host::Domain;
use foundry_host::local::check_liveness;

/// Refuses if a process is creating or repaving the VM, or attaching a disk. The liveness of a process on another machine cannot be
/// checked; the user decides about it, with `--force`.
pub(super) fn refuse_if_busy(domain: &Domain, record: &Record, options: DestroyOptions) -> Result<(), Error> {
    let name = &domain.name;
    if record.state != RecordState::Creating {
        if let Some(note) = &record.repave {
            repave::refuse_if_busy(domain, note, options.force)?;
        }
        return refuse_if_attaching(domain, record, options);
    }
    match check_liveness(&record.maker) {
        Liveness::Dead => Ok(()),
        Liveness::Elsewhere if options.force => Ok(()),
        Liveness::Elsewhere => {
            Err(Error::new(Code::BeingCreated, format!("VM '{name}' is being created from another machine"))
                .hint(Advice::from("if that was given up: ").run(destroy_command(domain, true)))
                .unchanged())
        }
        Liveness::Alive => Err(Error::new(
            Code::BeingCreated,
            format!("VM '{name}' is being created by process {}", record.maker.pid),
        )
        .hint("wait for it, or stop that process; it then removes what it made")
        .unchanged()),
    }
}

/// Refuses if a disk is being attached: its volume would be left behind.
fn refuse_if_attaching(domain: &Domain, record: &Record, options: DestroyOptions) -> Result<(), Error> {
    let name = &domain.name;
    let works = |maker: &&Maker| match check_liveness(maker) {
        Liveness::Dead => false,
        Liveness::Elsewhere => !options.force,
        Liveness::Alive => true,
    };
    let Some(maker) = record.volumes.iter().filter_map(|v| v.attaching.as_ref()).find(works) else {
        return Ok(());
    };
    let busy = format!("process {} is attaching a disk to VM '{name}'", maker.pid);
    let error = Error::new(Code::DiskBusy, busy).unchanged();
    Err(match check_liveness(maker) {
        Liveness::Elsewhere => error
            .because("it runs on another machine")
            .hint(Advice::from("if that was given up: ").run(destroy_command(domain, true))),
        _ => error.hint("wait for it, or stop that process"),
    })
}
