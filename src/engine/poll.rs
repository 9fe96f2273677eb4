//! The one loop in which foundry waits for something to happen on the host.
//!
//! Each round looks first, so that a wait for something that is already true takes no time. If the look finds nothing,
//! a cancellation ends the wait, then the time limit does; otherwise the loop pauses and looks again. The clock is the
//! context's, so a test waits without spending time.

use std::time::Duration;

use crate::Context;

/// How to wait: how often to look, for how long, and what ends the wait early.
#[must_use]
pub(crate) struct Poll<'a> {
    context: &'a Context,
    every: Duration,
    within: Option<Duration>,
    is_cancelled: Box<dyn Fn() -> bool + 'a>,
    announcement: Option<String>,
    starts_with_pause: bool,
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
    pub(crate) fn announce(self, what: impl Into<String>) -> Self {
        Self { announcement: Some(what.into()), ..self }
    }

    /// Pauses before the first look, for something that cannot be true yet.
    pub(crate) fn pause_first(self) -> Self {
        Self { starts_with_pause: true, ..self }
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
            if let Some(what) = self.announcement.take() {
                self.context.report_working(what);
            }
            clock.sleep(self.every);
        }
    }
}

/// Pauses once, for code of other crates that has a loop of its own.
pub(crate) fn pause(context: &Context, time: Duration) {
    context.clock.sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    use crate::{Cancel, Clock, Event, Progress, Settings};
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
        let poll = || Poll::new(&context, SECOND).within(2 * SECOND).announce("Waiting");
        assert_eq!(wait(&context, poll(), 1), (Waited::Done(1), 1, Duration::ZERO));
        assert!(bench.events.lock().unwrap().is_empty(), "nothing is announced without a pause");
        assert_eq!(wait(&context, poll(), 3), (Waited::Done(3), 3, 2 * SECOND));
        assert_eq!(*bench.events.lock().unwrap(), [Event::Working("Waiting".into())]);
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
    fn poll_ends_with_the_first_error() {
        let context = make_context(&Arc::default());
        let failed = Poll::new(&context, SECOND).until(|| Err::<Option<()>, _>("refused"));
        assert_eq!(failed, Err("refused"));
    }
}
