//! Makes the guest of a warm start another machine, through its agent: names, machine id, keys, clock, random numbers.
//!
//! The link of its network is down meanwhile. Secrets go into a directory that only root can read; a command line is
//! visible to every user of the guest.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Context;
use crate::poll::{Poll, Waited};
use crate::vm::guest_agent::{GuestAgent, WRITE_PIECE};
use foundry_core::error::{Code, Error};
use foundry_core::plan::WarmPlan;
use foundry_core::ssh_key_pair::SshKeyPair;
use foundry_host::Domain;
use uuid::Uuid;

/// Time between two looks at a script, or at an agent.
const POLL_EVERY: Duration = Duration::from_millis(50);
/// How long the agent may take to answer after the restore.
const AGENT_WITHIN: Duration = Duration::from_secs(60);
/// How long a script may take. It restarts the guest's network and its SSH server.
const SCRIPT_WITHIN: Duration = Duration::from_secs(120);
/// Bytes of random numbers that the guest gets.
const RANDOM_BYTES: usize = 512;

const MAKE_DIRECTORY: &str = "umask 077; mktemp -d /run/foundry-warm.XXXXXXXX";

/// Its arguments: a directory, the host name, the full name or nothing, the machine id, the seconds since 1970, the
/// instance id.
const RENEW: &str = include_str!("renew_identity.sh");

/// Gives the guest its identity.
///
/// # Errors
/// [`Code::WarmStartFailed`], with the cause.
pub(super) fn renew_identity(
    context: &Context,
    domain: &Domain,
    plan: &WarmPlan,
    key: &SshKeyPair,
) -> Result<(), Error> {
    let failed = |error: Error| {
        if error.kind().ends_run() {
            return error;
        }
        let message = format!("the guest of VM '{}' did not take its identity", domain.name);
        Error::new(Code::WarmStartFailed, message).because(error.to_string())
    };
    renew(context, domain, plan, key).map_err(failed)
}

fn renew(context: &Context, domain: &Domain, plan: &WarmPlan, key: &SshKeyPair) -> Result<(), Error> {
    let agent = wait_for_agent(context, domain)?;
    let directory = run_script(context, &agent, MAKE_DIRECTORY, &[])?.trim().to_owned();
    if !directory.starts_with("/run/foundry-warm.") {
        return Err(Error::new(Code::AgentRefuses, "the guest has no place for its new keys"));
    }
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random)
        .map_err(|e| Error::new(Code::Vm, "the system gives no random numbers").because(e.to_string()))?;
    let authorized: String = plan.ssh_keys.iter().map(|key| format!("{key}\n")).collect();
    let public = format!("{}\n", key.public());
    let files: [(&str, &[u8]); 4] = [
        ("random", &random),
        ("key", key.private().as_bytes()),
        ("public", public.as_bytes()),
        ("authorized", authorized.as_bytes()),
    ];
    for (name, content) in files {
        let file = agent.open(&format!("{directory}/{name}"), "w")?;
        for piece in content.chunks(WRITE_PIECE) {
            agent.write(file, piece)?;
        }
        agent.close(file)?;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let machine_id = Uuid::new_v4().simple().to_string();
    let words = [
        directory,
        plan.hostname.clone(),
        plan.fqdn.clone().unwrap_or_default(),
        machine_id,
        now.as_secs().to_string(),
        format!("{}-{}", domain.name, domain.uuid),
    ];
    let said = run_script(context, &agent, RENEW, &words)?;
    if !said.trim_end().ends_with("renewed") {
        return Err(Error::new(Code::AgentRefuses, "the script in the guest did not come to its end"));
    }
    match agent.set_time(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()) {
        // Without hwclock(8) in the guest, the agent sets the clock and then says that it could not.
        Err(refused) if refused.code() == Code::AgentRefuses => Ok(()),
        set => set,
    }
}

fn wait_for_agent<'a>(context: &'a Context, domain: &'a Domain) -> Result<GuestAgent<'a>, Error> {
    let mut last = None;
    let poll = Poll::new(context, POLL_EVERY).within(AGENT_WITHIN).unless(|| context.cancel.is_requested());
    let waited = poll.until(|| match GuestAgent::connect(context, domain) {
        Ok(agent) => Ok(Some(agent)),
        Err(silent) if silent.code() == Code::AgentSilent => {
            last = Some(silent);
            Ok(None)
        }
        Err(other) => Err(other),
    })?;
    match waited {
        Waited::Done(agent) => Ok(agent),
        Waited::Cancelled => Err(context.cancel.check().err().unwrap_or_else(|| silent_agent(domain))),
        Waited::TimeOver => Err(last.unwrap_or_else(|| silent_agent(domain))),
    }
}

fn silent_agent(domain: &Domain) -> Error {
    Error::new(Code::AgentSilent, format!("the guest agent of VM '{}' does not answer", domain.name))
}

/// Runs a script to its end and returns what it printed.
///
/// # Errors
/// If the agent refuses, or the script fails or does not end.
pub(super) fn run_script(
    context: &Context,
    agent: &GuestAgent<'_>,
    script: &str,
    arguments: &[String],
) -> Result<String, Error> {
    let pid = agent.start_script(script, arguments, true)?;
    let poll = Poll::new(context, POLL_EVERY).within(SCRIPT_WITHIN).unless(|| context.cancel.is_requested());
    match poll.until(|| agent.ended(pid))? {
        Waited::Done(ended) if ended.code == 0 => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
        Waited::Done(ended) => {
            Err(Error::new(Code::AgentRefuses, format!("a command in the guest ended with {}", ended.code)))
        }
        Waited::TimeOver | Waited::Cancelled => {
            context.cancel.check()?;
            let message = format!("a command in the guest does not end within {} s", SCRIPT_WITHIN.as_secs());
            Err(Error::new(Code::AgentSilent, message))
        }
    }
}
