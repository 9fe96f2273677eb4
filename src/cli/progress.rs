//! The progress of an operation: its display forms, and its events for programs.
//!
//! With `--progress=json` every line on stderr is one JSON object with an `event`. Fields and events may be added; none
//! is renamed or changes its meaning.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::words;

use foundry_core::error::{Code, Error, Kind};
use foundry_core::text::escape_unseen_in_json;

/// How progress is displayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProgressForm {
    /// A line for each step with its duration, and a moving bar or spinner meanwhile.
    Moving,
    /// A line for each step.
    Plain,
    /// A JSON object for each event.
    Json,
    /// Warnings and errors only.
    None,
}

impl ProgressForm {
    /// The form that the setting selects; by default it depends on whether stderr is a terminal.
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

/// An event of `--progress=json`.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum ProgressEvent<'a> {
    /// An operation starts.
    Begin { message: &'a str },
    /// A step starts that may take a while.
    Working { message: &'a str },
    /// A step is done.
    Done { message: &'a str, seconds: f64 },
    /// Bytes transferred so far, and in total if that is known.
    Bytes { done: u64, total: Option<u64> },
    /// A message that needs no attention.
    Note { message: &'a str },
    /// A problem that does not stop the operation.
    Warning { message: &'a str },
    /// An error; the last one decides the exit code.
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
    /// The JSON object, without a line break.
    pub(super) fn to_json_line(&self) -> String {
        // Serialization cannot fail: numbers are finite and keys are strings.
        let text = serde_json::to_string(self).unwrap_or_default();
        // JSON escapes ASCII control characters only; others (C1, direction marks) move a terminal, too.
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

/// When the current step started, and when its transfer was last reported.
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
    /// Starts a step and returns how long the one before it took.
    pub(super) fn begin_step(&mut self) -> Duration {
        let now = Instant::now();
        let took = now - self.step;
        *self = Self { step: now, bytes: None };
        took
    }

    /// Whether to report a transfer to programs: at most five times a second, and at its end.
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

    /// The documented format, which programs rely on.
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
