//! What an operation needs from outside: host, settings, clock, progress, cancellation.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::step::{Event, Step, Task};
use foundry_core::domain_xml::VirtType;
use foundry_core::error::{Advice, Error, Kind, Outcome};
use foundry_core::names::{BridgeName, PoolName};
use foundry_core::plan::Defaults;
use foundry_fetch::catalog::Catalog;
use foundry_host::Host;
use foundry_host::local::Lease;
use foundry_host::local::LibvirtInstance;

/// Everything that an operation needs from outside. It owns its parts, so a thread can have a copy, and each of several
/// hosts can have its own.
#[derive(Clone)]
pub struct Context {
    /// The host to act on.
    pub host: Arc<dyn Host>,
    /// The user's settings.
    pub settings: Arc<Settings>,
    /// Receives progress events.
    pub progress: Arc<dyn Progress>,
    /// Tells the time, and sleeps.
    pub clock: Arc<dyn Clock>,
    /// Cancels the operation.
    pub cancel: Cancel,
    /// Held for as long as the operation lasts: records name it. A process that goes on after an operation gives
    /// each one of its own.
    pub lease: Arc<Lease>,
}

/// A user's settings for all VMs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Pool of the VMs' disks.
    pub vm_pool: PoolName,
    /// Pool of the images.
    pub image_pool: PoolName,
    /// Directory on the host for the two default pools; `None` for libvirt's image directory.
    pub storage_path: Option<String>,
    /// KVM or emulation; `None` for KVM if the host offers it.
    pub virt_type: Option<VirtType>,
    /// Bridge of interfaces that name neither bridge nor network.
    pub bridge: Option<BridgeName>,
    /// Name servers of VMs that name none.
    pub dns: Vec<IpAddr>,
    /// The user's own catalogue of images.
    pub catalog: Option<PathBuf>,
}

impl Settings {
    /// Name of the pool of VM disks that is created on first use.
    pub const DEFAULT_VM_POOL: &'static str = "foundry-vms";
    /// Name of the pool of images that is created on first use.
    pub const DEFAULT_IMAGE_POOL: &'static str = "foundry-images";

    /// The defaults for fields that a manifest leaves out.
    pub fn defaults(&self, pool_override: Option<PoolName>) -> Defaults {
        Defaults {
            vm_pool: self.vm_pool.clone(),
            image_pool: self.image_pool.clone(),
            pool_override,
            bridge: self.bridge.clone(),
            dns: self.dns.clone(),
        }
    }

    /// Whether the catalogue has an image of that name. If the user's catalogue is unreadable, the built-in one is used.
    pub(super) fn catalogue_has(&self, name: &str) -> bool {
        let own = Catalog::load(self.catalog.as_deref());
        own.or_else(|_| Catalog::load(None)).is_ok_and(|catalog| catalog.contains(name))
    }

    /// The directory in which a pool is created on first use; `None` if foundry must not create it.
    ///
    /// foundry creates its two default pools. It creates pools with other names in the settings only if a storage path is
    /// set, too; otherwise a typo in a name would create a second pool in the first one's directory.
    pub fn default_target(&self, pool: &str, uri: &str) -> Option<String> {
        let own = |default: &str, named: &PoolName| {
            pool == default || (self.storage_path.is_some() && pool == named.as_str())
        };
        let folder = if own(Self::DEFAULT_VM_POOL, &self.vm_pool) {
            "vms"
        } else if own(Self::DEFAULT_IMAGE_POOL, &self.image_pool) {
            "images"
        } else {
            return None;
        };
        Some(format!("{}/{folder}", self.storage_base(uri)?))
    }

    /// The parent directory of the default pools; by default in libvirt's directory for images (its page "Drivers", QEMU:
    /// system and session instances).
    pub(crate) fn storage_base(&self, uri: &str) -> Option<String> {
        if let Some(path) = &self.storage_path {
            return Some(path.trim_end_matches('/').to_owned());
        }
        let images = LibvirtInstance::of(uri).images()?.join("foundry");
        images.into_os_string().into_string().ok()
    }
}

impl Default for Settings {
    fn default() -> Self {
        // Both are file names, so the parse cannot fail; the compiler cannot know that.
        #[allow(clippy::expect_used, reason = "constants, checked by a test")]
        let name = |text: &str| text.parse().expect("a constant name is valid");
        Self {
            vm_pool: name(Self::DEFAULT_VM_POOL),
            image_pool: name(Self::DEFAULT_IMAGE_POOL),
            storage_path: None,
            virt_type: None,
            bridge: None,
            dns: Vec::new(),
            catalog: None,
        }
    }
}

/// Receives the progress of an operation.
pub trait Progress: Send + Sync {
    /// Handles one event; called from the operation's thread.
    fn on_event(&self, event: Event);
}

/// Discards the progress.
impl Progress for () {
    fn on_event(&self, _: Event) {}
}

/// A clock, which tests replace.
pub trait Clock: Send + Sync {
    /// The present time as RFC 3339 in UTC, in seconds.
    fn timestamp(&self) -> String;
    /// A monotonic time: since an arbitrary but fixed moment.
    fn elapsed(&self) -> Duration;
    /// Sleeps for that long.
    fn sleep(&self, time: Duration);
}

/// The system's clock.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn timestamp(&self) -> String {
        format_rfc3339(jiff::Timestamp::now())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Formats a time as RFC 3339 in UTC, in seconds.
