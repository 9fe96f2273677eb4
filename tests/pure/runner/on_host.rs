//! A pool on a host in memory, through the engine and a guest's agent: a fault at every call of its whole life.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foundry::Error;
use foundry::host::AgentAnswer;
use foundry::host::memory::{Effect, Guest};
use foundry::manifest;
use foundry::operations::runner::{PoolHost, list_pool_vms};
use foundry::record::RunnerState;
use foundry_runner::{
    Breaker, Forge, ForgeError, ForgeFailure, PoolController, PoolDemand, PoolRules, PoolWish,
    RegisteredRunner, Registration, Removal, RunnerGuestPlan,
};
use serde_json::{Value, json};

use super::rules;
use crate::support::bench::{Bench, neighbours_alone};

/// A round every half minute, so that what waits for a time does not take long.
const PAUSE: u64 = 30;

const TEMPLATE: &str = "
apiVersion: foundry.cofront.xyz/v1alpha1
kind: VirtualMachine
metadata: {name: ci}
spec:
  vcpus: 1
  memoryGiB: 1
  bootDisk: {sizeGiB: 10, image: debian-12}
  networkInterfaces: [{network: default}]
  autostart: false
  cloudInit: {}
";

/// A forge that does what it is asked; a runner is online as soon as it is registered.
#[derive(Default)]
struct PlainForge(Mutex<BTreeMap<String, ()>>);

impl PlainForge {
    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

impl Forge for PlainForge {
    fn list_registrations(&self) -> Result<Vec<Registration>, ForgeError> {
        let one = |name: String| Registration {
            id: name.clone(),
            name,
            online: true,
            busy: false,
            labels: vec!["foundry-here".into()],
        };
        Ok(self.names().into_iter().map(one).collect())
    }

    fn register_runner(&self, name: &str) -> Result<RegisteredRunner, ForgeError> {
        if self.0.lock().unwrap().insert(name.to_owned(), ()).is_some() {
            return Err(ForgeError { failure: ForgeFailure::NameTaken, message: String::new() });
        }
        Ok(RegisteredRunner { id: name.to_owned(), configuration: format!("secret of {name}") })
    }

    fn remove_registration(&self, id: &str) -> Result<Removal, ForgeError> {
        self.0.lock().unwrap().remove(id);
        Ok(Removal::Removed)
    }
}

/// What a guest's agent keeps.
#[derive(Default)]
struct AgentMemory {
    outputs: HashMap<i64, &'static str>,
    has_runner: bool,
    written: Vec<u8>,
}

/// An agent that knows foundry's scripts by their parts.
fn answer(memory: &Mutex<AgentMemory>, command: &str) -> AgentAnswer {
    let mut memory = memory.lock().unwrap();
    let asked: Value = serde_json::from_str(command).unwrap();
    let returned = match asked["execute"].as_str().unwrap() {
        "guest-ping" | "guest-file-close" => json!({}),
        "guest-file-open" => json!(7),
        "guest-file-write" => {
            let bytes = STANDARD.decode(asked["arguments"]["buf-b64"].as_str().unwrap()).unwrap();
            memory.written.extend(&bytes);
            json!({ "count": bytes.len() })
        }
        "guest-exec" => {
            let script = asked["arguments"]["arg"][1].as_str().unwrap();
            let output = if script.contains("mktemp") {
                "/run/foundry-runner/config.abcdefgh"
            } else if script.contains("setsid") {
                assert!(memory.written.starts_with(b"secret of ci-"), "{:?}", memory.written);
                memory.has_runner = true;
                ""
            } else if memory.has_runner {
                "waiting"
            } else {
                "none"
            };
            let pid = i64::try_from(memory.outputs.len()).unwrap() + 100;
            memory.outputs.insert(pid, output);
            json!({ "pid": pid })
        }
        "guest-exec-status" => {
            let output = memory.outputs[&asked["arguments"]["pid"].as_i64().unwrap()];
            json!({ "exited": true, "exitcode": 0, "out-data": STANDARD.encode(output) })
        }
        other => panic!("{other}"),
    };
    AgentAnswer::Returned(json!({ "return": returned }).to_string())
}

struct Life<'a> {
    bench: &'a Bench,
    forge: PlainForge,
    now: Cell<u64>,
    made: Cell<usize>,
    fault: Cell<bool>,
}

