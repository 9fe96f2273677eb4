//! Renders what a verb did to a VM.

use foundry_engine::vm::power::PowerChange;
use foundry_engine::vm::repave::RepaveChange;

/// The words after `virtualmachine/NAME`.
pub fn render_power_change(change: PowerChange) -> &'static str {
    match change {
        PowerChange::Started => "started",
        PowerChange::Restored => "started from its saved memory",
        PowerChange::AlreadyRunning => "already running",
        PowerChange::Stopped => "stopped",
        PowerChange::ForcedOff => "forced off",
        PowerChange::AlreadyOff => "already off",
        PowerChange::Restarted => "restarted",
        PowerChange::RebootRequested => "reboot requested",
        PowerChange::Paused => "paused",
        PowerChange::AlreadyPaused => "already paused",
        PowerChange::Resumed => "resumed",
    }
}

/// The words after `virtualmachine/NAME`.
pub fn render_repave_change(change: RepaveChange) -> &'static str {
    match change {
        RepaveChange::Repaved | RepaveChange::RepavedOnTrial => "repaved",
        RepaveChange::Accepted => "repave accepted",
        RepaveChange::RolledBack => "rolled back",
        RepaveChange::NothingKept => "has no previous boot disk",
    }
}
