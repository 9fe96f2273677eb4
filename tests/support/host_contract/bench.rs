//! The bench that a case works on: a host, names of its own, and the broom.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use foundry::host::{Domain, DomainState, Host, HostError, Pool, Volume};
use foundry::record::{METADATA_NAMESPACE, VolumeRef};
use foundry::{Kind, host};
use uuid::Uuid;

/// What a case needs that not every host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Volumes are files, and a missing one is noticed.
    Files,
    /// Upload and download.
    Streams,
    /// Changing a volume's capacity.
    Resize,
    /// Holes of any size, which cost no memory.
    Holes,
    /// EFI firmware with variables of its own.
    Firmware,
    /// CPUs and memory of many domains in one call.
    BulkStats,
    /// Attaching and detaching devices.
    Devices,
    /// Serial consoles.
    Consoles,
    /// Events of domains.
    Events,
    /// Telling apart what a domain without definition cannot have.
    Transience,
}

/// A host under test.
pub(crate) struct Subject<'a> {
    pub(crate) host: &'a dyn Host,
    pub(crate) domain_type: &'a str,
    /// Where pools may have their directories.
    pub(crate) directory: &'a str,
    /// Whether that directory is one of this machine.
    pub(crate) on_disk: bool,
    pub(crate) lacks: &'a [Need],
}

/// One promise of the contract.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) run: fn(&Bench<'_>),
}

/// Makes the table of a module: each function is a case of its own name.
macro_rules! cases {
    ($($name:ident $(needs $($need:ident),+)?;)+) => {
        pub(crate) const CASES: &[$crate::support::host_contract::bench::Case] = &[$($crate::support::host_contract::bench::Case {
            name: stringify!($name),
            needs: &[$($($crate::support::host_contract::bench::Need::$need),+)?],
            run: $name,
        }),+];
    };
}
pub(crate) use cases;

/// Runs all cases and fails with the list of those that failed.
pub(crate) fn run_all(subject: &Subject<'_>) {
    run_tables(
        subject,
        &[
            super::domains::CASES,
            super::running::CASES,
            super::consoles::CASES,
            super::disks::CASES,
            super::snapshots::CASES,
            super::warm::CASES,
            super::events::CASES,
            super::pools::CASES,
            super::volumes::CASES,
            super::transfers::CASES,
        ],
    );
}

/// Those of uploads and downloads alone.
pub(crate) fn run_transfers(subject: &Subject<'_>) {
    run_tables(subject, &[super::transfers::CASES]);
}

fn run_tables(subject: &Subject<'_>, tables: &[&[Case]]) {
    let mut failed = Vec::new();
    for case in tables.iter().copied().flatten() {
        if let Some(need) = case.needs.iter().find(|need| subject.lacks.contains(need)) {
            println!("skipped on {}: {} needs {need:?}", subject.host.uri(), case.name);
        } else if let Err(panic) = run(subject, case) {
            failed.push(format!("{}: {panic}", case.name));
        }
    }
    assert!(failed.is_empty(), "on {}:\n{}", subject.host.uri(), failed.join("\n"));
}

fn run(subject: &Subject<'_>, case: &Case) -> Result<(), String> {
    // Two tests of this program run at once on one libvirtd, and each sweeps away what bears its cases' names.
    static CASES: AtomicUsize = AtomicUsize::new(0);
    let number = CASES.fetch_add(1, Ordering::Relaxed);
    let bench = Bench { subject, prefix: format!("foundry-test-{}-{number}", std::process::id()) };
    let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)(&bench)));
    bench.sweep();
    let text = |panic: Box<dyn std::any::Any + Send>| {
        let owned = panic.downcast_ref::<String>().cloned();
        owned.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
    };
    outcome.map_err(text)?;
    bench.left_over()
}

/// What one case works with. Everything that it makes begins with `prefix`.
pub(crate) struct Bench<'a> {
    subject: &'a Subject<'a>,
    prefix: String,
}

