//! The HTTP of the controller of runner pools: webhooks, health, metrics, and the API of pools, runners and jobs.
//!
//! What faces a network is small: webhooks with a signature, health and metrics. Everything else is on a unix socket, or
//! behind a token. A request never acts on a VM: a webhook notes a job, and a call notes a wish, in the database that the
//! controller reads.

mod answer;
mod api;
mod listener;
mod metrics;
mod page;
mod shared;
mod signature;
mod token;
mod webhook;
mod workflow_job;

pub use listener::{Listener, ListenerPlan};
pub use metrics::PoolMetrics;
pub use shared::{ListenedPool, ListenerState, WebhookSecret};
pub use token::ApiToken;
