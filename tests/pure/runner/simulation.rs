//! Whole lives of pools: jobs come, everything goes wrong, processes are killed anywhere. In the end all jobs are done, none
//! was killed, and nothing is left.

use std::cell::Cell;

use foundry_runner::{Breaker, PoolController, PoolDemand, PoolRules, PoolWish, RunnerWish};

use super::rules;
use super::world::{Dice, FaultRates, World, has_secret, is_live};

/// How far two rounds are apart, in seconds.
const PAUSE: u64 = 5;

struct Run<'a> {
    world: &'a World,
    rules: PoolRules,
    label: String,
}

impl Run<'_> {
    /// Runs rounds until `ends`, with a new process after each kill. Returns whether it ended in time.
    fn rounds(&self, most: usize, wish: PoolWish, ends: impl Fn(&World) -> bool) -> bool {
        let serial = Cell::new(self.world.created() as u64 * 1000 + self.world.now() % 1000);
        let new_name = || {
            serial.set(serial.get() + 1);
            Ok(format!("ci-{:08}", serial.get() % 100_000_000))
        };
        let clock = || self.world.now();
        let mut breaker = Breaker::default();
        for _ in 0..most {
            if ends(self.world) {
                return true;
            }
            // A round that cannot list its VMs does nothing.
            let mut controller = PoolController {
                rules: &self.rules,
                host: self.world,
                forge: self.world,
                new_name: &new_name,
                clock: &clock,
                breaker: &mut breaker,
            };
            let _ = controller.run_round(&self.demand(wish));
            self.check();
            if self.world.restart() {
                breaker = Breaker::default();
            }
            (0..PAUSE).for_each(|_| self.world.pass_second());
        }
        ends(self.world)
    }

    /// Some rounds know by an event who works, and some have a user's wish for a runner, whatever it does.
    fn demand(&self, wish: PoolWish) -> PoolDemand {
        let (working, free) = self.world.names_by_work();
        let mut demand = PoolDemand { queued: self.world.waiting(), wish, ..PoolDemand::default() };
        if self.world.now().is_multiple_of(2) {
            demand.at_work.extend(working.iter().cloned());
        }
        if let Some(nth) = self.world.roll_wish() {
            let asked = [RunnerWish::Leave, RunnerWish::Replace][nth];
            demand.runner_wishes.extend(working.into_iter().chain(free).take(1).map(|name| (name, asked)));
        }
        demand
    }

    fn check(&self) {
        let notes = self.world.notes();
        let live = notes.iter().filter(|note| is_live(note)).count();
        assert!(live <= self.rules.max, "{}: {live} runners", self.label);
        assert!(!notes.iter().any(has_secret), "{}: a secret is in a note", self.label);
        assert_eq!(self.world.killed(), Vec::<String>::new(), "{}", self.label);
    }

    /// Brings the pool to its end without faults.
    fn ends_with_nothing(&self) {
        self.world.set_rates(FaultRates::default());
        self.world.set_forge_down(false);
        let is_served =
            self.rounds(5000, PoolWish::Serve, |world| world.waiting() == 0 && world.working() == 0);
        assert!(is_served, "{}: {} jobs wait, {:#?}", self.label, self.world.waiting(), self.world.notes());
        let is_gone = self.rounds(9000, PoolWish::Drain, |world| {
            world.notes().is_empty() && world.registered_names().iter().all(|name| name.starts_with("other"))
        });
        let left = (self.world.notes(), self.world.registered_names());
        assert!(is_gone, "{}: left {left:#?}", self.label);
        self.check();
    }
}

fn run(world: &World, label: String) -> Run<'_> {
    Run { world, rules: rules(), label }
}

#[test]
fn without_faults_each_job_has_a_vm_of_its_own() {
    let world = World::new(1, FaultRates::default());
    world.queue_jobs(50);
    let run = run(&world, "no faults".into());
    assert!(run.rounds(2000, PoolWish::Serve, |world| world.done() == 50));
    run.ends_with_nothing();
    let spare = run.rules.max;
    assert!((50..=50 + spare).contains(&world.created()), "{} VMs for 50 jobs", world.created());
}

