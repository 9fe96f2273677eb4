//! Copies a file to or from a guest through its agent, in pieces.

use std::io::{Read, Write};

use super::guest_agent::{GuestAgent, GuestFile, WRITE_PIECE};
use super::guest_login::find_running;
use crate::Context;
use foundry_core::error::{Code, Error};
use foundry_core::text::escape_unseen;

/// Writes a file in the guest, as the agent's user. Returns its length.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if the VM or its agent cannot; a part of the file may be there then.
pub fn copy_to_guest(context: &Context, name: &str, from: &mut dyn Read, path: &str) -> Result<u64, Error> {
    let domain = find_running(context, name)?;
    let agent = GuestAgent::connect(context, &domain)?;
    let file = agent.open(path, "w").map_err(Error::unchanged)?;
    let sent = send(context, &agent, file, from);
    let closed = agent.close(file);
    let incomplete = |e: Error| {
        e.outcome(format!("{} in the guest of VM '{}' is incomplete", escape_unseen(path), domain.name))
    };
    let sent = sent.map_err(incomplete)?;
    closed.map_err(incomplete)?;
    Ok(sent)
}

fn send(
    context: &Context,
    agent: &GuestAgent<'_>,
    file: GuestFile,
    from: &mut dyn Read,
) -> Result<u64, Error> {
    let (mut sent, mut piece) = (0, Vec::with_capacity(WRITE_PIECE));
    loop {
        context.cancel.check()?;
        piece.clear();
        let read = Read::take(&mut *from, WRITE_PIECE as u64).read_to_end(&mut piece);
        read.map_err(|e| Error::new(Code::FileUnreadable, "cannot read the file").because(e.to_string()))?;
        if piece.is_empty() {
            return Ok(sent);
        }
        agent.write(file, &piece)?;
        sent += piece.len() as u64;
    }
}

/// Reads a file of the guest, as the agent's user. Returns its length.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if the VM or its agent cannot, or the content cannot be written.
pub fn copy_from_guest(
    context: &Context,
    name: &str,
    path: &str,
    into: &mut dyn Write,
) -> Result<u64, Error> {
    let domain = find_running(context, name)?;
    let agent = GuestAgent::connect(context, &domain)?;
    let file = agent.open(path, "r")?;
    let received = receive(context, &agent, file, into);
    // Nothing was written that a failure here could lose.
    let _ = agent.close(file);
    received
}

fn receive(
    context: &Context,
    agent: &GuestAgent<'_>,
    file: GuestFile,
    into: &mut dyn Write,
) -> Result<u64, Error> {
    let mut received = 0;
    loop {
        context.cancel.check()?;
        let piece = agent.read(file)?;
        if piece.is_empty() {
            return Ok(received);
        }
        into.write_all(&piece)
            .map_err(|e| Error::new(Code::FileUnwritable, "cannot write the file").because(e.to_string()))?;
        received += piece.len() as u64;
    }
}
