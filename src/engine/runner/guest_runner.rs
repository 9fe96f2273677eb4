//! The runner in a guest: started and looked at through the guest's agent.
//!
//! The guest is the job's once it runs one, so what it says is believed only in one direction: it can keep itself alive
//! by saying that it works, until its job's time is over.

use std::time::Duration;

use crate::Context;
use crate::poll::{Poll, Waited};
use crate::vm::guest_agent::GuestAgent;
use foundry_core::error::{Code, Error};
use foundry_host::Domain;
use foundry_runner::{GuestFact, RunnerGuestPlan};

/// Time between two looks at a script.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// How long a script may take. A guest that is busy answers late.
const WITHIN: Duration = Duration::from_secs(20);

/// File with the process id of the runner, below a directory that only root can write to.
const PID_FILE: &str = "/run/foundry-runner/pid";

/// Starts the runner as a process of its own, with its configuration in the environment, where other users cannot read
/// it; the file that it comes in is deleted first. When the runner ends, the guest powers off. `$1` is the user, `$2` the
/// directory, `$3` the command, `$4` the file.
const START: &str = r#"set -eu
mkdir -p -m 0700 /run/foundry-runner
RUNNER_CONFIGURATION=$(cat "$4")
unlink "$4"
export RUNNER_CONFIGURATION
cd "$2"
setsid sh -c 'su -s /bin/sh "$1" -c "$2"; poweroff' sh "$1" "$3" </dev/null >/run/foundry-runner/log 2>&1 &
echo $! >/run/foundry-runner/pid"#;

/// Makes the file for the configuration, which only root can read, and prints its path.
const MAKE_FILE: &str =
    r#"umask 077; mkdir -p /run/foundry-runner && mktemp /run/foundry-runner/config.XXXXXXXX"#;

/// Prints what the runner does. `$1` is the command that ends with 0 while it works, `$2` the file with its process id.
const LOOK: &str = r#"if sh -c "$1"; then echo working
elif [ -s "$2" ] && kill -0 "$(cat "$2")" 2>/dev/null; then echo waiting
else echo none; fi"#;

/// Looks at the runner.
pub(super) fn look_at_runner(context: &Context, domain: &Domain, plan: &RunnerGuestPlan) -> GuestFact {
    let looked = || -> Result<GuestFact, Error> {
        let agent = GuestAgent::connect(context, domain)?;
        let said = run_script(context, &agent, LOOK, &[plan.busy.clone(), PID_FILE.to_owned()])?;
        Ok(match said.trim() {
            "working" => GuestFact::Working,
            "waiting" => GuestFact::Waiting,
            "none" => GuestFact::WithoutRunner,
            _ => GuestFact::Silent,
        })
    };
    looked().unwrap_or(GuestFact::Silent)
}

/// Gives a guest the configuration of its runner, and starts that.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if the agent does not answer or refuses, or the runner cannot be started.
pub(super) fn start_runner(
    context: &Context,
    domain: &Domain,
    plan: &RunnerGuestPlan,
    configuration: &str,
) -> Result<(), Error> {
    let agent = GuestAgent::connect(context, domain)?;
    let path = run_script(context, &agent, MAKE_FILE, &[])?.trim().to_owned();
    if !path.starts_with("/run/foundry-runner/config.") {
        return Err(Error::new(Code::AgentRefuses, "the guest has no place for a runner's configuration"));
    }
    let file = agent.open(&path, "w")?;
    for piece in configuration.as_bytes().chunks(crate::vm::guest_agent::WRITE_PIECE) {
        agent.write(file, piece)?;
    }
    agent.close(file)?;
    let words = [&plan.user, &plan.directory, &plan.run, &path].map(Clone::clone);
    run_script(context, &agent, START, &words).map(drop)
}

/// Runs a script to its end and returns what it printed.
fn run_script(
    context: &Context,
    agent: &GuestAgent<'_>,
    script: &str,
    arguments: &[String],
) -> Result<String, Error> {
    let pid = agent.start_script(script, arguments, true)?;
    match Poll::new(context, POLL_EVERY).within(WITHIN).until(|| agent.ended(pid))? {
        Waited::Done(ended) if ended.code == 0 => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
        Waited::Done(ended) => {
            Err(Error::new(Code::AgentRefuses, format!("a command in the guest ended with {}", ended.code)))
        }
        Waited::TimeOver | Waited::Cancelled => {
            let message = format!("a command in the guest does not end within {} s", WITHIN.as_secs());
            Err(Error::new(Code::AgentSilent, message))
        }
    }
}
