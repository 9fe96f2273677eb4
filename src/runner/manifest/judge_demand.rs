//! Judges how a pool learns of its jobs.

use foundry_core::error::Code;

use super::pool_judge::PoolJudge;
use super::{DemandSpec, WebhookDemand};
use crate::demand::LabelMatch;

/// The longest last part of a webhook's URL.
const MAX_PATH: usize = 64;

/// How a pool learns of jobs that wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DemandPlan {
    /// Not at all.
    Static,
    /// The forge reports them.
    Webhook {
        /// Last part of the URL.
        path: String,
        /// File with the secret.
        secret_file: String,
    },
}

impl PoolJudge {
    pub(super) fn judge_demand(&mut self, demand: &DemandSpec, pool: &str) -> DemandPlan {
        match (&demand.always, &demand.webhook) {
            (Some(_) | None, None) => DemandPlan::Static,
            (None, Some(webhook)) => self.judge_webhook(webhook, pool),
            (Some(_), Some(_)) => {
                self.reject(Code::Contradiction, "spec.demand", None, "must have one of static and webhook");
                DemandPlan::Static
            }
        }
    }

    fn judge_webhook(&mut self, webhook: &WebhookDemand, pool: &str) -> DemandPlan {
        const PATH: &str = "spec.demand.webhook";
        let secret_file = webhook.secret_file.clone().unwrap_or_default();
        if !secret_file.starts_with('/') {
            let message = "must be the absolute path of a file with the webhook's secret: without one, \
                anybody could send jobs";
            let given = webhook.secret_file.as_deref();
            self.reject(Code::ValueMissing, &format!("{PATH}.secretFile"), given, message);
        }
        let path = webhook.path.clone().unwrap_or_else(|| pool.to_owned());
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if path.is_empty() || path.len() > MAX_PATH || !path.chars().all(is_plain) {
            let message = format!("must be 1 to {MAX_PATH} letters, digits, '-' and '_'");
            self.reject(Code::TextUnfit, &format!("{PATH}.path"), Some(&path), message);
        }
        DemandPlan::Webhook { path, secret_file }
    }

    pub(super) fn judge_label_match(&mut self, word: Option<&str>) -> LabelMatch {
        match word {
            None | Some("exact") => LabelMatch::Exact,
            Some("superset") => LabelMatch::Superset,
            Some(other) => {
                self.reject(Code::WordUnknown, "spec.labelMatch", Some(other), "must be exact or superset");
                LabelMatch::Exact
            }
        }
    }
}
