//! What the controller shares with others: the database, in which it finds jobs and wishes, and the listener.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::database::DatabaseArgs;
use super::secret_file::read_secret;
use foundry_core::error::{Code, Error};
use foundry_core::record::RunnerNote;
use foundry_engine::Context;
use foundry_engine::runner::list_pool_vms;
use foundry_jobs::{JobDatabase, PoolOverride, PoolRow};
use foundry_listen::{ApiToken, ListenedPool, Listener, ListenerPlan, ListenerState, WebhookSecret};
use foundry_runner::{
    DemandPlan, EpochSeconds, PoolDemand, PoolOffer, PoolWish, RunnerPoolPlan, RunnerWish, choose_pool,
};

/// The shortest secret of a webhook, in characters.
const SHORTEST_SECRET: usize = 16;
/// After which time without a controller a pool is forgotten, in seconds.
const FORGOTTEN_AFTER: u64 = 3600;
/// For how long jobs and runners are kept that have ended, in seconds: 90 days.
const KEPT_FOR: u64 = 90 * 86_400;
/// How long a job counts that waits for a pool that nobody knows any more, in seconds.
const EXPIRED_AFTER: u64 = 86_400;
/// How often they are looked for: it reads all jobs.
const FORGETS_EVERY: u64 = 3600;

/// Where the controller listens.
#[derive(Debug, Args)]
pub(super) struct ListenArgs {
    /// Address for webhooks, health and metrics, such as 127.0.0.1:9180
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Unix socket for the whole API
    #[arg(long, value_name = "FILE")]
    socket: Option<PathBuf>,
    /// File with a token that opens the API at the address, too
    #[arg(long, value_name = "FILE", requires = "listen")]
    token_file: Option<String>,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// The controller's connections to others.
pub(super) struct ControllerState {
    database: JobDatabase,
    shared: Arc<ListenerState>,
    listener: Option<Listener>,
    /// Whether events can come.
    listens: bool,
    /// Names of the pools that have a manifest.
    described: BTreeSet<String>,
    orders: Orders,
    /// When what is old was forgotten last.
    forgot: EpochSeconds,
}

/// What is asked of all pools.
#[derive(Default)]
struct Orders {
    queued: BTreeMap<String, usize>,
    at_work: BTreeSet<String>,
    runner_wishes: BTreeMap<String, RunnerWish>,
}

/// How a round of a pool went.
pub(super) struct RoundNews {
    /// The VMs that it found.
    pub(super) runners: Vec<(String, RunnerNote)>,
    /// Whether anything was done: then there is more to do soon.
    pub(super) has_acted: bool,
    /// Whether the forge answered.
    pub(super) has_forge: bool,
    /// Why the pool does not work as it should.
    pub(super) trouble: Option<String>,
    /// How many actions failed.
    pub(super) failures: usize,
}

pub(super) fn epoch_now() -> EpochSeconds {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}

impl ControllerState {
    /// Opens the database, and listens.
    ///
    /// # Errors
    /// If one of them cannot be used, or a pool has a webhook and nothing listens for it.
    pub(super) fn start(
        args: &ListenArgs,
        plans: &[RunnerPoolPlan],
        ready_within: u64,
    ) -> Result<Self, Error> {
        let listens = args.listen.is_some() || args.socket.is_some();
        check_listened(plans, listens)?;
        let token = args.token_file.as_deref().map(|file| read_secret(file, "the token of the API", 1));
        let token = token.transpose()?.map(|token| ApiToken::new(&token)).transpose()?;
        let database = args.database.open_for_controller()?;
        let shared = Arc::new(ListenerState::new(&args.database.path()?, ready_within)?);
        let wanted = ListenerPlan { address: args.listen, socket: args.socket.clone(), token };
        let described = BTreeSet::new();
        let mut controller = Self {
            database,
            shared,
            listener: None,
            listens,
            described,
            orders: Orders::default(),
            forgot: 0,
        };
        controller.set_plans(plans)?;
        // Only now: before, it would know no pool.
        controller.listener = listens.then(|| Listener::start(wanted, &controller.shared)).transpose()?;
        Ok(controller)
    }

    /// The address that it listens at.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref().and_then(Listener::address)
    }

