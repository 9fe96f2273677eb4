//! What a round sees before it decides.

use foundry_core::record::RunnerNote;

use crate::forge::Registration;

/// A pool at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct RunnerPoolView {
    /// Its VMs.
    pub runners: Vec<RunnerView>,
    /// The forge's list; `None` if the forge could not be asked.
    pub registrations: Option<Vec<Registration>>,
    /// Jobs that wait for a runner of this pool.
    pub queued: usize,
    /// What the user wants.
    pub wish: PoolWish,
    /// How many VMs the host has room for; `None` if that is not known.
    pub room: Option<usize>,
    /// Whether VMs may be made.
    pub gate: StartGate,
}

/// What the user wants of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PoolWish {
    /// It works.
    #[default]
    Serve,
    /// It makes no new VMs; jobs go on.
    Pause,
    /// It comes to its end: all VMs go, each after its job.
    Drain,
}

/// Whether VMs may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartGate {
    /// As many as the rules allow.
    #[default]
    Open,
    /// One at a time, until one comes up.
    Trial,
    /// None: too many have failed, a short time ago.
    Held,
}

/// What a user wants of one runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunnerWish {
    /// Another takes its place: one at a time, when it is idle.
    Replace,
    /// It goes, after its job if it has one.
    Leave,
    /// It goes now, whatever it works on.
    Kill,
}

/// A VM of a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct RunnerView {
    /// Its name.
    pub name: String,
    /// foundry's note about it.
    pub note: RunnerNote,
    /// The state of its domain.
    pub domain: DomainFact,
    /// What its guest says.
    pub guest: GuestFact,
    /// Whether the forge has reported that a job began on it, and not that it ended.
    pub has_job: bool,
    /// What a user wants of it.
    pub wish: Option<RunnerWish>,
}

/// The state of a domain, as far as it matters to a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainFact {
    /// Another process is making or destroying it.
    BeingMade,
    /// Its creation or its destruction was interrupted.
    HalfMade,
    /// It runs.
    Running,
    /// It is paused.
    Paused,
    /// It is off or crashed.
    Ended,
}

/// What a guest's agent says of the runner in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestFact {
    /// It does not answer, or was not asked.
    Silent,
    /// It answers, and no runner's process is there.
    WithoutRunner,
    /// A runner waits for a job.
    Waiting,
    /// A runner works on a job.
    Working,
}

impl GuestFact {
    /// Whether the guest answers and works on nothing.
    pub fn is_free(self) -> bool {
        matches!(self, Self::WithoutRunner | Self::Waiting)
    }
}

impl RunnerView {
    /// Its registration in the forge's list: by its id, or by its name while the id is not noted.
    pub(crate) fn registration<'a>(&self, list: &'a [Registration]) -> Option<&'a Registration> {
        let is_own = |one: &&Registration| match &self.note.registration {
            Some(id) => one.id == *id,
            None => one.name == self.name,
        };
        list.iter().find(is_own)
    }
}

impl PoolWish {
    /// All, with their words.
    const WORDS: [(Self, &str); 3] = [(Self::Serve, "serve"), (Self::Pause, "pause"), (Self::Drain, "drain")];

    /// The word for it, as in `mode` of a manifest.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.into_iter().find(|(wish, _)| *wish == self).map_or("serve", |(_, word)| word)
    }

    /// The wish of a word; `None` if there is none.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(_, known)| *known == word).map(|(wish, _)| wish)
    }
}

impl RunnerWish {
    const WORDS: [(Self, &str); 3] =
        [(Self::Replace, "replace"), (Self::Leave, "leave"), (Self::Kill, "kill")];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.into_iter().find(|(wish, _)| *wish == self).map_or("leave", |(_, word)| word)
    }

    /// The wish of a word; `None` if there is none.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(_, known)| *known == word).map(|(wish, _)| wish)
    }
}
