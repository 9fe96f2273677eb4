//! Who waits for another foundry and does not get its turn changes nothing.

use foundry::record::VolumeRef;
use std::sync::Arc;
use std::time::Duration;

use crate::support::bench::{Bench, GENTLE, TestClock, Told, disk_request, whole};
use crate::support::manifests::{WEB, plan};
use crate::support::shown::Shown;
use foundry::host::memory::MemoryHost;
use foundry::operations::disk::{attach, detach, plan_detach};
use foundry::operations::vm::{create, destroy};
use foundry::operations::{Cancel, Clock, Context, Event, Progress, image};
use foundry::{Error, Kind};

const NOTHING: [&str; 0] = [];

/// Another foundry that begins to work on everything when this one says so, and asks to stop while that is waited for.
struct Rival {
    host: MemoryHost,
    told: Arc<Told>,
    begins: &'static str,
    stops: bool,
    clock: TestClock,
    cancel: Cancel,
}

impl Rival {
    fn of(bench: &Bench, begins: &'static str, stops: bool) -> Arc<Self> {
        let (host, told) = (bench.host.clone(), bench.told.clone());
        Arc::new(Self { host, told, begins, stops, clock: TestClock::default(), cancel: Cancel::default() })
    }

    fn context(self: &Arc<Self>) -> Context {
        Context {
            host: Arc::new(self.host.clone()),
            settings: Arc::default(),
            progress: self.clone(),
            clock: self.clone(),
            cancel: self.cancel.clone(),
            lease: Arc::default(),
        }
    }
}

impl Progress for Rival {
    fn on_event(&self, event: Event) {
        let (Event::Begins(said) | Event::Working(said) | Event::Done(said)) = &event else { return };
        if said.starts_with(self.begins) {
            self.host.set_busy(true);
        }
        self.told.on_event(event);
    }
}

impl Clock for Rival {
    fn timestamp(&self) -> String {
        self.clock.timestamp()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn sleep(&self, time: Duration) {
        self.clock.sleep(time);
        // Only a wait for a turn takes so short steps.
        if self.stops && time < Duration::from_millis(50) && !self.cancel.is_requested() {
            self.cancel.request();
        }
    }
}

fn creates(context: &Context) -> Result<(), Error> {
    create::create_vm(context, &plan(WEB)).map(drop)
}

fn deletes(context: &Context) -> Result<(), Error> {
    image::delete_image(context, &VolumeRef::new("foundry-images", "debian-12"))
}

/// The rival may be right before the deletion of the image.
#[test]
fn no_image_is_deleted_and_no_vm_made_from_it_while_another_works_on_it() {
    for command in [creates, deletes] {
        let bench = Bench::new();
        bench.host.set_busy(true);
        let before = bench.host.fingerprint();
        let rival = Rival::of(&bench, "never", false);
        let error = command(&rival.context()).unwrap_err();
        let told = "another foundry process is working on image 'debian-12' in pool 'foundry-images'";
        assert_eq!((error.kind(), error.message()), (Kind::Storage, told));
        assert_eq!(error.outcome_texts(), ["nothing was changed"]);
        assert_eq!(bench.host.changes_since(&before), NOTHING);
        assert!(rival.clock.elapsed() >= Duration::from_secs(10), "it waits");

        let rival = Rival::of(&bench, "never", true);
        let error = command(&rival.context()).unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome_texts()),
            (Kind::Interrupted, vec!["nothing was changed".to_owned()])
        );
        assert_eq!(bench.host.changes_since(&before), NOTHING);
        assert!(rival.clock.elapsed() < Duration::from_secs(1), "it does not wait on");

        bench.host.set_busy(false);
        command(&bench.context()).unwrap();
    }
}

#[test]
fn destroy_deletes_no_volume_while_another_works_on_the_vm() {
    for stops in [false, true] {
        let bench = Bench::with_web();
        let files = bench.host.files();
        let rival = Rival::of(&bench, "VM stopped", stops);
        let found = bench.survey("web", GENTLE).unwrap();
        let error = destroy::execute_destroy(&rival.context(), &found).unwrap_err();
        assert_eq!(error.kind(), if stops { Kind::Interrupted } else { Kind::Vm }, "{}", whole(&error));
        assert!(whole(&error).contains("foundry destroy web finishes it"), "{}", whole(&error));
        assert_eq!(bench.host.files(), files);
        bench.host.set_busy(false);
        bench.destroy("web", GENTLE).unwrap();
    }
}

#[test]
fn no_disk_comes_or_goes_while_another_works_on_the_vm() {
    let bench = Bench::with_web();
    let found = plan_detach(&bench.context(), "web", "vdb", false).unwrap();
    bench.host.set_busy(true);
    let files = bench.host.files();
    let rival = Rival::of(&bench, "never", false);
    let wish = disk_request("web", 1);
    let before = bench.host.fingerprint();
    let error = attach(&rival.context(), &wish).unwrap_err();
    assert_eq!(error.message(), "another foundry process is working on VM 'web'");
    // The one that has it here is this process. Nothing was noted yet, and so nothing is left.
    let holder = format!("process {} (", std::process::id());
    assert!(error.cause().unwrap().contains(&holder), "{}", whole(&error));
    assert_eq!(error.outcome_texts(), ["nothing was changed"]);
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    detach(&rival.context(), &found, Duration::from_secs(5)).unwrap_err();
    assert_eq!(bench.host.files(), files);
}

/// What a failed creation made stays with the record that names it, as another may just be at it.
#[test]
fn an_undoing_deletes_no_volume_while_another_works_on_the_vm() {
    let bench = Bench::new();
    bench.host.fail_calls_named("start web");
    let rival = Rival::of(&bench, "Starting the VM", false);
    let error = creates(&rival.context()).unwrap_err();
    assert!(whole(&error).contains("another foundry process is working on this VM"), "{}", whole(&error));
    assert!(whole(&error).contains("foundry destroy web removes it"), "{}", whole(&error));
    assert!(bench.host.files().contains(&"/pool/vms/web_boot".to_owned()));
    bench.host.heal();
    bench.host.set_busy(false);
    // As after the end of this process.
    bench.edit_record("web", |r| r["maker"]["started"] = 1.into());
    bench.destroy("web", GENTLE).unwrap();
    assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING);
}
