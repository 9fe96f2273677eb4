//! What the tests of operations share: a host in memory with neighbours on it, a clock that does not
//! wait, and a way to run the verbs.

use super::shown::Shown;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::manifests::{WEB, plan};
use foundry::host::local::Lease;
use foundry::host::memory::{Fingerprint, MemoryHost};
use foundry::host::{Bridge, Domains};
use foundry::operations::disk::{AttachRequest, DiskContent};
use foundry::operations::vm::create::{CreatedVm, create_vm};
use foundry::operations::vm::destroy::{DestroyOptions, DestroyPlan, execute_destroy, plan_destroy};
use foundry::operations::{Cancel, Clock, Context, Event, Progress, Settings};
use foundry::plan::{DiskFormat, VmPlan};
use foundry::record::{Owner, Record};
use foundry::units::Bytes;
use foundry::{Error, words};
use serde_json::Value;

/// Bytes of a gibibyte.
pub(crate) const GIB: u64 = 1 << 30;

/// A host and everything that an operation is given beside it.
pub(crate) struct Bench {
    pub(crate) host: MemoryHost,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) told: Arc<Told>,
    pub(crate) cancel: Cancel,
    /// The one operation that all of it belongs to.
    pub(crate) lease: Arc<Lease>,
    /// The host when the bench was handed out.
    pub(crate) start: Option<Fingerprint>,
}

impl Bench {
    pub(crate) fn on(host: MemoryHost) -> Self {
        Self {
            host,
            settings: Settings::default(),
            clock: Arc::default(),
            told: Arc::default(),
            cancel: Cancel::default(),
            lease: Arc::default(),
            start: None,
        }
    }

    /// With both default pools, an image, and neighbours that nothing may touch.
    pub(crate) fn new() -> Self {
        static HOST: OnceLock<MemoryHost> = OnceLock::new();
        Self::on(HOST.get_or_init(host_with_neighbours).fork())
    }

    /// With `web` created and running.
    pub(crate) fn with_web() -> Self {
        let mut bench = Self::new();
        bench.create(&plan(WEB)).unwrap();
        bench.host.forget_calls();
        bench.told.forget();
        bench.start = Some(bench.host.fingerprint());
        bench
    }

    /// Another bench in the same state: what many faults begin with is made once.
    pub(crate) fn fork(&self) -> Self {
        Self {
            host: self.host.fork(),
            settings: self.settings.clone(),
            clock: Arc::new(TestClock { now: Mutex::new(self.clock.elapsed()), least: self.clock.least }),
            told: Arc::default(),
            cancel: Cancel::default(),
            lease: self.lease.clone(),
            start: self.start.clone(),
        }
    }

    pub(crate) fn context(&self) -> Context {
        Context {
            host: Arc::new(self.host.clone()),
            settings: Arc::new(self.settings.clone()),
            progress: self.told.clone(),
            clock: self.clock.clone(),
            cancel: self.cancel.clone(),
            lease: self.lease.clone(),
        }
    }

    pub(crate) fn create(&self, plan: &VmPlan) -> Result<CreatedVm, Error> {
        create_vm(&self.context(), plan)
    }

    pub(crate) fn survey(&self, name: &str, options: DestroyOptions) -> Result<DestroyPlan, Error> {
        plan_destroy(&self.context(), name, options)
    }

    pub(crate) fn destroy(&self, name: &str, options: DestroyOptions) -> Result<(), Error> {
        execute_destroy(&self.context(), &self.survey(name, options)?)
    }

    /// The record of a VM as it stands in libvirt.
    pub(crate) fn record(&self, name: &str) -> Record {
        let text = self.host.domain(name).unwrap().unwrap().record;
        let Owner::Foundry(record) = Owner::parse_metadata(text.as_deref()) else {
            panic!("{text:?} is no record")
        };
        *record
    }

    /// Changes the record of a VM, if there is one.
    pub(crate) fn edit_record(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let Some(domain) = self.host.domain(name).unwrap() else { return };
        let Some(text) = domain.record else { return };
        let mut record = serde_json::from_str(&text).unwrap();
        edit(&mut record);
        self.host.set_record(domain.uuid, &record.to_string()).unwrap();
    }

    /// Lets the process that made a VM have ended: the tests are one process, foundry is one each time.
    pub(crate) fn bury_maker(&self, name: &str) {
        self.edit_record(name, |record| record["maker"]["started"] = 1.into());
    }

    /// The next operation of a process that goes on.
    pub(crate) fn next_operation(&mut self) {
        self.host.heal();
        self.cancel = Cancel::default();
        self.lease = Arc::default();
    }

    /// The next run of foundry, after this one ended in whatever way.
    pub(crate) fn next_run(&mut self, name: &str) {
        self.host.heal();
        self.cancel = Cancel::default();
        self.bury_maker(name);
    }
}

