//! The one loop in which foundry waits for something to happen on the host.
//!
//! Each round looks first, so that a wait for something that is already true takes no time. If the look finds nothing,
//! a cancellation ends the wait, then the time limit does; otherwise the loop pauses and looks again. The clock is the
//! context's, so a test waits without spending time.
//!
//! A wait for a domain is woken by the domain's events, if the host has any. Then it looks after each event, and rarely
//! otherwise: over a connection to another host each look is a round trip.

use std::time::Duration;

use uuid::Uuid;

use crate::{Context, Step};
use foundry_core::error::Error;
use foundry_host::DomainWatch;

/// Time between two looks that no event caused: an event may be lost with the daemon that would have sent it.
const RARELY: Duration = Duration::from_secs(5);

/// How to wait: how often to look, for how long, and what ends the wait early.
#[must_use]
pub(crate) struct Poll<'a> {
    context: &'a Context,
    every: Duration,
    within: Option<Duration>,
    is_cancelled: Box<dyn Fn() -> bool + 'a>,
    announcement: Option<Step>,
    starts_with_pause: bool,
    woken_by: Option<Uuid>,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Waited<T> {
    /// A look returned this.
    Done(T),
    /// The time limit passed first.
    TimeOver,
    /// The wait was cancelled first.
    Cancelled,
}

impl<'a> Poll<'a> {
    /// Looks every `every`, without a time limit and without a way to cancel.
    pub(crate) fn new(context: &'a Context, every: Duration) -> Self {
        Self {
            context,
            every,
            within: None,
            is_cancelled: Box::new(|| false),
            announcement: None,
            starts_with_pause: false,
            woken_by: None,
        }
    }

    /// Sets the time limit. There is always at least one look, even with a limit of zero.
    pub(crate) fn within(self, limit: Duration) -> Self {
        Self { within: Some(limit), ..self }
    }

    /// Sets what cancels the wait.
    pub(crate) fn unless(self, is_cancelled: impl Fn() -> bool + 'a) -> Self {
        Self { is_cancelled: Box::new(is_cancelled), ..self }
    }

    /// Reports that the wait goes on, once, before the first pause.
    pub(crate) fn announce(self, step: Step) -> Self {
        Self { announcement: Some(step), ..self }
    }

    /// Pauses before the first look, for something that cannot be true yet.
    pub(crate) fn pause_first(self) -> Self {
        Self { starts_with_pause: true, ..self }
    }

    /// Has the events of a domain wake the wait.
    pub(crate) fn woken_by(self, domain: Uuid) -> Self {
        Self { woken_by: Some(domain), ..self }
    }

    /// Waits until `look` returns something.
    ///
    /// # Errors
    /// The first error of `look`.
    pub(crate) fn until<T, E>(
        mut self,
        mut look: impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<Waited<T>, E> {
        let clock = &self.context.clock;
        let limit = self.within.map(|within| clock.elapsed().saturating_add(within));
        // Before the first look, so that nothing happens unseen between the two.
        let mut events = self.woken_by.and_then(|domain| Wakeup::subscribe(self.context, domain));
        let mut skips_look = self.starts_with_pause;
        loop {
            if !std::mem::take(&mut skips_look)
                && let Some(found) = look()?
            {
                return Ok(Waited::Done(found));
            }
            if (self.is_cancelled)() {
                return Ok(Waited::Cancelled);
            }
            if limit.is_some_and(|limit| clock.elapsed() >= limit) {
                return Ok(Waited::TimeOver);
            }
            if let Some(step) = self.announcement.take() {
                self.context.report_started(step);
            }
            match &mut events {
                None => clock.sleep(self.every),
                Some(events) => {
                    let next_look = clock.elapsed().saturating_add(RARELY.max(self.every));
                    let until = limit.map_or(next_look, |limit| limit.min(next_look));
                    events.wait(self.context, self.every, until, &self.is_cancelled);
                }
            }
        }
    }
}

/// Wakes a wait.
struct Wakeup {
    watch: Box<dyn DomainWatch>,
    domain: Uuid,
}

impl Wakeup {
    /// `None` for a host without events, or whose events cannot be had: looks do as well.
    fn subscribe(context: &Context, domain: Uuid) -> Option<Self> {
        Some(Self { watch: context.host.watch_domains().ok()??, domain })
    }

