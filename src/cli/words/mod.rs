//! Turns advice, errors and outcomes of the engine into sentences. Only this module knows how a command of foundry is
//! typed.
//!
//! Below the command line, advice and outcomes are data that another program can act on. Here they become the sentences
//! that a person reads and the fields of `-o json`.

mod command;
pub(crate) mod hints;
pub(crate) mod other_tools;
mod power;
mod steps;

use foundry_core::error::{Advice, AdvicePart, Error, ErrorCodes, Outcome};
use foundry_engine::vm::inspect::{REPAVING, VmView};

pub use command::command_line;
pub use power::{render_power_change, render_repave_change};
pub use steps::{render_finished, render_started, render_task};

/// An advice in one line, with its commands as they are typed.
pub fn render_advice(advice: &Advice) -> String {
    let parts = advice.parts().iter().map(|part| match part {
        AdvicePart::Text(text) => text.clone(),
        AdvicePart::Run(verb) => command_line(verb),
    });
    parts.collect()
}

/// The hint of an error.
pub fn render_hint(error: &Error) -> Option<String> {
    error.advice().map(render_advice)
}

/// The message of an error with its issues, the advice on each, and the cause.
pub fn render_error(error: &Error) -> String {
    let cause = error.cause().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{}{cause}", render_message(error))
}

/// The message of an error with its issues and the advice on each.
pub fn render_message(error: &Error) -> String {
    let codes: ErrorCodes = error.issues().iter().map(|issue| issue.code).collect();
    let mut text = error.message().to_owned();
    for issue in error.issues() {
        text.push_str(&format!("\n  {}{}", issue.message, codes.suffix_for(issue.code)));
        for what in &issue.advice {
            text.push_str(&format!("\n    {}", render_advice(what)));
        }
    }
    text
}

/// A sentence, followed by the advice.
pub fn with_advice(sentence: &str, what: Option<&Advice>) -> String {
    what.map_or_else(|| sentence.to_owned(), |what| format!("{sentence}; {}", render_advice(what)))
}

/// Appends the advice to the VM's conditions.
pub(crate) fn add_advice(seen: &mut VmView) {
    let conditions = seen.vm.status.iter_mut().flat_map(|status| &mut status.conditions);
    for condition in conditions {
        let advice = match condition.kind.as_str() {
            "Ready" => seen.advice.as_ref(),
            REPAVING => seen.repave_advice.as_ref(),
            _ => None,
        };
        condition.message = with_advice(&condition.message, advice);
    }
}

/// The outcomes of an error, one sentence each.
pub fn render_outcomes(error: &Error) -> Vec<String> {
    error.outcomes().iter().map(render_outcome).collect()
}

/// An outcome as a sentence.
pub fn render_outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Unchanged => "nothing was changed".to_owned(),
        Outcome::RolledBack => "everything that was made is removed again".to_owned(),
        Outcome::Left(remainders) => {
            let all: Vec<String> =
                remainders.iter().map(|left| format!("{} ({})", left.object, left.why)).collect();
            format!("left behind: {}", all.join(", "))
        }
        Outcome::Note(sentence) => sentence.clone(),
        Outcome::Next(next) => render_advice(next),
        Outcome::Excerpt { title, lines } => {
            let lines = lines.iter().map(|line| format!("\n  | {line}"));
            format!("{title}{}", lines.collect::<String>())
        }
    }
}
