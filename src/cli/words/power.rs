//! Renders what a verb did to a VM.

use foundry_engine::vm::power::PowerChange;

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