    /// Waits for an event of the domain until that time, and looks every `slice` whether the wait is cancelled.
    fn wait(&mut self, context: &Context, slice: Duration, until: Duration, is_cancelled: &dyn Fn() -> bool) {
        loop {
            let now = context.clock.elapsed();
            let slice = slice.min(until.saturating_sub(now));
            if slice.is_zero() || is_cancelled() || self.watch.wait_for(self.domain, slice) {
                return;
            }
            // On a host in memory no time has passed.
            let rest = slice.saturating_sub(context.clock.elapsed().saturating_sub(now));
            if !rest.is_zero() {
                context.clock.sleep(rest);
            }
        }
    }
}

/// Pauses once, for code of other crates that has a loop of its own.
pub(crate) fn pause(context: &Context, time: Duration) {
    context.clock.sleep(time);
}

/// Looks every `every` until something is found, for a program that has questions of its own. `None` means that the time
/// limit passed first.
///
/// # Errors
/// The first error of `look`; [`foundry_core::error::Kind::Interrupted`] if the operation was cancelled first.
pub fn wait_until<T>(
    context: &Context,
    every: Duration,
    within: Duration,
    look: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    let poll = Poll::new(context, every).within(within).unless(|| context.cancel.is_requested());
    match poll.until(look)? {
        Waited::Done(found) => Ok(Some(found)),
        Waited::TimeOver => Ok(None),
        Waited::Cancelled => context.cancel.check().map(|()| None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    use crate::{Cancel, Clock, Event, Progress, Settings};
    use foundry_host::Domains;
    use foundry_host::memory::MemoryHost;

    /// Moves only when somebody sleeps; keeps what was reported.
    #[derive(Default)]
    struct Bench {
        now: Mutex<Duration>,
        events: Mutex<Vec<Event>>,
    }

    impl Clock for Bench {
        fn timestamp(&self) -> String {
            String::new()
        }

        fn elapsed(&self) -> Duration {
            *self.now.lock().unwrap()
        }

        fn sleep(&self, time: Duration) {
            *self.now.lock().unwrap() += time;
        }
    }

    impl Progress for Bench {
        fn on_event(&self, event: Event) {
            self.events.lock().unwrap().push(event);
        }
    }

    fn make_context(bench: &Arc<Bench>) -> Context {
        Context {
            host: Arc::new(MemoryHost::new()),
            settings: Arc::new(Settings::default()),
            progress: bench.clone(),
            clock: bench.clone(),
            cancel: Cancel::default(),
            lease: Arc::default(),
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// The wait's end, the number of looks, and the time that it took.
    fn wait(context: &Context, poll: Poll<'_>, found_at: usize) -> (Waited<usize>, usize, Duration) {
        let mut looks = 0;
        let waited = poll.until(|| {
            looks += 1;
            Ok::<_, ()>((looks == found_at).then_some(looks))
        });
        (waited.unwrap(), looks, context.clock.elapsed())
    }

    #[test]
    fn poll_looks_before_it_pauses() {
        let bench = Arc::new(Bench::default());
        let context = make_context(&bench);
        let poll = || Poll::new(&context, SECOND).within(2 * SECOND).announce(Step::WaitForRival);
        assert_eq!(wait(&context, poll(), 1), (Waited::Done(1), 1, Duration::ZERO));
        assert!(bench.events.lock().unwrap().is_empty(), "nothing is announced without a pause");
        assert_eq!(wait(&context, poll(), 3), (Waited::Done(3), 3, 2 * SECOND));
        assert_eq!(*bench.events.lock().unwrap(), [Event::Started(Step::WaitForRival)]);
    }

    #[test]
    fn poll_ends_at_its_limit_or_when_cancelled() {
        let context = make_context(&Arc::default());
        let poll = || Poll::new(&context, SECOND).unless(|| context.cancel.is_requested());
        assert_eq!(wait(&context, poll().within(Duration::ZERO), 9), (Waited::TimeOver, 1, Duration::ZERO));
        assert_eq!(wait(&context, poll().within(2 * SECOND), 9), (Waited::TimeOver, 3, 2 * SECOND));
        context.cancel.request();
        let cancelled = (Waited::Cancelled, 1, 2 * SECOND);
        assert_eq!(wait(&context, poll().within(Duration::ZERO), 9), cancelled, "it counts before the limit");
        assert_eq!(wait(&context, poll(), 1), (Waited::Done(1), 1, 2 * SECOND), "a success counts before it");
    }

    #[test]
    fn poll_can_pause_first() {
        let context = make_context(&Arc::default());
        let poll = || Poll::new(&context, SECOND).pause_first().unless(|| context.cancel.is_requested());
        assert_eq!(wait(&context, poll(), 1), (Waited::Done(1), 1, SECOND));
        context.cancel.request();
        assert_eq!(wait(&context, poll(), 1), (Waited::Cancelled, 0, SECOND));
    }

    #[test]
    fn poll_looks_after_an_event_and_rarely_otherwise() {
        let bench = Arc::new(Bench::default());
        let host = MemoryHost::new().with_events();
        let context = Context { host: Arc::new(host.clone()), ..make_context(&bench) };
        let xml =
            |memory: u32| format!("<domain type='qemu'><name>web</name><memory>{memory}</memory></domain>");
        let domain = host.define_domain(&xml(1)).unwrap();
        let poll = || Poll::new(&context, SECOND).within(11 * SECOND).woken_by(domain);
        assert_eq!(wait(&context, poll(), 9), (Waited::TimeOver, 4, 11 * SECOND), "at 0, 5, 10 and 11 s");

        let mut looks = Vec::new();
        let found = poll().until(|| {
            looks.push(context.clock.elapsed() - 11 * SECOND);
            if looks.len() == 1 {
                host.undefine(domain).unwrap();
            }
            Ok::<_, ()>((looks.len() == 3).then_some(()))
        });
        assert_eq!((found, looks), (Ok(Waited::Done(())), vec![Duration::ZERO, Duration::ZERO, 5 * SECOND]));
    }

    #[test]
    fn poll_with_events_is_cancelled_between_two_looks() {
        let bench = Arc::new(Bench::default());
        let context = Context { host: Arc::new(MemoryHost::new().with_events()), ..make_context(&bench) };
        let poll = Poll::new(&context, SECOND).woken_by(Uuid::nil());
        let poll = poll.unless(|| context.clock.elapsed() >= 2 * SECOND);
        assert_eq!(
            wait(&context, poll, 9),
            (Waited::Cancelled, 2, 2 * SECOND),
            "before five seconds are over"
        );
    }

    #[test]
    fn wait_until_tells_a_late_answer_from_a_cancelled_wait() {
        let context = make_context(&Arc::default());
        let mut looks = 0;
        let mut look = || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        };
        assert_eq!(wait_until(&context, SECOND, SECOND, &mut look).unwrap(), None, "after two looks");
        assert_eq!(wait_until(&context, SECOND, SECOND, &mut look).unwrap(), Some(3));
        context.cancel.request();
        let cancelled = wait_until(&context, SECOND, SECOND, &mut look).unwrap_err();
        assert_eq!(cancelled.kind(), foundry_core::error::Kind::Interrupted);
    }

    #[test]
    fn poll_ends_with_the_first_error() {
        let context = make_context(&Arc::default());
        let failed = Poll::new(&context, SECOND).until(|| Err::<Option<()>, _>("refused"));
        assert_eq!(failed, Err("refused"));
    }
}
