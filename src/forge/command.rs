//! Any forge, by three programs of the user's.

use foundry_runner::{CommandSpec, Forge, ForgeError, ForgeFailure, RegisteredRunner, Registration, Removal};
use serde::Deserialize;
use serde_json::Value;

use crate::command_output::{ProgramEnd, run_program};
use crate::listed::{ListedRunner, id_text};
use crate::{quote_foreign, unreachable_error};

/// Exit code of `register` if the name is taken.
const NAME_TAKEN: i32 = 3;
/// Exit code of `unregister` if the runner works on a job.
const BUSY: i32 = 4;

/// A forge behind three programs.
#[derive(Debug, Clone)]
pub struct CommandForge {
    programs: CommandSpec,
    pool: String,
    labels: String,
}

/// What `register` prints.
#[derive(Deserialize)]
struct PrintedRegistration {
    id: Value,
    configuration: String,
}

impl CommandForge {
    /// A forge for a pool, whose runners have these labels.
    pub fn new(programs: CommandSpec, pool: &str, labels: &[String]) -> Self {
        Self { programs, pool: pool.to_owned(), labels: labels.join(",") }
    }

    fn run(&self, words: &[String], more: &[(&str, &str)]) -> Result<ProgramEnd, ForgeError> {
        let own = [("FOUNDRY_RUNNER_POOL", self.pool.as_str()), ("FOUNDRY_RUNNER_LABELS", &self.labels)];
        run_program(words, &[&own, more].concat()).map_err(unreachable_error)
    }
}

/// The error of a program that did not end with 0. What it printed may be a secret; what it complained of is meant to be
/// read.
fn ended_with(words: &[String], end: &ProgramEnd) -> ForgeError {
    let program = words.first().map_or("", String::as_str);
    let code = end.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    unreachable_error(format!("{program} ended with {code}: {}", quote_foreign(&end.stderr)))
}

fn unreadable_output(words: &[String]) -> ForgeError {
    unreachable_error(format!("{} printed what cannot be read", words.first().map_or("", String::as_str)))
}

impl Forge for CommandForge {
    fn list_registrations(&self) -> Result<Vec<Registration>, ForgeError> {
        let words = &self.programs.list;
        let end = self.run(words, &[])?;
        if end.code != Some(0) {
            return Err(ended_with(words, &end));
        }
        let listed: Vec<ListedRunner> =
            serde_json::from_slice(&end.stdout).map_err(|_| unreadable_output(words))?;
        listed
            .into_iter()
            .map(|one| one.into_registration().ok_or_else(|| unreadable_output(words)))
            .collect()
    }

    fn register_runner(&self, name: &str) -> Result<RegisteredRunner, ForgeError> {
        let words = &self.programs.register;
        let end = self.run(words, &[("FOUNDRY_RUNNER_NAME", name)])?;
        match end.code {
            Some(0) => {}
            Some(NAME_TAKEN) => {
                let message = format!("the name {name} has a registration");
                return Err(ForgeError { failure: ForgeFailure::NameTaken, message });
            }
            _ => return Err(ended_with(words, &end)),
        }
        let read: Option<PrintedRegistration> = serde_json::from_slice(&end.stdout).ok();
        let registered = read.and_then(|printed| {
            Some(RegisteredRunner { id: id_text(&printed.id)?, configuration: printed.configuration })
        });
        registered.ok_or_else(|| unreadable_output(words))
    }

    fn remove_registration(&self, id: &str) -> Result<Removal, ForgeError> {
        let words = &self.programs.unregister;
        let end = self.run(words, &[("FOUNDRY_RUNNER_ID", id)])?;
        match end.code {
            Some(0) => Ok(Removal::Removed),
            Some(BUSY) => Ok(Removal::Busy),
            _ => Err(ended_with(words, &end)),
        }
    }
}
