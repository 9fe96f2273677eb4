//! The forges at which CI runners are registered: each implements [`foundry_runner::Forge`].
//!
//! A forge's answers are foreign text: they are parsed as such, bounded in size, and quoted only when they are escaped.

mod app_jwt;
mod command;
mod command_output;
mod forge_http;
mod forgejo;
mod gitea;
mod gitea_http;
mod github;
mod github_app;
mod github_http;
mod listed;
mod paged_list;
mod pretended;
mod secret_file;

pub use command::CommandForge;
pub use forgejo::ForgejoForge;
pub use gitea::GiteaForge;
pub use github::GithubForge;
pub use pretended::PretendedForge;
pub use secret_file::read_secret_file;

use foundry_core::text::escape_unseen;
use foundry_core::yaml::shorten;
use foundry_runner::{ForgeError, ForgeFailure};

/// The largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 16 << 20;

fn unreachable_error(message: impl Into<String>) -> ForgeError {
    ForgeError { failure: ForgeFailure::Unreachable, message: message.into() }
}

fn refused_error(message: impl Into<String>) -> ForgeError {
    ForgeError { failure: ForgeFailure::Refused, message: message.into() }
}

/// A foreign text in a message: one line, bounded.
fn quote_foreign(text: &str) -> String {
    escape_unseen(&shorten(text.trim()))
}
