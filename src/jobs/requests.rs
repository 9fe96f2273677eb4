//! What a user may ask of pools and runners: the same from a command and from the API.

use foundry_core::error::{Code, Error};
use foundry_runner::{PoolWish, RunnerWish};

use crate::database::JobDatabase;

/// The most runners of a pool.
const MOST: usize = 500;

impl JobDatabase {
    /// Asks a pool to do something else than its manifest says; `None`: what its manifest says.
    ///
    /// # Errors
    /// [`Code::RunnerPoolUnknown`].
    pub fn ask_mode(&self, pool: &str, mode: Option<PoolWish>) -> Result<(), Error> {
        self.pool_status(pool)?;
        self.set_mode_override(pool, mode)
    }

    /// Asks for other numbers of runners than the manifest's. What is `None` stays.
    ///
    /// # Errors
    /// [`Code::RunnerPoolUnknown`]; [`Code::NumberUnfit`] for numbers that a manifest could not have.
    pub fn ask_size(&self, pool: &str, min_idle: Option<usize>, max: Option<usize>) -> Result<(), Error> {
        let status = self.pool_status(pool)?;
        let (new_min, new_max) = (min_idle.unwrap_or(status.min_idle), max.unwrap_or(status.max));
        if new_max == 0 || new_max > MOST || new_min > new_max {
            let what = format!("pool '{pool}' cannot have {new_min} idle runners and {new_max} in all");
            let rule = format!("a pool has 1 to {MOST} runners, and not more idle ones");
            return Err(Error::new(Code::NumberUnfit, what).because(rule).unchanged());
        }
        self.set_size_override(pool, min_idle, max)
    }

    /// Asks for the numbers of the manifest again.
    ///
    /// # Errors
    /// [`Code::RunnerPoolUnknown`].
    pub fn reset_size(&self, pool: &str) -> Result<(), Error> {
        self.pool_status(pool)?;
        self.clear_size_override(pool)
    }

    /// Asks for other VMs in place of those that a pool has, one after the other. Returns how many there are.
    ///
    /// # Errors
    /// [`Code::RunnerPoolUnknown`].
    pub fn ask_rotation(&self, pool: &str) -> Result<usize, Error> {
        self.pool_status(pool)?;
        let present = self.list_present_runners(Some(pool))?;
        present.iter().try_for_each(|one| self.add_runner_wish(&one.name, RunnerWish::Replace))?;
        Ok(present.len())
    }

    /// Asks for the end of a runner: after its job, or at once.
    ///
    /// # Errors
    /// [`Code::RunnerUnknown`], also if it is gone.
    pub fn ask_end(&self, runner: &str, at_once: bool) -> Result<(), Error> {
        let found = self.find_runner(runner)?.filter(|one| one.gone.is_none());
        if found.is_none() {
            return Err(Error::new(Code::RunnerUnknown, format!("there is no runner '{runner}'")).unchanged());
        }
        self.add_runner_wish(runner, if at_once { RunnerWish::Kill } else { RunnerWish::Leave })
    }
}
