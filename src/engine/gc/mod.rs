//! Finds leftovers on a host, and decides who may delete them.
//!
//! It has two halves, as `destroy` has. [`survey`] looks and says what there is, how old and how large, and what
//! would become of it; the user sees that and agrees. [`carry_out`] does it, each thing after another look.
//!
//! What a record or a mark of foundry's names, and whose process ended, goes. What nothing names (a volume that no
//! domain uses, the EFI variables of a domain that is gone) may be somebody's anyway: it goes only when the user names
//! it. What a process still works on, here or on another machine, stays.

mod carry_out;
mod choice;
pub(super) mod nvram;
mod vms;
mod volumes;

use std::fmt;
use std::fs::Metadata;

use schemars::JsonSchema;
use serde::Serialize;

use crate::context::rfc3339;
use crate::storage::usage::Usage;
use crate::storage::{file_locks, usage};
use crate::vm::destroy::Demolition;
use crate::{Context, disk};
use foundry_core::error::{Advice, Error};
use foundry_core::record::{Liveness, Maker};
use foundry_core::units::Bytes;
use foundry_host::Volume;

pub use carry_out::carry_out;
pub use choice::{Choice, choose};
pub use nvram::{NvramFile, Places};

/// Everything that a survey found.
#[derive(Debug, Default)]
pub struct Survey {
    /// What was left, in the order in which it goes.
    pub remains: Vec<Remains>,
    /// Where it could not be looked, and why.
    pub unseen: Vec<String>,
    /// Pools whose volumes could not be seen, and why.
    pub unseen_pools: Vec<Advice>,
    usage: Option<Usage>,
    pools: Vec<String>,
}

/// One thing that was left.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Remains {
    /// What it is.
    pub kind: Sort,
    /// A VM's name, `VM/DEVICE`, `POOL/VOLUME` or a path.
    pub name: String,
    /// RFC 3339; when it was last changed, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Bytes that it takes on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// What becomes of it.
    pub fate: Fate,
    /// Why it is here.
    pub reason: String,
    /// What else can be done about it.
    #[serde(skip)]
    pub advice: Option<Advice>,
    /// The volumes that go with it, as `POOL/VOLUME`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    #[serde(skip)]
    work: Work,
}

/// What was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// A VM that is half made or half destroyed.
    Vm,
    /// A disk that is half attached or half detached.
    Disk,
    /// A part of an image.
    Image,
    /// The note on where an image came from that is gone.
    Note,
    /// A volume that is unused.
    Volume,
    /// The EFI variables of a domain that is gone.
    Nvram,
}

/// What becomes of something that was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is finished or removed.
    Goes,
    /// It is removed if the user names it.
    WhenNamed,
    /// It stays.
    Stays,
}

/// What is to be done.
#[derive(Debug)]
enum Work {
    Nothing,
    Destroy(Box<Demolition>),
    FinishAttach(Box<disk::Attempt>),
    DeleteTorso { volume: Volume, mark: Vec<u8> },
    ForgetNote { pool: String, image: String },
    DeleteVolume(Volume),
    DeleteNvram(NvramFile),
}

impl Sort {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vm => "vm",
            Self::Disk => "disk",
            Self::Image => "image",
            Self::Note => "note",
            Self::Volume => "volume",
            Self::Nvram => "nvram",
        }
    }
}

impl Fate {
    /// In a few words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Goes => "goes",
            Self::WhenNamed => "when named",
            Self::Stays => "stays",
        }
    }
}

impl fmt::Display for Remains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Sort::Vm => "VM",
            Sort::Disk => "disk",
            Sort::Image => "the part of image",
            Sort::Note => "the note",
            Sort::Volume => "volume",
            Sort::Nvram => "the EFI variables",
        };
        write!(f, "{what} {}", self.name)
    }
}

impl Remains {
    fn new(kind: Sort, name: String, reason: impl Into<String>) -> Self {
        let (since, size, advice, volumes) = (None, None, None, Vec::new());
        let reason = reason.into();
        Self { kind, name, since, size, fate: Fate::Stays, reason, advice, volumes, work: Work::Nothing }
    }

    fn of_volume(context: &Context, kind: Sort, volume: &Volume, reason: impl Into<String>) -> Self {
        let name = format!("{}/{}", volume.pool, volume.name);
        let since = file_locks::metadata(context, &volume.path).as_ref().and_then(modified);
        Self { since, size: Some(volume.allocation), ..Self::new(kind, name, reason) }
    }

    fn since(self, since: Option<String>) -> Self {
        Self { since, ..self }
    }

    fn hint(self, advice: impl Into<Advice>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    fn goes(self, work: Work) -> Self {
        Self { fate: Fate::Goes, work, ..self }
    }

    fn when_named(self, work: Work) -> Self {
        Self { fate: Fate::WhenNamed, work, ..self }
    }
}

/// Looks at the domains, at the pools that foundry keeps anything in and, on this machine, at the EFI variables in
/// `places`. Changes nothing.
///
/// # Errors
/// The host's.
pub fn survey(context: &Context, places: Option<&Places>) -> Result<Survey, Error> {
    survey_for(context, places, &[])
}

/// As [`survey`], and in the pools of what a user names.
///
/// # Errors
/// The host's.
pub fn survey_for(context: &Context, places: Option<&Places>, named: &[Choice]) -> Result<Survey, Error> {
    usage::refresh_all(context)?;
    let domains = context.host.domains(false)?;
    let usage = Usage::look(context, None)?;
    let mut found = Survey { pools: volumes::pools(context, &domains), ..Survey::default() };
    found.pools.extend(named.iter().filter_map(|choice| match choice {
        Choice::Volume { pool, .. } => Some(pool.clone()),
        Choice::Path(_) | Choice::Vm(_) => None,
    }));
    found.unseen_pools = volumes::unseen(context, &found.pools)?;
    found.remains.extend(vms::survey(context, &domains, &usage)?);
    found.remains.extend(volumes::survey(context, &found.pools, &usage)?);
    if let Some(places) = places.filter(|_| context.host.is_local()) {
        match nvram::survey(context, places, &domains, &usage)? {
            Ok(files) => found.remains.extend(files),
            Err(unseen) => found.unseen.push(unseen),
        }
    }
    found.remains.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    found.usage = Some(usage);
    Ok(found)
}

/// When a file was last written to.
fn modified(file: &Metadata) -> Option<String> {
    jiff::Timestamp::try_from(file.modified().ok()?).ok().map(rfc3339)
}

/// Why a maker's work is left alone, if it is.
fn at_work(maker: &Maker, does: &str) -> Option<String> {
    match maker.check_liveness() {
        Liveness::Dead => None,
        Liveness::Alive => Some(format!("process {} {does}", maker.pid)),
        Liveness::Elsewhere => Some(format!("a process of another machine {does}, or did before it ended")),
    }
}
