//! Single decisions.

use foundry::record::{RetireReason, RunnerNote, RunnerState};
use foundry_runner::{
    Action, DomainFact, GuestFact, PoolWish, Registration, RunnerPoolView, RunnerView, RunnerWish, StartGate,
    decide,
};

use super::rules;

const NOW: u64 = 1_800_000_000;

fn view(runners: Vec<RunnerView>) -> RunnerPoolView {
    RunnerPoolView {
        runners,
        registrations: Some(Vec::new()),
        queued: 0,
        wish: PoolWish::Serve,
        room: None,
        gate: StartGate::Open,
    }
}

fn runner(name: &str, state: RunnerState, age: u64) -> RunnerView {
    let note = RunnerNote {
        registration: Some(format!("r-{name}")),
        handed_over: true,
        ..RunnerNote::new("ci", "t1", NOW - age)
    };
    let note = RunnerNote { since: NOW - age, ..note.moved(state, NOW - age) };
    RunnerView {
        name: name.into(),
        note,
        domain: DomainFact::Running,
        guest: GuestFact::Waiting,
        has_job: false,
        wish: None,
    }
}

fn registration(name: &str, busy: bool) -> Registration {
    Registration {
        id: format!("r-{name}"),
        name: name.into(),
        online: true,
        busy,
        labels: vec!["foundry-here".into()],
    }
}

fn moved(name: &str, to: RunnerState, reason: RetireReason) -> Action {
    Action::Move { name: name.into(), to, reason: Some(reason) }
}

#[test]
fn starts_are_bounded_by_demand_maximum_room_and_each_other() {
    for (queued, room, coming, made) in [
        (0, None, 0, 1),
        (1, None, 0, 2),
        (9, None, 0, 2),
        (9, None, 1, 1),
        (9, None, 2, 0),
        (9, Some(1), 0, 1),
    ] {
        let runners = (0..coming).map(|n| runner(&format!("ci-0000000{n}"), RunnerState::Creating, 1));
        let runners = runners.map(|r| RunnerView { domain: DomainFact::BeingMade, ..r }).collect();
        let view = RunnerPoolView { queued, room, ..view(runners) };
        let creates = decide(&rules(), &view, NOW).into_iter().filter(|a| *a == Action::Create).count();
        assert_eq!(creates, made, "{queued} queued, room {room:?}, {coming} on their way");
    }
    for (wish, gate, made) in [
        (PoolWish::Pause, StartGate::Open, 0),
        (PoolWish::Drain, StartGate::Open, 0),
        (PoolWish::Serve, StartGate::Held, 0),
        (PoolWish::Serve, StartGate::Trial, 1),
    ] {
        let view = RunnerPoolView { queued: 9, wish, gate, ..view(Vec::new()) };
        assert_eq!(decide(&rules(), &view, NOW).len(), made, "{wish:?} {gate:?}");
    }
    let away = RunnerPoolView { queued: 9, registrations: None, ..view(Vec::new()) };
    assert_eq!(decide(&rules(), &away, NOW), []);
}

#[test]
fn a_retirement_looks_fences_and_asks_before_it_deletes() {
    let drained_for = |age, guest, fenced, busy| {
        let mut one = runner("ci-aaaaaaaa", RunnerState::Draining, age);
        (one.guest, one.note.fenced, one.note.reason) = (guest, fenced, Some(RetireReason::Surplus));
        let registrations = Some(vec![registration("ci-aaaaaaaa", busy)]);
        let mut actions = decide(&rules(), &RunnerPoolView { registrations, ..view(vec![one]) }, NOW);
        actions.retain(|action| *action != Action::Create);
        actions
    };
    let drained = |guest, fenced, busy| drained_for(10, guest, fenced, busy);
    let name = || "ci-aaaaaaaa".to_owned();
    let to_busy = vec![Action::Unfence { name: name(), then: RunnerState::Busy }];
    assert_eq!(drained(GuestFact::Waiting, false, false), [Action::Fence { name: name() }]);
    assert_eq!(drained(GuestFact::Working, false, false), to_busy);
    assert_eq!(drained(GuestFact::Working, true, false), to_busy);
    assert_eq!(drained(GuestFact::Waiting, true, true), to_busy);
    assert_eq!(drained(GuestFact::Silent, true, false), [], "it may work");
    assert_eq!(
        drained_for(4, GuestFact::Waiting, true, false),
        [],
        "a job may have come just before the fence"
    );
    let asked = Action::Unregister { name: name(), id: "r-ci-aaaaaaaa".into(), then: RunnerState::Deleting };
    assert_eq!(drained(GuestFact::Waiting, true, false), [asked]);
}

#[test]
fn idle_runners_end_for_one_reason_at_a_time() {
    let idle = |name: &str, age| runner(name, RunnerState::Idle, age);
    let all = ["ci-aaaaaaaa", "ci-bbbbbbbb", "ci-cccccccc"];
    let ended = |runners: Vec<RunnerView>| {
        let registrations = Some(runners.iter().map(|r| registration(&r.name, false)).collect());
        let mut rules = rules();
        rules.min_idle = 2;
        decide(&rules, &RunnerPoolView { registrations, ..view(runners) }, NOW)
    };
    assert_eq!(ended(all.map(|name| idle(name, 60)).into()), [], "not idle for long");
    let surplus = moved("ci-bbbbbbbb", RunnerState::Draining, RetireReason::Surplus);
    let runners = vec![idle(all[0], 60), idle(all[1], 4000), idle(all[2], 3000)];
    assert_eq!(ended(runners), [surplus], "the one that has waited longest");
    let mut outdated = [idle(all[0], 60), idle(all[1], 60)];
    outdated.iter_mut().for_each(|r| r.note.template = "t0".into());
    let one = moved("ci-aaaaaaaa", RunnerState::Draining, RetireReason::Outdated);
    assert_eq!(ended(outdated.to_vec()), [one], "one at a time");
    let mut old = [idle(all[0], 60), idle(all[1], 60)];
    old[1].note.made = NOW - 50_000;
    let aged = moved("ci-bbbbbbbb", RunnerState::Draining, RetireReason::Age);
    assert_eq!(ended(old.to_vec()), [aged]);
}