    /// Replaces the pools. One that nobody has served for an hour, and that has no VM, is forgotten: a second controller
    /// may have the same database.
    ///
    /// # Errors
    /// If a secret cannot be read; the pools stay as they were.
    pub(super) fn set_plans(&mut self, plans: &[RunnerPoolPlan]) -> Result<(), Error> {
        check_listened(plans, self.listens)?;
        let listened = plans.iter().map(|plan| {
            let (plan, _) = self.order_for(plan)?;
            listened_pool(&plan)
        });
        self.shared.set_pools(listened.collect::<Result<_, Error>>()?);
        let described: BTreeSet<String> = plans.iter().map(|plan| plan.rules.name.clone()).collect();
        for gone in self.described.difference(&described) {
            // What was wanted of it is not wanted of another pool of its name.
            self.database.clear_pool_override(gone)?;
            self.shared.metrics.forget_pool(gone);
        }
        self.described = described;
        let long_ago = epoch_now().saturating_sub(FORGOTTEN_AFTER);
        for pool in self.undescribed_pools()? {
            if pool.seen < long_ago && self.database.list_present_runners(Some(&pool.name))?.is_empty() {
                self.database.forget_pool(&pool.name)?;
            }
        }
        Ok(())
    }

    /// The pools of the database that have no manifest here.
    ///
    /// # Errors
    /// If the database cannot be used.
    fn undescribed_pools(&self) -> Result<Vec<PoolRow>, Error> {
        let mut pools = self.database.list_pools()?;
        pools.retain(|pool| !self.described.contains(&pool.name));
        Ok(pools)
    }

