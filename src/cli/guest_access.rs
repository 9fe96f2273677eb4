//! The arguments of commands that reach into a guest, and the choice between SSH and the guest agent.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::ssh_client::login_arguments;
use foundry_core::error::{Code, Error};
use foundry_engine::Context;
use foundry_engine::vm::guest_login::{GuestLogin, find_guest_login};

/// How to log in over SSH.
#[derive(Debug, Args)]
pub(super) struct LoginArgs {
    /// The user in the guest
    #[arg(short = 'l', long, value_name = "USER")]
    user: Option<String>,
    /// File with the private key to log in with
    #[arg(short, long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

impl LoginArgs {
    /// Finds out how to log in to a guest.
    pub(super) fn find(&self, context: &Context, vm: &str) -> Result<GuestLogin, Error> {
        find_guest_login(context, vm, self.user.as_deref())
    }

    /// Finds out how to log in to a guest; `None` if it has no SSH server that answers.
    pub(super) fn find_answering(&self, context: &Context, vm: &str) -> Result<Option<GuestLogin>, Error> {
        match self.find(context, vm) {
            Ok(login) => Ok(login.answers_ssh().then_some(login)),
            Err(unknown) if unknown.code() == Code::AddressUnknown => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The options of ssh and scp for a guest.
    pub(super) fn options(&self, login: &GuestLogin) -> Result<Vec<OsString>, Error> {
        let mut options = login_arguments(login)?;
        if let Some(identity) = &self.identity {
            options.extend(["-i".into(), identity.into()]);
        }
        Ok(options)
    }
}

/// Adds to the error of a silent agent that SSH does not answer either.
pub(super) fn without_ssh(error: Error) -> Error {
    match error.code() {
        Code::AgentSilent => error.outcome("an SSH server does not answer either"),
        _ => error,
    }
}