#[test]
fn only_own_registrations_without_a_vm_are_swept() {
    let one = |name: &str, label: &str, online, busy| Registration {
        id: name.into(),
        name: name.into(),
        online,
        busy,
        labels: vec![label.into()],
    };
    let registrations = Some(vec![
        one("ci-00000001", "foundry-here", false, false),
        one("ci-00000002", "foundry-there", false, false),
        one("ci-00000003", "foundry-here", true, false),
        one("ci-00000004", "foundry-here", false, true),
        one("cix-00000005", "foundry-here", false, false),
        one("ci-short", "foundry-here", false, false),
        one("ci-aaaaaaaa", "foundry-here", false, false),
    ]);
    let view = RunnerPoolView { registrations, ..view(vec![runner("ci-aaaaaaaa", RunnerState::Failed, 1)]) };
    let swept: Vec<Action> =
        decide(&rules(), &view, NOW).into_iter().filter(|a| matches!(a, Action::Sweep { .. })).collect();
    assert_eq!(swept, [Action::Sweep { id: "ci-00000001".into() }]);
}

/// Each state but those of a working pool has an end without any event.
#[test]
fn no_state_waits_for_ever() {
    for state in RunnerState::ALL {
        for guest in [GuestFact::Silent, GuestFact::WithoutRunner, GuestFact::Waiting] {
            let mut one = runner("ci-aaaaaaaa", state, 100_000);
            (one.guest, one.note.attempts, one.note.fenced) = (guest, 3, true);
            one.note.made = NOW;
            let actions = decide(&rules(), &view(vec![one]), NOW);
            let moves = actions.iter().any(|action| !matches!(action, Action::Create | Action::Sweep { .. }));
            // It may wait for a job as long as it is wanted; a silent one is replaced by its age.
            let may_wait = state == RunnerState::Idle && guest == GuestFact::Silent;
            assert_eq!(moves, !may_wait, "{state} {guest:?}: {actions:?}");
        }
    }
}

/// What an action does to a runner's state.
fn moves(runners: Vec<RunnerView>) -> Vec<(String, RunnerState)> {
    let registrations = Some(runners.iter().map(|r| registration(&r.name, false)).collect());
    let mut rules = rules();
    rules.min_idle = runners.len();
    let actions = decide(&rules, &RunnerPoolView { registrations, ..view(runners) }, NOW);
    actions
        .into_iter()
        .filter_map(|action| if let Action::Move { name, to, .. } = action { Some((name, to)) } else { None })
        .collect()
}

#[test]
fn a_users_wish_ends_a_runner_after_its_job_unless_it_is_to_be_killed() {
    let wanted = |state, wish| {
        let one =
            RunnerView { wish: Some(wish), guest: GuestFact::Working, ..runner("ci-aaaaaaaa", state, 10) };
        let free = if state == RunnerState::Busy { GuestFact::Working } else { GuestFact::Waiting };
        moves(vec![RunnerView { guest: free, ..one }]).into_iter().map(|(_, to)| to).collect::<Vec<_>>()
    };
    assert_eq!(wanted(RunnerState::Busy, RunnerWish::Leave), []);
    assert_eq!(wanted(RunnerState::Busy, RunnerWish::Replace), []);
    assert_eq!(wanted(RunnerState::Busy, RunnerWish::Kill), [RunnerState::Draining]);
    for wish in [RunnerWish::Replace, RunnerWish::Leave, RunnerWish::Kill] {
        assert_eq!(wanted(RunnerState::Idle, wish), [RunnerState::Draining], "{wish:?}");
    }
    let silent = RunnerView {
        guest: GuestFact::Silent,
        wish: Some(RunnerWish::Leave),
        ..runner("ci-aaaaaaaa", RunnerState::Booting, 10)
    };
    assert_eq!(moves(vec![silent]), [("ci-aaaaaaaa".to_owned(), RunnerState::Deleting)]);
    // Two are asked to be replaced: one at a time. Two are asked to leave: both.
    for (wish, count) in [(RunnerWish::Replace, 1), (RunnerWish::Leave, 2)] {
        let both = ["ci-aaaaaaaa", "ci-bbbbbbbb"]
            .map(|name| RunnerView { wish: Some(wish), ..runner(name, RunnerState::Idle, 10) });
        assert_eq!(moves(both.into()).len(), count, "{wish:?}");
    }
}

/// The forge's event comes before its list shows it.
#[test]
fn a_runner_whose_job_began_is_busy_whatever_the_list_says() {
    for state in [RunnerState::Starting, RunnerState::Idle] {
        let one = RunnerView { has_job: true, ..runner("ci-aaaaaaaa", state, 10) };
        assert_eq!(moves(vec![one]), [("ci-aaaaaaaa".to_owned(), RunnerState::Busy)]);
    }
    let draining = RunnerView { has_job: true, ..runner("ci-aaaaaaaa", RunnerState::Draining, 10) };
    let registrations = Some(vec![registration("ci-aaaaaaaa", false)]);
    let actions = decide(&rules(), &RunnerPoolView { registrations, ..view(vec![draining]) }, NOW);
    assert!(
        actions.contains(&Action::Unfence { name: "ci-aaaaaaaa".into(), then: RunnerState::Busy }),
        "{actions:?}"
    );
}
