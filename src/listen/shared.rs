//! What the controller and the listener share.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use foundry_core::error::Error;
use foundry_jobs::JobDatabase;
use foundry_runner::{ForgePlan, LabelMatch, PoolOffer};

use crate::metrics::PoolMetrics;

/// A pool, as far as the listener needs it.
#[derive(Debug, Clone)]
pub struct ListenedPool {
    /// Its name.
    pub name: String,
    /// Labels of its runners.
    pub labels: Vec<String>,
    /// How a job's labels choose it.
    pub label_match: LabelMatch,
    /// Its forge.
    pub forge: ForgePlan,
    /// Whether it makes VMs.
    pub serves: bool,
    /// Its webhook, if it has one.
    pub webhook: Option<WebhookSecret>,
}

/// A webhook's path with its secret.
#[derive(Clone)]
pub struct WebhookSecret {
    /// Last part of the URL.
    pub path: String,
    /// The secret.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookSecret").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What the controller and the listener share.
#[derive(Debug)]
pub struct ListenerState {
    pools: RwLock<Vec<ListenedPool>>,
    /// The listener's own connection. A request has it for one statement or two.
    database: Mutex<JobDatabase>,
    /// The counters.
    pub metrics: PoolMetrics,
    /// After how many seconds without a word of its forge a pool is not ready.
    pub ready_within: u64,
}

impl ListenerState {
    /// Opens the database for the listener.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn new(database: &Path, ready_within: u64) -> Result<Self, Error> {
        Ok(Self {
            pools: RwLock::default(),
            database: Mutex::new(JobDatabase::open(database)?),
            metrics: PoolMetrics::default(),
            ready_within,
        })
    }

    /// Replaces the pools.
    pub fn set_pools(&self, pools: Vec<ListenedPool>) {
        *self.pools.write().unwrap_or_else(PoisonError::into_inner) = pools;
    }

    /// Whether a pool is served now.
    pub(crate) fn is_served(&self, name: &str) -> bool {
        let pools = self.pools.read().unwrap_or_else(PoisonError::into_inner);
        pools.iter().any(|pool| pool.name == name)
    }

    /// The pools that have a webhook of this path.
    pub(crate) fn pools_at(&self, path: &str) -> Vec<ListenedPool> {
        let pools = self.pools.read().unwrap_or_else(PoisonError::into_inner);
        let is_there = |pool: &&ListenedPool| pool.webhook.as_ref().is_some_and(|hook| hook.path == path);
        pools.iter().filter(is_there).cloned().collect()
    }

    /// A panic of one request leaves SQLite's connection as it was between two statements.
    pub(crate) fn database(&self) -> MutexGuard<'_, JobDatabase> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ListenedPool {
    /// What it offers to jobs.
    pub fn offer(&self) -> PoolOffer<'_> {
        PoolOffer {
            pool: &self.name,
            labels: &self.labels,
            label_match: self.label_match,
            forge: &self.forge,
            serves: self.serves,
        }
    }
}
