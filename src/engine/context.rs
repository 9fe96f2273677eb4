//! What an operation needs: host, settings, clock, progress, cancellation.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use foundry_core::domain_xml::VirtType;
use foundry_core::error::{Advice, Error, Kind, Outcome};
use foundry_core::names::{BridgeName, PoolName};
use foundry_core::plan::Defaults;
use foundry_fetch::catalog::Catalog;
use foundry_host::Host;
use foundry_host::local::LibvirtInstance;

/// Everything that an operation needs from outside. It owns its parts, so a thread can take a copy along, and each
/// of several hosts can have its own.
#[derive(Clone)]
pub struct Context {
    /// The host to act on.
    pub host: Arc<dyn Host>,
    /// What the user set.
    pub settings: Arc<Settings>,
    /// Receives the progress.
    pub progress: Arc<dyn Progress>,
    /// Says what time it is, and waits.
    pub clock: Arc<dyn Clock>,
    /// Says whether to stop.
    pub cancel: Cancel,
}

/// What a user set for all VMs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Pool of the VMs' disks.
    pub vm_pool: PoolName,
    /// Pool of the images.
    pub image_pool: PoolName,
    /// Directory on the host in which the two default pools are made; `None` for libvirt's own.
    pub storage_path: Option<String>,
    /// How guests run; `None` takes KVM where the host offers it.
    pub virt_type: Option<VirtType>,
    /// Bridge of interfaces that name neither bridge nor network.
    pub bridge: Option<BridgeName>,
    /// Name servers of VMs that name none.
    pub dns: Vec<IpAddr>,
    /// The user's own catalogue of images.
    pub catalog: Option<PathBuf>,
}

impl Settings {
    /// Name of the pool of VM disks that is made on first use.
    pub const DEFAULT_VM_POOL: &'static str = "foundry-vms";
    /// Name of the pool of images that is made on first use.
    pub const DEFAULT_IMAGE_POOL: &'static str = "foundry-images";

    /// What stands in for what a manifest leaves out.
    pub fn defaults(&self, pool_override: Option<PoolName>) -> Defaults {
        Defaults {
            vm_pool: self.vm_pool.clone(),
            image_pool: self.image_pool.clone(),
            pool_override,
            bridge: self.bridge.clone(),
            dns: self.dns.clone(),
        }
    }

    /// Whether `image pull` knows an image of that name. Of a catalogue that cannot be read the built-in one counts.
    pub(super) fn catalogue_has(&self, name: &str) -> bool {
        let own = Catalog::load(self.catalog.as_deref());
        own.or_else(|_| Catalog::load(None)).is_ok_and(|catalog| catalog.contains(name))
    }

    /// Where a pool is made on first use: `None` for a pool that only its user can make.
    ///
    /// That is any but foundry's own two. Pools that the user named are made too if a place for them was
    /// given; otherwise a slip of the pen in a name would make a second pool on the first one's directory.
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

    /// libvirt's directory for images (its page "Drivers", QEMU: system and session instances).
    fn storage_base(&self, uri: &str) -> Option<String> {
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

/// Something that happened on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An operation begins: a sentence.
    Begins(String),
    /// A step begins that may take a while: what is being done.
    Working(String),
    /// A step is done: a sentence.
    Done(String),
    /// Something that the user should know and that stops nothing.
    Warning {
        /// A sentence.
        message: String,
        /// What to do about it.
        advice: Option<Advice>,
    },
    /// Bytes of a transfer so far, and in all.
    Bytes {
        /// So far.
        done: u64,
        /// In all, where that is known.
        total: Option<u64>,
    },
}

/// Receives the progress of an operation.
pub trait Progress: Send + Sync {
    /// Takes an event.
    fn on_event(&self, event: Event);
}

/// Discards the progress.
impl Progress for () {
    fn on_event(&self, _: Event) {}
}

/// What time it is.
pub trait Clock: Send + Sync {
    /// Now, as RFC 3339 in UTC, to the second.
    fn timestamp(&self) -> String;
    /// Time since some moment that does not change.
    fn elapsed(&self) -> Duration;
    /// Waits.
    fn sleep(&self, time: Duration);
}

/// The machine's clock.
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

/// RFC 3339 in UTC, to the second.
pub(super) fn format_rfc3339(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A user's wish to stop, shared with the signal handler that hears it; and what would be left if everything
/// ended at once, for the one who ends it.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    asked: Arc<AtomicUsize>,
    remains: Arc<Mutex<Vec<Outcome>>>,
}

impl Cancel {
    /// Asks to stop.
    pub fn request(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether somebody asked to stop.
    pub fn is_requested(&self) -> bool {
        self.asked.load(Ordering::SeqCst) > 0
    }

    /// Whether somebody asked twice: then the undoing is to stop too.
    pub fn is_insisted(&self) -> bool {
        self.asked.load(Ordering::SeqCst) > 1
    }

    /// Ends the operation if somebody asked to stop.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] then.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_requested() { Err(Error::new(Kind::Interrupted, "interrupted")) } else { Ok(()) }
    }

    /// Ends an operation that has not changed anything yet, if somebody asked to stop.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] then, and it says that nothing was changed.
    pub(super) fn check_unchanged(&self) -> Result<(), Error> {
        self.check().map_err(|interrupted| interrupted.unchanged())
    }

    /// What may be left if the process ended now, in the middle of a call that does not return: a sentence each,
    /// and the command that takes it away. Nothing where nothing is being changed.
    pub fn possible_leftovers(&self) -> Vec<Outcome> {
        self.remains.lock().map(|remains| remains.clone()).unwrap_or_default()
    }

    /// Says what may be left from here on, until what this returns is dropped.
    pub(super) fn announce_leftovers(
        &self,
        outcomes: impl IntoIterator<Item = Outcome>,
    ) -> LeftoverNotice<'_> {
        self.set_remains(outcomes.into_iter().collect());
        LeftoverNotice(self)
    }

    fn set_remains(&self, outcomes: Vec<Outcome>) {
        if let Ok(mut remains) = self.remains.lock() {
            *remains = outcomes;
        }
    }
}

/// As long as it lives, an end of the process may leave something.
#[must_use]
pub(super) struct LeftoverNotice<'a>(&'a Cancel);

impl Drop for LeftoverNotice<'_> {
    fn drop(&mut self) {
        self.0.set_remains(Vec::new());
    }
}

impl Context {
    /// The same, but the progress is reported elsewhere.
    #[must_use]
    pub fn with_progress(&self, progress: Arc<dyn Progress>) -> Self {
        Self { progress, ..self.clone() }
    }

    pub(super) fn report_done(&self, sentence: impl Into<String>) {
        self.progress.on_event(Event::Done(sentence.into()));
    }

    pub(super) fn report_working(&self, what: impl Into<String>) {
        self.progress.on_event(Event::Working(what.into()));
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