impl Bench<'_> {
    pub(crate) fn host(&self) -> &dyn Host {
        self.subject.host
    }

    pub(crate) fn name(&self, end: &str) -> String {
        format!("{}-{end}", self.prefix)
    }

    /// Directory of the case's pool.
    pub(crate) fn directory(&self, end: &str) -> String {
        format!("{}/{}", self.subject.directory, self.name(end))
    }

    pub(crate) fn on_disk(&self) -> bool {
        self.subject.on_disk
    }

    /// XML of a domain with these disks and this text in foundry's metadata.
    pub(crate) fn domain_xml(
        &self,
        name: &str,
        uuid: Option<Uuid>,
        record: Option<&str>,
        devices: &str,
    ) -> String {
        let arch = self.host().capabilities().unwrap().arch;
        let uuid = uuid.map(|uuid| format!("<uuid>{uuid}</uuid>")).unwrap_or_default();
        let record = record.map(|text| {
            format!("<metadata><f:vm xmlns:f='{METADATA_NAMESPACE}'>{}</f:vm></metadata>", escape(text))
        });
        format!(
            "<domain type='{}'><name>{}</name>{uuid}{}<memory unit='MiB'>64</memory><vcpu>2</vcpu>\
             <os><type arch='{arch}'>hvm</type></os><devices>{devices}</devices></domain>",
            self.subject.domain_type,
            escape(name),
            record.unwrap_or_default(),
        )
    }

    /// Defines a domain without disks.
    pub(crate) fn define(&self, name: &str) -> Uuid {
        self.host().define_domain(&self.domain_xml(name, None, None, "")).unwrap()
    }

    /// Defines and starts a domain without disks: it runs its firmware, and that for ever.
    pub(crate) fn start(&self, name: &str) -> Uuid {
        let uuid = self.define(name);
        self.host().start(uuid).unwrap();
        uuid
    }

    pub(crate) fn domain(&self, name: &str) -> Domain {
        self.host().domain(name).unwrap().unwrap_or_else(|| panic!("there is no domain {name}"))
    }

    pub(crate) fn state(&self, uuid: Uuid) -> DomainState {
        self.host().state(uuid).unwrap().unwrap_or_else(|| panic!("there is no domain {uuid}")).state
    }

    pub(crate) fn define_pool(&self, end: &str) -> String {
        let name = self.name(end);
        self.host().define_pool(&pool_xml(&name, &self.directory(end))).unwrap();
        name
    }

    /// A started pool.
    pub(crate) fn pool(&self) -> String {
        let name = self.define_pool("pool");
        self.host().build_pool(&name).unwrap();
        self.host().start_pool(&name).unwrap();
        name
    }

    pub(crate) fn pool_now(&self, name: &str) -> Pool {
        self.host().pool(name).unwrap().unwrap_or_else(|| panic!("there is no pool {name}"))
    }

    pub(crate) fn volume(&self, pool: &str, name: &str) -> Volume {
        self.host()
            .volume(&VolumeRef::new(pool, name))
            .unwrap()
            .unwrap_or_else(|| panic!("there is no volume {name}"))
    }

    pub(crate) fn create(&self, pool: &str, name: &str, format: &str, capacity: u64) -> Volume {
        self.host().create_volume(pool, &volume_xml(name, format, capacity, None)).unwrap()
    }

    /// Removes everything that the case made, however it ended.
    fn sweep(&self) {
        let host = self.host();
        for domain in host.domains(false).unwrap_or_default().iter().filter(|d| self.owns(&d.name)) {
            complain(host.force_off(domain.uuid));
            complain(host.undefine(domain.uuid));
        }
        for pool in host.pools().unwrap_or_default().iter().filter(|p| self.owns(&p.name)) {
            self.sweep_pool(pool);
        }
        if self.on_disk() {
            self.sweep_directories();
        }
    }

    fn sweep_pool(&self, pool: &Pool) {
        let host = self.host();
        for volume in host.volumes(&pool.name).unwrap_or_default() {
            complain(host.delete_volume(&VolumeRef::new(&pool.name, &volume.name)));
        }
        if pool.active {
            complain(host.stop_pool(&pool.name));
        }
        complain(host.undefine_pool(&pool.name));
    }

    /// Removes what bears the case's name from the directories of this machine: those of pools, and
    /// the logs that libvirt keeps of domains.
    fn sweep_directories(&self) {
        for directory in [self.subject.directory, "/var/log/libvirt/qemu"] {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_name().to_str().is_some_and(|name| self.owns(name)) {
                    let removed = if path.is_dir() {
                        std::fs::remove_dir_all(&path)
                    } else {
                        std::fs::remove_file(&path)
                    };
                    if let Err(error) = removed {
                        println!("while cleaning up: {}: {error}", path.display());
                    }
                }
            }
        }
    }

    fn owns(&self, name: &str) -> bool {
        name.starts_with(&format!("{}-", self.prefix))
    }

    fn left_over(&self) -> Result<(), String> {
        let domains = self.host().domains(false).map_err(|e| e.to_string())?.into_iter().map(|d| d.name);
        let pools = self.host().pools().map_err(|e| e.to_string())?.into_iter().map(|p| p.name);
        let left: Vec<_> = domains.chain(pools).filter(|name| self.owns(name)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:?}")) }
    }
}

fn complain(outcome: host::Result<()>) {
    if let Err(error) = outcome {
        println!("while cleaning up: {error}: {:?}", error.cause());
    }
}

/// Asserts that the host answered and refused, and returns its reason.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(outcome: host::Result<T>, kind: Kind) -> String {
    match outcome {
        Err(HostError::Refused { kind: said, libvirt, .. }) => {
            assert_eq!(said, kind, "{libvirt}");
            libvirt
        }
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) fn pool_xml(name: &str, directory: &str) -> String {
    let (name, directory) = (escape(name), escape(directory));
    format!("<pool type='dir'><name>{name}</name><target><path>{directory}</path></target></pool>")
}

pub(crate) fn volume_xml(name: &str, format: &str, capacity: u64, backing: Option<(&str, &str)>) -> String {
    let backing = backing.map(|(path, format)| {
        format!("<backingStore><path>{}</path><format type='{format}'/></backingStore>", escape(path))
    });
    format!(
        "<volume><name>{}</name><capacity unit='bytes'>{capacity}</capacity><target><format type='{format}'/>\
         <permissions><mode>0600</mode></permissions></target>{}</volume>",
        escape(name),
        backing.unwrap_or_default(),
    )
}

pub(crate) fn file_disk(path: &str, target: &str) -> String {
    format!(
        "<disk type='file' device='disk'><source file='{}'/><target dev='{target}' bus='virtio'/></disk>",
        escape(path)
    )
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;")
}
