//! The phase and the conditions of a VM, from the state of its domain and from its record.

use foundry_core::error::Advice;
use foundry_core::manifest::{Condition, Phase};
use foundry_core::record::{Liveness, Owner, Record, RecordState, RepaveStage};
use foundry_host::local::check_liveness;
use foundry_host::{Domain, DomainState, StateReason};

use crate::advice::{destroy_command, interrupted_creation};

/// The condition of a VM that has its previous boot disk beside the present one.
pub const REPAVING: &str = "Repaving";

/// The condition for a record that this foundry cannot read. Such a VM was created by foundry; nothing else is known.
pub(super) fn unreadable_condition(owner: &Owner) -> Option<Condition> {
    let reason = match owner {
        Owner::Unreadable(reason) => reason.clone(),
        Owner::Newer(version) => format!("a newer foundry wrote it, in version {version}"),
        Owner::Foundry(_) | Owner::FirstFoundry(_) | Owner::Foreign => return None,
    };
    Some(Condition {
        kind: "Recorded".into(),
        status: "False".into(),
        last_transition_time: None,
        reason: "RecordUnreadable".into(),
        message: format!("foundry's record of it cannot be read: {reason}"),
    })
}

/// The condition of a VM whose repave has not ended.
pub(super) fn repaving_condition(record: &Record) -> Option<Condition> {
    let note = record.repave.as_ref()?;
    let (reason, message) = match (note.stage, check_liveness(&note.maker)) {
        (RepaveStage::Kept, _) => (
            "PreviousBootDiskKept",
            format!("the boot disk from before the repave of {} is kept", note.since),
        ),
        (_, Liveness::Dead) => ("RepaveInterrupted", "a repave was interrupted".to_owned()),
        (_, Liveness::Alive) => ("RepaveRunning", format!("process {} repaves it", note.maker.pid)),
        (_, Liveness::Elsewhere) => ("RepaveRunningElsewhere", "another machine repaves it".to_owned()),
    };
    Some(Condition {
        kind: REPAVING.into(),
        status: "True".into(),
        last_transition_time: Some(record.changed_at.clone()),
        reason: reason.into(),
        message,
    })
}

/// Returns the phase, its reason as a word for programs, and a sentence for people.
pub(super) fn judge_phase(domain: &Domain, owner: &Owner) -> (Phase, &'static str, String) {
    if let Owner::Foundry(record) = owner {
        if record.state == RecordState::Creating {
            return judge_creating(&check_liveness(&record.maker), record.maker.pid);
        }
        if record.state == RecordState::Destroying {
            return (Phase::Destroying, "VMDestroying", "its destruction has begun".into());
        }
    }
    let word = domain.shell_name();
    let why = domain.why.to_sentence(domain.state);
    if domain.state == DomainState::Paused && domain.stopped_by_error() {
        let message = format!("VM is paused by an error: {}", why.unwrap_or_default());
        return (Phase::Failed, "VMStoppedByError", message);
    }
    match domain.state {
        DomainState::Running | DomainState::Blocked => {
            (Phase::Running, "VMRunning", "VM is running successfully".into())
        }
        DomainState::Crashed => (Phase::Failed, "VMCrashed", "the guest crashed".into()),
        DomainState::ShutOff if domain.saved => {
            let message = format!(
                "VM is off with its memory saved; virsh start {word} resumes it, \
                 virsh managedsave-remove {word} discards it"
            );
            (Phase::Saved, "VMSaved", message)
        }
        DomainState::ShutOff => {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let message = format!("VM is off{why}; virsh start {word} starts it");
            match domain.why {
                StateReason::Crashed => (Phase::Failed, "VMCrashed", message),
                StateReason::NotStarted => (Phase::Failed, "VMNotStarted", message),
                _ => (Phase::Stopped, "VMShutOff", message),
            }
        }
        DomainState::Paused => {
            let why = why.unwrap_or("it is paused");
            let hint = match domain.why {
                StateReason::ByUser | StateReason::FromSnapshot => {
                    format!("; virsh resume {word} continues it")
                }
                _ => String::new(),
            };
            (Phase::Stopped, "VMPaused", format!("{why}{hint}"))
        }
        DomainState::Unknown(number) => (
            Phase::Unknown,
            "VMStateUnknown",
            format!("libvirt reports state {number}, which this foundry does not know"),
        ),
        other => (Phase::Stopped, "VMNotRunning", format!("VM is {other}")),
    }
}

/// The command that finishes a VM which an interrupted command left in this phase.
pub(super) fn finish_advice(domain: &Domain, phase: Phase) -> Option<Advice> {
    match phase {
        Phase::Destroying => Some(Advice::from(destroy_command(domain, false)).text(" finishes it")),
        Phase::Pending => Some(interrupted_creation(domain)),
        _ => None,
    }
}

fn judge_creating(liveness: &Liveness, pid: u32) -> (Phase, &'static str, String) {
    match liveness {
        Liveness::Alive => (Phase::Creating, "VMCreating", format!("process {pid} is creating it")),
        Liveness::Dead => (Phase::Pending, "CreationInterrupted", "its creation was interrupted".into()),
        Liveness::Elsewhere => {
            (Phase::Creating, "VMCreatingElsewhere", "another machine is creating it".into())
        }
    }
}