impl Life<'_> {
    fn rules(&self) -> PoolRules {
        PoolRules { max: 1, ..rules() }
    }

    /// Runs rounds until `ends`; whether that came. After a fault the process is a new one.
    fn rounds(&self, wish: PoolWish, ends: impl Fn(&Self) -> bool) -> bool {
        let template = manifest::load_text(TEMPLATE, "template").unwrap().remove(0);
        let guest = RunnerGuestPlan {
            user: "runner".into(),
            directory: "/home/runner".into(),
            run: "./run.sh".into(),
            busy: "false".into(),
        };
        let context = self.bench.context();
        let defaults = context.settings.defaults(None);
        let host = PoolHost { context, pool: "ci".into(), template, defaults, guest };
        let new_name = || -> Result<String, Error> {
            let name = format!("ci-{:08}", self.made.get());
            self.made.set(self.made.get() + 1);
            let memory = Mutex::<AgentMemory>::default();
            self.bench.host.set_guest(&name, Guest::new().agent(move |command| answer(&memory, command)));
            Ok(name)
        };
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            if ends(self) {
                return true;
            }
            let (rules, clock) = (self.rules(), || self.now.get());
            let mut controller = PoolController {
                rules: &rules,
                host: &host,
                forge: &self.forge,
                new_name: &new_name,
                clock: &clock,
                breaker: &mut breaker,
            };
            // A round that cannot list its VMs does nothing.
            let _ = controller.run_round(&PoolDemand { wish, ..PoolDemand::default() });
            if self.bench.host.fault_hit() {
                self.fault.set(true);
                self.bench.host.heal();
                breaker = Breaker::default();
            }
            self.now.set(self.now.get() + PAUSE);
        }
        false
    }

    /// The states of the VMs; `None` if the fault hits this look.
    fn states(&self) -> Option<Vec<RunnerState>> {
        let vms = list_pool_vms(&self.bench.context()).ok()?;
        Some(vms.into_iter().map(|(_, note)| note.state).collect())
    }
}

/// A pool comes up to one idle runner, and ends. Returns whether the fault was met.
fn live(bench: &Bench, label: &str) -> bool {
    let life = Life {
        bench,
        forge: PlainForge::default(),
        now: Cell::new(1_800_000_000),
        made: Cell::new(1),
        fault: Cell::new(false),
    };
    let is_idle = |life: &Life<'_>| life.states().as_deref() == Some(&[RunnerState::Idle]);
    assert!(life.rounds(PoolWish::Serve, is_idle), "{label}: {:?}", life.states());
    assert_eq!(life.forge.names().len(), 1, "{label}");
    let is_gone = |life: &Life<'_>| {
        life.states().is_some_and(|states| states.is_empty()) && life.forge.names().is_empty()
    };
    assert!(life.rounds(PoolWish::Drain, is_gone), "{label}: {:?} {:?}", life.states(), life.forge.names());
    assert_eq!(bench.host.changes_since(neighbours_alone()), Vec::<String>::new(), "{label}");
    life.fault.get()
}

#[test]
fn a_fault_at_each_call_of_a_life_leaves_nothing() {
    let is_full = std::env::var("FOUNDRY_TEST_FULL").as_deref() == Ok("1");
    let fixture = Bench::new();
    let calls = {
        let bench = fixture.fork();
        bench.host.forget_calls();
        live(&bench, "no fault");
        bench.host.call_count()
    };
    assert!(calls > 60, "{calls} calls");
    let mut faults = 0;
    for (fault, effect) in Effect::ALL.into_iter().enumerate() {
        for n in (0..calls).filter(|n| is_full || (n + fault).is_multiple_of(Effect::ALL.len())) {
            let bench = fixture.fork();
            bench.host.forget_calls();
            bench.host.fail_at(n, effect);
            faults += usize::from(live(&bench, &format!("{effect:?} at call {n}")));
        }
    }
    let due = if is_full { calls * Effect::ALL.len() } else { calls };
    assert!(faults * 10 > due * 9, "{faults} faults of {due}");
}