/// How most tests destroy.
pub(crate) const GENTLE: DestroyOptions =
    DestroyOptions { force: false, keep_disks: false, timeout: Duration::from_secs(5) };
/// With `--force`.
pub(crate) const FORCE: DestroyOptions = DestroyOptions { force: true, ..GENTLE };
/// With `--keep-disks`.
pub(crate) const KEEP: DestroyOptions = DestroyOptions { keep_disks: true, ..GENTLE };

/// Another run of foundry on the same host. Nothing changes while it waits, so a second is as good as the hundred looks
/// at a lock that it would take.
pub(crate) fn as_rival<T>(host: &MemoryHost, act: impl FnOnce(&Context) -> T) -> T {
    let clock = Arc::new(TestClock { least: Duration::from_secs(1), ..TestClock::default() });
    act(&Bench { clock, ..Bench::on(host.clone()) }.context())
}

/// The wish for a new disk of that VM's, of so many GiB and with nothing else said.
pub(crate) fn disk_request(vm: &str, gib: u64) -> AttachRequest<'_> {
    AttachRequest {
        vm,
        content: DiskContent::New { size: Bytes(gib * GIB), format: DiskFormat::Qcow2 },
        device: None,
        serial: None,
        at_next_start: false,
    }
}

/// What [`Bench::new`] has.
pub(crate) fn neighbours_alone() -> &'static Fingerprint {
    static ALONE: OnceLock<Fingerprint> = OnceLock::new();
    ALONE.get_or_init(|| host_with_neighbours().fingerprint())
}

/// Volumes and domains whose names begin like `web`'s, an image, a domain of somebody else's.
pub(crate) fn host_with_neighbours() -> MemoryHost {
    MemoryHost::new()
        .with_pool("foundry-vms", "/pool/vms")
        .with_pool("foundry-images", "/pool/images")
        .with_image("foundry-images", "debian-12", "qcow2", 2 * GIB)
        .with_image("foundry-images", "web_boot", "qcow2", 2 * GIB)
        .with_image("foundry-vms", "web_1_boot", "qcow2", GIB)
        .with_image("foundry-vms", "web_data-vdx", "qcow2", GIB)
        .with_image("foundry-vms", "web_boot.qcow2", "qcow2", GIB)
        .with_bridges(&[bridge("br0", false), bridge("br1", true)])
        .with_network("default", true)
        .with_foreign_domain(&foreign("other", "/pool/vms/web_1_boot"))
}

pub(crate) fn bridge(name: &str, filters_vlans: bool) -> Bridge {
    Bridge { name: name.into(), filters_vlans, ..Bridge::default() }
}

/// A domain that foundry did not make, with one disk. Its UUID follows from its name, so that two hosts
/// with it compare equal.
pub(crate) fn foreign(name: &str, disk: &str) -> String {
    let number = name.bytes().fold(7_u128, |sum, byte| sum * 131 + u128::from(byte));
    let uuid = uuid::Uuid::from_u128(number);
    format!(
        "<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid><memory unit='GiB'>1</memory><vcpu>1</vcpu>\
         <os><type>hvm</type></os><devices><disk type='file' device='disk'><source file='{disk}'/>\
         <target dev='vda'/></disk></devices></domain>"
    )
}

/// A clock that moves only when somebody sleeps.
#[derive(Default)]
pub(crate) struct TestClock {
    now: Mutex<Duration>,
    /// The shortest sleep.
    least: Duration,
}

impl Clock for TestClock {
    fn timestamp(&self) -> String {
        let seconds = self.elapsed().as_secs();
        format!("2026-01-02T03:{:02}:{:02}Z", seconds / 60 % 60, seconds % 60)
    }

    fn elapsed(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn sleep(&self, time: Duration) {
        *self.now.lock().unwrap() += time.max(self.least);
    }
}

/// Everything that was told on the way.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<Event>>);

impl Progress for Told {
    fn on_event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Told {
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap().clear();
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.pick(|event| match event {
            Event::Warning { message, advice } => Some(words::with_advice(message, advice.as_ref())),
            _ => None,
        })
    }

    pub(crate) fn done(&self) -> Vec<String> {
        self.pick(
            |event| if let Event::Finished(step) = event { Some(words::render_finished(step)) } else { None },
        )
    }

    pub(crate) fn bytes(&self) -> Vec<(u64, Option<u64>)> {
        self.pick(|event| if let Event::Bytes { done, total } = event { Some((*done, *total)) } else { None })
    }

    fn pick<T>(&self, choose: impl Fn(&Event) -> Option<T>) -> Vec<T> {
        self.0.lock().unwrap().iter().filter_map(choose).collect()
    }
}

/// What an error says, all of it.
pub(crate) fn whole(error: &Error) -> String {
    let hint = error.hint_text().map(|h| format!("\nhint: {h}")).unwrap_or_default();
    format!("{}{hint}\n{}", error.text(), error.outcome_texts().join("\n"))
}