    /// Notes which VMs of pools without a manifest are still there; nobody else looks at them.
    ///
    /// # Errors
    /// If the database cannot be used, or the host's VMs cannot be listed.
    pub(super) fn note_undescribed(&mut self, context: &Context) -> Result<(), Error> {
        let long_ago = epoch_now().saturating_sub(FORGOTTEN_AFTER);
        let mut left = Vec::new();
        for pool in self.undescribed_pools()? {
            if pool.seen < long_ago && !self.database.list_present_runners(Some(&pool.name))?.is_empty() {
                left.push(pool.name);
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        let all = list_pool_vms(context)?;
        for name in left {
            let own = all.iter().filter(|(_, note)| note.pool == name);
            let present: Vec<(String, RunnerNote)> =
                own.map(|(vm, note)| (vm.domain.name.clone(), note.clone())).collect();
            self.database.record_runners(&name, &present, epoch_now())?;
        }
        Ok(())
    }

    /// Lets jobs that wait for a pool that makes no VMs count for one that does.
    fn rechoose_pools(&self, plans: &[RunnerPoolPlan]) -> Result<(), Error> {
        let mut serving = Vec::new();
        for plan in plans {
            let (plan, _) = self.order_for(plan)?;
            if plan.wish == PoolWish::Serve && plan.demand != DemandPlan::Static {
                serving.push(plan);
            }
        }
        let offers: Vec<PoolOffer<'_>> = serving.iter().map(offer_of).collect();
        for row in self.database.list_queued()? {
            let is_served = offers.iter().any(|offer| Some(offer.pool) == row.pool.as_deref());
            if let (false, Some(pool)) = (is_served, choose_pool(&offers, &row.event)) {
                self.database.set_job_pool(&row.event, pool)?;
            }
        }
        Ok(())
    }

    /// Reads what is asked. Without an answer of the database, what was asked last is asked still.
    ///
    /// # Errors
    /// If the database cannot be used.
    pub(super) fn read_orders(&mut self, plans: &[RunnerPoolPlan]) -> Result<(), Error> {
        let now = epoch_now();
        for plan in plans {
            self.database.expire_jobs(&plan.rules.name, now.saturating_sub(plan.queued_for), now)?;
        }
        self.database.expire_forgotten_jobs(now.saturating_sub(EXPIRED_AFTER), now)?;
        self.database.end_lost_jobs(now)?;
        self.rechoose_pools(plans)?;
        if now.saturating_sub(self.forgot) >= FORGETS_EVERY {
            self.database.forget_before(now.saturating_sub(KEPT_FOR))?;
            self.forgot = now;
        }
        self.orders = Orders {
            queued: self.database.count_queued()?,
            at_work: self.database.list_runners_at_work()?,
            runner_wishes: self.database.runner_wishes()?,
        };
        Ok(())
    }

    /// The plan of a pool with what users want in its place, and what is asked of it.
    ///
    /// # Errors
    /// If the database cannot be used.
    pub(super) fn order_for(&self, plan: &RunnerPoolPlan) -> Result<(RunnerPoolPlan, PoolDemand), Error> {
        let PoolOverride { mode, min_idle, max } = self.database.pool_override(&plan.rules.name)?;
        let mut plan = plan.clone();
        plan.wish = mode.unwrap_or(plan.wish);
        plan.rules.max = max.unwrap_or(plan.rules.max);
        // The manifest may have changed since. A pool that learns of no jobs keeps one: nothing would ever make another.
        let least = usize::from(plan.demand == DemandPlan::Static);
        plan.rules.min_idle = min_idle.unwrap_or(plan.rules.min_idle).clamp(least, plan.rules.max);
        let demand = PoolDemand {
            queued: self.orders.queued.get(&plan.rules.name).copied().unwrap_or_default(),
            wish: plan.wish,
            at_work: self.orders.at_work.clone(),
            runner_wishes: self.orders.runner_wishes.clone(),
        };
        Ok((plan, demand))
    }

    /// Notes how a round went.
    ///
    /// # Errors
    /// If the database cannot be used.
    pub(super) fn record_round(&mut self, plan: &RunnerPoolPlan, news: &RoundNews) -> Result<(), Error> {
        let (name, now) = (&plan.rules.name, epoch_now());
        let changes = self.database.record_runners(name, &news.runners, now)?;
        self.database.record_pool(&PoolRow {
            name: name.clone(),
            mode: plan.wish,
            min_idle: plan.rules.min_idle,
            max: plan.rules.max,
            labels: plan.labels.clone(),
            trouble: news.trouble.clone(),
            forge_answered: news.has_forge.then_some(now),
            seen: now,
        })?;
        let metrics = &self.shared.metrics;
        for one in &changes.gone {
            metrics.count_retired(name, one.reason.as_deref().unwrap_or("unknown"));
        }
        changes.started.iter().for_each(|seconds| metrics.observe_start(name, *seconds));
        metrics.count_failures(name, news.failures);
        metrics.show_pool(&self.database.pool_status(name)?);
        Ok(())
    }

    /// Whether a job or a wish was noted since the last look.
    pub(super) fn has_news(&mut self) -> bool {
        // A database that cannot be asked is told of by the next round.
        self.database.has_changed().unwrap_or(false)
    }
}

/// A pool with a webhook needs somebody who listens.
fn check_listened(plans: &[RunnerPoolPlan], listens: bool) -> Result<(), Error> {
    let unheard = plans.iter().find(|plan| plan.demand != DemandPlan::Static).filter(|_| !listens);
    unheard.map_or(Ok(()), |plan| {
        let what = format!("pool '{}' has a webhook, and nothing listens for it", plan.rules.name);
        Err(Error::new(Code::ListenerUnusable, what)
            .hint("name an address that the forge reaches: --listen ADDRESS")
            .unchanged())
    })
}

fn offer_of(plan: &RunnerPoolPlan) -> PoolOffer<'_> {
    PoolOffer {
        pool: &plan.rules.name,
        labels: &plan.labels,
        label_match: plan.label_match,
        forge: &plan.forge,
        serves: plan.wish == PoolWish::Serve,
    }
}

/// A pool, as far as the listener needs it.
///
/// # Errors
/// If the secret of its webhook cannot be used.
pub(super) fn listened_pool(plan: &RunnerPoolPlan) -> Result<ListenedPool, Error> {
    let webhook = match &plan.demand {
        DemandPlan::Static => None,
        DemandPlan::Webhook { path, secret_file } => {
            let what = format!("the webhook's secret of pool '{}'", plan.rules.name);
            let secret = read_secret(secret_file, &what, SHORTEST_SECRET)?.into_bytes();
            Some(WebhookSecret { path: path.clone(), secret })
        }
    };
    Ok(ListenedPool {
        name: plan.rules.name.clone(),
        labels: plan.labels.clone(),
        label_match: plan.label_match,
        forge: plan.forge.clone(),
        serves: plan.wish == PoolWish::Serve,
        webhook,
    })
}
