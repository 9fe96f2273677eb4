//! Collects the problems of a pool's manifest, and judges its plain values.

use std::time::Duration;

use foundry_core::error::Code;
use foundry_core::manifest::{Number, shorten};
use foundry_core::names::VmName;
use foundry_core::plan::Problem;
use foundry_core::units::parse_duration;

use super::RunnerPool;
use crate::rules::{PoolTimeouts, RetryRules};
use crate::view::PoolWish;

/// Name of the pool of 'runner try', which ends whatever VMs it finds.
pub const TRIAL_POOL: &str = "try";
/// The longest name of a pool: with `-` and eight characters more, it is a VM's.
pub(super) const MAX_NAME: usize = 40;
/// The longest label at a forge (GitHub's limit).
const MAX_LABEL: usize = 256;
const MAX_LABELS: usize = 100;

/// Collects the problems. A refused value is replaced by a harmless one, so that the judging goes on.
pub(super) struct PoolJudge {
    pub(super) problems: Vec<Problem>,
}

impl PoolJudge {
    pub(super) fn reject(&mut self, code: Code, path: &str, value: Option<&str>, message: impl Into<String>) {
        self.problems.push(Problem {
            path: path.to_owned(),
            value: value.map(shorten),
            message: message.into(),
            code,
            advice: None,
        });
    }

    pub(super) fn judge_name(&mut self, name: Option<&str>) -> String {
        const PATH: &str = "metadata.name";
        let Some(name) = name else {
            self.reject(Code::ValueMissing, PATH, None, "is required: the pool's name, such as linux");
            return "pool".to_owned();
        };
        if let Err(why) = name.parse::<VmName>() {
            self.reject(Code::NameUnfit, PATH, Some(name), why.to_string());
        } else if name.len() > MAX_NAME || name.contains('_') {
            let message =
                format!("has more than {MAX_NAME} characters, or '_', which a host name cannot have");
            self.reject(Code::NameUnfit, PATH, Some(name), message);
        }
        if name == TRIAL_POOL {
            self.reject(Code::NameUnfit, PATH, Some(name), "is the name of the pool of trials");
        }
        name.to_owned()
    }

    pub(super) fn judge_labels(&mut self, labels: &[String]) -> Vec<String> {
        const PATH: &str = "spec.labels";
        if labels.is_empty() || labels.len() > MAX_LABELS {
            let message = format!("has {} labels; a pool has 1 to {MAX_LABELS}", labels.len());
            self.reject(Code::ValueMissing, PATH, None, message);
        }
        for (index, label) in labels.iter().enumerate() {
            let is_plain = !label.is_empty()
                && label.len() <= MAX_LABEL
                && label.trim() == label
                && !label.chars().any(|c| c == ',' || c.is_control());
            if !is_plain {
                let message =
                    format!("is not a label: 1 to {MAX_LABEL} characters without ',' and spaces at the ends");
                self.reject(Code::LabelUnfit, &format!("{PATH}[{index}]"), Some(label), message);
            }
        }
        labels.to_vec()
    }

    pub(super) fn judge_mode(&mut self, mode: Option<&str>) -> PoolWish {
        let Some(word) = mode else { return PoolWish::Serve };
        PoolWish::from_word(word).unwrap_or_else(|| {
            self.reject(Code::WordUnknown, "spec.mode", Some(word), "must be serve, pause or drain");
            PoolWish::Serve
        })
    }

    pub(super) fn judge_number(
        &mut self,
        path: &str,
        number: Option<Number>,
        range: std::ops::RangeInclusive<u64>,
        default: Option<u64>,
    ) -> u64 {
        let (least, most) = (*range.start(), *range.end());
        match (number, default) {
            (None, Some(default)) => default,
            (None, None) => {
                self.reject(Code::ValueMissing, path, None, format!("is required: {least} to {most}"));
                0
            }
            (Some(number), _) => match number.to_u64().filter(|n| range.contains(n)) {
                Some(fit) => fit,
                None => {
                    let message = format!("must be a whole number from {least} to {most}");
                    self.reject(Code::NumberUnfit, path, Some(&number.to_string()), message);
                    0
                }
            },
        }
    }

    /// A time in seconds, at least `least`.
    pub(super) fn judge_time(&mut self, path: &str, text: Option<&str>, default: u64, least: u64) -> u64 {
        let Some(text) = text else { return default };
        // A bare number has no unit, and people mean different ones.
        let has_unit = text.chars().any(|c| c.is_ascii_alphabetic());
        let text_of =
            |days: &str| days.parse::<u64>().ok().map(|d| Duration::from_secs(d.saturating_mul(86_400)));
        let read = match text.strip_suffix('d').map(text_of) {
            Some(days) => days.ok_or_else(|| format!("'{text}' is not a duration")),
            None => parse_duration(text),
        };
        match read {
            Ok(time) if has_unit && time.as_secs() >= least => time.as_secs(),
            _ => {
                let message = format!("must be a time of at least {least} s, such as 90s, 5m, 12h or 1d");
                self.reject(Code::NumberUnfit, path, Some(text), message);
                default
            }
        }
    }

    pub(super) fn judge_timeouts(&mut self, pool: &RunnerPool) -> PoolTimeouts {
        let given = &pool.spec.timeouts;
        let usual = PoolTimeouts::default();
        let mut time = |field: &str, text: &Option<String>, default: u64, least: u64| {
            self.judge_time(&format!("spec.timeouts.{field}"), text.as_deref(), default, least)
        };
        PoolTimeouts {
            start: time("start", &given.start, usual.start, 10),
            handover: time("handover", &given.handover, usual.handover, 10),
            idle: time("idle", &given.idle, usual.idle, 60),
            job: time("job", &given.job, usual.job, 60),
            drain: time("drain", &given.drain, usual.drain, 60),
            max_age: time("maxAge", &given.max_age, usual.max_age, 600),
        }
    }

    pub(super) fn judge_retry(&mut self, pool: &RunnerPool) -> RetryRules {
        let given = &pool.spec.retry;
        let usual = RetryRules::default();
        let after = self.judge_number(
            "spec.retry.breakAfter",
            given.break_after,
            1..=1000,
            Some(usual.break_after.into()),
        );
        let initial = self.judge_time("spec.retry.initial", given.initial.as_deref(), usual.initial, 1);
        let longest = self.judge_time("spec.retry.max", given.max.as_deref(), usual.longest.max(initial), 1);
        if longest < initial {
            self.reject(
                Code::Contradiction,
                "spec.retry.max",
                given.max.as_deref(),
                "is shorter than initial",
            );
        }
        RetryRules { break_after: u32::try_from(after).unwrap_or(u32::MAX), initial, longest, ..usual }
    }
}