/// The count of runs is bounded by the time of the suite; `FOUNDRY_TEST_FULL` runs more.
#[test]
fn no_job_is_killed_and_nothing_is_left_whatever_fails() {
    let runs = if std::env::var_os("FOUNDRY_TEST_FULL").is_some() { 20_000 } else { 1000 };
    for seed in 0..runs {
        let mut dice = Dice::new(seed + 1_000_000);
        let mut rate = |most: u64| if dice.below(2) == 0 { 0 } else { dice.below(most) };
        let rates = FaultRates {
            before: rate(80),
            after: rate(80),
            silence: rate(200),
            broken: rate(300),
            crash: rate(3),
            lies: 0,
            kills: rate(40),
            arrivals: 0,
            wishes: rate(100),
        };
        let world = World::new(seed, rates);
        world.add_foreign("other-1");
        world.add_foreign("other-ci-12345678");
        let run = run(&world, format!("seed {seed}, {rates:?}"));
        let total = 5 + dice.below(20) as usize;
        for _ in 0..4 {
            world.queue_jobs(total / 4 + 1);
            world.set_forge_down(dice.below(5) == 0);
            run.rounds(20 + dice.below(60) as usize, PoolWish::Serve, |_| false);
            match dice.below(6) {
                0 => world.cut_power(dice.below(4) as usize),
                1 => world.undefine(dice.below(4) as usize),
                2 => drop(run.rounds(20, PoolWish::Pause, |_| false)),
                3 => drop(run.rounds(20, PoolWish::Drain, |_| false)),
                _ => {}
            }
        }
        run.ends_with_nothing();
        assert!(world.registered_names().len() == 2, "{}: others' registrations stay", run.label);
        assert!(world.done() >= 4 * (total / 4 + 1), "{}: {} jobs done", run.label, world.done());
    }
}

/// A forge that forgets a busy runner must not end its job: its guest says that it works.
#[test]
fn the_forges_word_alone_ends_no_job() {
    for seed in 0..100 {
        let world = World::new(seed, FaultRates { lies: 1000, arrivals: 30, ..FaultRates::default() });
        let mut run = run(&world, format!("seed {seed}, a forge that lies"));
        run.rules.min_idle = 2;
        // Jobs come at any second, also between a look at a runner and its end.
        for _ in 0..20 {
            run.rounds(12, PoolWish::Serve, |_| false);
            run.rounds(4, PoolWish::Drain, |_| false);
        }
        run.ends_with_nothing();
    }
}

#[test]
fn a_forge_that_is_away_empties_no_pool() {
    let world = World::new(3, FaultRates::default());
    let mut run = run(&world, "a forge that is away".into());
    run.rules.min_idle = 3;
    let is_idle = |world: &World| world.notes().iter().filter(|n| n.state.as_str() == "idle").count() == 3;
    assert!(run.rounds(200, PoolWish::Serve, is_idle));
    world.set_forge_down(true);
    run.rules.min_idle = 0;
    run.rules.timeouts.idle = 1;
    // For two hours.
    run.rounds(1440, PoolWish::Drain, |_| false);
    assert!(is_idle(&world), "{:#?}", world.notes());
    run.ends_with_nothing();
}

#[test]
fn an_image_that_never_boots_is_not_tried_for_ever() {
    let world = World::new(4, FaultRates { broken: 1000, ..FaultRates::default() });
    world.queue_jobs(4);
    let run = run(&world, "a broken image".into());
    // For four hours: two at a time for 5 minutes, then one at a time with 5 minutes between them.
    run.rounds(2880, PoolWish::Serve, |_| false);
    assert!(world.created() < 40, "{} VMs in four hours", world.created());
    world.set_rates(FaultRates::default());
    run.ends_with_nothing();
}

#[test]
fn a_pool_at_rest_asks_the_forge_once_in_a_round() {
    let world = World::new(5, FaultRates::default());
    let run = run(&world, "at rest".into());
    assert!(
        run.rounds(200, PoolWish::Serve, |world| world.notes().iter().any(|n| n.state.as_str() == "idle"))
    );
    let before = world.forge_calls();
    run.rounds(100, PoolWish::Serve, |_| false);
    assert_eq!(world.forge_calls() - before, 100);
}
