//! Shows the progress of an operation; for programs, as events.
//!
//! `--progress=json` makes every line on stderr one JSON object with an `event`. Fields are added to events and events to
//! the list; none is renamed, and none changes its meaning.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::words;

use foundry_core::error::{Code, Error, Kind};
use foundry_core::text::escape_unseen_in_json;

/// The forms of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProgressForm {
    /// A line for each step, with its time, and something that moves while it takes time.
    Moving,
    /// A line for each step.
    Plain,
    /// A line for each event, for programs.
    Json,
    /// No steps.
    None,
}

impl ProgressForm {
    /// The form of that name; what suits stderr, where it is none.
    pub(super) fn from_setting(word: &str, terminal: bool) -> Self {
        match word {
            "plain" => Self::Plain,
            "json" => Self::Json,
            "none" => Self::None,
            _ if terminal => Self::Moving,
            _ => Self::Plain,
        }
    }
}

/// An event, as programs read it.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum ProgressEvent<'a> {
    /// An operation begins.
    Begin { message: &'a str },
    /// A step begins that may take a while.
    Working { message: &'a str },
    /// A step is done.
    Done { message: &'a str, seconds: f64 },
    /// Bytes of a transfer so far, and in all where that is known.
    Bytes { done: u64, total: Option<u64> },
    /// Something worth knowing.
    Note { message: &'a str },
    /// Something that the user should know and that stops nothing.
    Warning { message: &'a str },
    /// Why it failed; the last one gives the exit code.
    Error {
        code: Code,
        kind: &'static str,
        exit_code: u8,
        message: String,
        cause: Option<&'a str>,
        detail: Option<&'a str>,
        hint: Option<String>,
        outcomes: Vec<String>,
    },
    /// A libvirt call, with `-vv`.
    Call { function: &'a str, operation: &'a str, seconds: f64, error: Option<&'a str> },
}

impl ProgressEvent<'_> {
    /// The line, without its break.
    pub(super) fn to_json_line(&self) -> String {
        // Nothing in it can fail to be JSON: numbers are finite, keys are words.
        let text = serde_json::to_string(self).unwrap_or_default();
        // JSON escapes the control characters of ASCII; others move a terminal, too.
        escape_unseen_in_json(&text)
    }
}

impl<'a> From<&'a Error> for ProgressEvent<'a> {
    fn from(error: &'a Error) -> Self {
        ProgressEvent::Error {
            code: error.code(),
            kind: kind_word(error.kind()),
            exit_code: error.kind().exit_code(),
            message: words::render_message(error),
            cause: error.cause(),
            detail: error.detail_text(),
            hint: words::render_hint(error),
            outcomes: words::render_outcomes(error),
        }
    }
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Configuration => "configuration",
        Kind::Validation => "validation",
        Kind::Connection => "connection",
        Kind::Vm => "vm",
        Kind::Storage => "storage",
        Kind::Timeout => "timeout",
        Kind::Interrupted => "interrupted",
    }
}

/// When something was told last.
#[derive(Debug)]
pub(super) struct StepTimes {
    step: Instant,
    bytes: Option<Instant>,
}

impl Default for StepTimes {
    fn default() -> Self {
        Self { step: Instant::now(), bytes: None }
    }
}

impl StepTimes {
    /// Begins a step; the time that the one before it took.
    pub(super) fn begin_step(&mut self) -> Duration {
        let now = Instant::now();
        let took = now - self.step;
        *self = Self { step: now, bytes: None };
        took
    }

    /// Whether a program should be told of so many bytes: of the last ones, and otherwise five times each second.
    pub(super) fn is_transfer_due(&mut self, done: u64, total: Option<u64>) -> bool {
        const PAUSE: Duration = Duration::from_millis(200);
        let due = self.bytes.is_none_or(|last| last.elapsed() >= PAUSE) || total == Some(done);
        if due {
            self.bytes = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_suits_stderr_is_shown_where_nobody_says_otherwise() {
        for (word, terminal, form) in [
            ("auto", true, ProgressForm::Moving),
            ("auto", false, ProgressForm::Plain),
            ("plain", true, ProgressForm::Plain),
            ("json", true, ProgressForm::Json),
            ("none", false, ProgressForm::None),
        ] {
            assert_eq!(ProgressForm::from_setting(word, terminal), form, "{word} {terminal}");
        }
    }

    /// The form that is promised to programs.
    #[test]
    fn events_are_written_as_they_are_documented() {
        for (line, text) in [
            (ProgressEvent::Begin { message: "x" }, r#"{"event":"begin","message":"x"}"#),
            (
                ProgressEvent::Done { message: "x", seconds: 0.5 },
                r#"{"event":"done","message":"x","seconds":0.5}"#,
            ),
            (ProgressEvent::Bytes { done: 1, total: None }, r#"{"event":"bytes","done":1,"total":null}"#),
            (ProgressEvent::Note { message: "\u{9b}2J\n" }, r#"{"event":"note","message":"\u009b2J\n"}"#),
        ] {
            assert_eq!(line.to_json_line(), text);
        }
        let error = Error::new(Kind::Storage, "no").because("why").hint("do").outcome("left");
        assert_eq!(
            ProgressEvent::from(&error).to_json_line(),
            r#"{"event":"error","code":"FND-5000","kind":"storage","exitCode":5,"message":"no","cause":"why","detail":null,"hint":"do","outcomes":["left"]}"#
        );
    }

    #[test]
    fn bytes_are_told_now_and_then_and_at_the_end() {
        let mut times = StepTimes::default();
        let told: Vec<bool> = (1..=4).map(|done| times.is_transfer_due(done, Some(4))).collect();
        assert_eq!((told[0], told[3]), (true, true));
        assert!(!times.is_transfer_due(3, Some(4)), "right after one that was told");
        times.begin_step();
        assert!(times.is_transfer_due(1, None), "the first of another step");
    }
}