pub(super) fn format_rfc3339(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A cancellation, shared with the signal handler that requests it. It also holds what would be left behind if the
/// process ended at once, for the handler to print.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    asked: Arc<AtomicUsize>,
    /// The possible leftovers of each operation, by the number of its notice: several may run side by side.
    remains: Arc<Mutex<BTreeMap<usize, Vec<Outcome>>>>,
}

impl Cancel {
    /// Requests cancellation; a second call cancels the rollback, too.
    pub fn request(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether cancellation was requested.
    pub fn is_requested(&self) -> bool {
        self.asked.load(Ordering::SeqCst) > 0
    }

    /// Whether cancellation was requested twice: then a rollback stops, too.
    pub fn is_insisted(&self) -> bool {
        self.asked.load(Ordering::SeqCst) > 1
    }

    /// Ends the operation if cancellation was requested.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] then.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_requested() { Err(Error::new(Kind::Interrupted, "interrupted")) } else { Ok(()) }
    }

    /// Ends an operation that has not changed anything yet, if cancellation was requested.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] then, with the outcome that nothing was changed.
    pub(super) fn check_unchanged(&self) -> Result<(), Error> {
        self.check().map_err(|interrupted| interrupted.unchanged())
    }

    /// What may be left behind if the process ended now, during a call that does not return, and the command that
    /// deletes it. Empty while nothing is being changed.
    pub fn possible_leftovers(&self) -> Vec<Outcome> {
        let flat = |remains: &BTreeMap<usize, Vec<Outcome>>| remains.values().flatten().cloned().collect();
        self.remains.lock().map(|remains| flat(&remains)).unwrap_or_default()
    }

    /// Adds what may be left behind from now on, until the returned guard is dropped.
    pub(super) fn announce_leftovers(
        &self,
        outcomes: impl IntoIterator<Item = Outcome>,
    ) -> LeftoverNotice<'_> {
        let mut number = 0;
        if let Ok(mut remains) = self.remains.lock() {
            number = remains.last_key_value().map_or(0, |(last, _)| last + 1);
            remains.insert(number, outcomes.into_iter().collect());
        }
        LeftoverNotice { cancel: self, number }
    }
}

/// A guard: until it is dropped, an end of the process may leave something behind.
#[must_use]
pub(super) struct LeftoverNotice<'a> {
    cancel: &'a Cancel,
    number: usize,
}

impl Drop for LeftoverNotice<'_> {
    fn drop(&mut self) {
        if let Ok(mut remains) = self.cancel.remains.lock() {
            remains.remove(&self.number);
        }
    }
}

impl Context {
    /// Runs `act` for each item, one after the other. It continues after a failure, so that one stubborn object does not
    /// keep the others, unless the next would fail for the same reason. Returns all failures.
    pub(crate) fn run_for_all<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        mut act: impl FnMut(T) -> Result<(), Error>,
    ) -> Vec<Error> {
        let mut failures = Vec::new();
        for item in items {
            let Err(failed) = self.cancel.check().and_then(|()| act(item)) else { continue };
            let is_last = failed.kind().ends_run();
            failures.push(failed);
            if is_last {
                break;
            }
        }
        failures
    }

    /// A copy of the context that reports its progress elsewhere.
    #[must_use]
    pub fn with_progress(&self, progress: Arc<dyn Progress>) -> Self {
        Self { progress, ..self.clone() }
    }

    pub(super) fn report_begun(&self, task: Task) {
        self.progress.on_event(Event::Begins(task));
    }

    pub(super) fn report_started(&self, step: Step) {
        self.progress.on_event(Event::Started(step));
    }

    pub(super) fn report_finished(&self, step: Step) {
        self.progress.on_event(Event::Finished(step));
    }

    pub(super) fn warn(&self, message: impl Into<String>) {
        self.progress.on_event(Event::Warning { message: message.into(), advice: None });
    }

    pub(super) fn warn_about(&self, message: impl Into<String>, advice: Option<Advice>) {
        self.progress.on_event(Event::Warning { message: message.into(), advice });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_default_pools_have_a_place_of_their_own() {
        let settings = Settings::default();
        let at = |pool| settings.default_target(pool, "qemu:///system");
        assert_eq!(at("foundry-vms").as_deref(), Some("/var/lib/libvirt/images/foundry/vms"));
        assert_eq!(at("foundry-images").as_deref(), Some("/var/lib/libvirt/images/foundry/images"));
        assert_eq!(at("ssd"), None);
    }

    #[test]
    fn a_named_pool_is_made_only_where_a_place_for_it_was_given() {
        let named = Settings { vm_pool: "ssd".parse().unwrap(), ..Settings::default() };
        assert_eq!(named.default_target("ssd", "qemu:///system"), None);
        let placed = Settings { storage_path: Some("/srv".into()), ..named };
        assert_eq!(placed.default_target("ssd", "qemu:///system").as_deref(), Some("/srv/vms"));
    }

    #[test]
    fn the_storage_path_moves_both() {
        let settings = Settings { storage_path: Some("/srv/vm/".into()), ..Settings::default() };
        assert_eq!(settings.default_target("foundry-vms", "qemu:///session").as_deref(), Some("/srv/vm/vms"));
    }

    #[test]
    fn a_timestamp_is_rfc_3339_in_utc() {
        let now = SystemClock::default().timestamp();
        assert_eq!(now.len(), 20, "{now}");
        now.parse::<jiff::Timestamp>().unwrap();
    }
}
