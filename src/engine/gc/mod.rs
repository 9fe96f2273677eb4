//! Finds what interrupted commands left on a host, and cleans it up.
//!
//! It has two steps, as `destroy` has. [`find_leftovers`] lists the leftovers with age, size and what would become of
//! them; the user sees that and confirms. [`execute_cleanup`] does it, and checks each object again first.
//!
//! An object that a foundry record or mark names is cleaned up if its process ended. An object that nothing names (a
//! volume that no domain uses, the EFI variables of a deleted domain) may still be needed; it is deleted only if the
//! user names it. An object that a process is still working on, here or on another machine, is kept.

mod execute;
pub(super) mod nvram;
mod selection;
mod vms;
mod volumes;

use std::fmt;
use std::fs::Metadata;

use schemars::JsonSchema;
use serde::Serialize;

use crate::context::format_rfc3339;
use crate::storage::usage::Usage;
use crate::storage::{file_locks, usage};
use crate::vm::destroy::DestroyPlan;
use crate::warm::WarmLeftover;
use crate::{Context, disk};
use foundry_core::error::{Advice, Error};
use foundry_core::record::{Liveness, Maker};
use foundry_core::units::Bytes;
use foundry_host::local::DomainDirectories;
use foundry_host::local::check_liveness;
use foundry_host::{Domain, Volume};

pub use execute::execute_cleanup;
pub use nvram::NvramFile;
pub use selection::{LeftoverName, choose_leftovers};

/// All leftovers on a host, and what could not be checked.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// The leftovers, in the order in which they are cleaned up.
    pub found: Vec<Leftover>,
    /// Places that could not be checked, and why.
    pub unseen: Vec<String>,
    /// Pools whose volumes could not be listed, and why.
    pub unseen_pools: Vec<Advice>,
    usage: Option<Usage>,
    pools: Vec<String>,
}

/// One leftover of an interrupted command, or an unused object.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Leftover {
    /// The kind of leftover.
    pub kind: LeftoverKind,
    /// A VM's name, `VM/DEVICE`, `VM/SNAPSHOT`, `POOL/VOLUME` or a path.
    pub name: String,
    /// When it was last changed (RFC 3339), if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Bytes that it takes on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// Whether it is cleaned up.
    pub fate: LeftoverAction,
    /// Why it is listed.
    pub reason: String,
    /// What else can be done about it.
    #[serde(skip)]
    pub advice: Option<Advice>,
    /// The volumes that are deleted with it, as `POOL/VOLUME`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    #[serde(skip)]
    step: CleanupStep,
}

/// The kind of a leftover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LeftoverKind {
    /// A VM that is half made or half destroyed.
    Vm,
    /// A disk that is half attached or half detached.
    Disk,
    /// A snapshot that is half made, half restored or half deleted.
    Snapshot,
    /// An image whose import was interrupted.
    Image,
    /// The origin note of an image that is gone.
    Note,
    /// A volume that no domain or overlay uses.
    Volume,
    /// The EFI variables of a domain that is gone.
    Nvram,
}

/// Whether a leftover is cleaned up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LeftoverAction {
    /// It is cleaned up: finished or deleted.
    #[serde(rename = "goes")]
    CleanUp,
    /// It is deleted if the user names it.
    WhenNamed,
    /// It is kept; `reason` says why.
    #[serde(rename = "stays")]
    Keep,
}

/// What the cleanup of a leftover does.
#[derive(Debug)]
enum CleanupStep {
    Nothing,
    Destroy(Box<DestroyPlan>),
    FinishAttach(Box<disk::InterruptedAttach>),
    FinishRepave(Box<Domain>),
    FinishSnapshots(Box<Domain>),
    DeleteWarmLeftover(WarmLeftover),
    DeletePartialImage { volume: Volume, mark: Vec<u8> },
    ForgetNote { pool: String, image: String },
    DeleteVolume(Volume),
    DeleteNvram(NvramFile),
}

impl LeftoverKind {
    /// The word in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vm => "vm",
            Self::Disk => "disk",
            Self::Snapshot => "snapshot",
            Self::Image => "image",
            Self::Note => "note",
            Self::Volume => "volume",
            Self::Nvram => "nvram",
        }
    }
}

impl LeftoverAction {
    /// The words in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CleanUp => "clean up",
            Self::WhenNamed => "when named",
            Self::Keep => "keep",
        }
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            LeftoverKind::Vm => "VM",
            LeftoverKind::Disk => "disk",
            LeftoverKind::Snapshot => "snapshot",
            LeftoverKind::Image => "partial image",
            LeftoverKind::Note => "origin note",
            LeftoverKind::Volume => "volume",
            LeftoverKind::Nvram => "EFI variables",
        };
        write!(f, "{what} {}", self.name)
    }
}

impl Leftover {
    fn new(kind: LeftoverKind, name: String, reason: impl Into<String>) -> Self {
        let (since, size, advice, volumes) = (None, None, None, Vec::new());
        let reason = reason.into();
        Self {
            kind,
            name,
            since,
            size,
            fate: LeftoverAction::Keep,
            reason,
            advice,
            volumes,
            step: CleanupStep::Nothing,
        }
    }

    fn of_volume(context: &Context, kind: LeftoverKind, volume: &Volume, reason: impl Into<String>) -> Self {
        let name = format!("{}/{}", volume.pool, volume.name);
        let since = file_locks::file_metadata(context, &volume.path).as_ref().and_then(modification_time);
        Self { since, size: Some(volume.allocation), ..Self::new(kind, name, reason) }
    }

    fn with_time(self, since: Option<String>) -> Self {
        Self { since, ..self }
    }

    fn with_advice(self, advice: impl Into<Advice>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    fn cleaned_up_by(self, step: CleanupStep) -> Self {
        Self { fate: LeftoverAction::CleanUp, step, ..self }
    }

    fn when_named_by(self, step: CleanupStep) -> Self {
        Self { fate: LeftoverAction::WhenNamed, step, ..self }
    }
}

/// Finds the leftovers among the domains, in the pools that foundry uses and, on this machine, among the EFI
/// variables files in `paths`. Changes nothing.
///
/// # Errors
/// A failed call to the host.
pub fn find_leftovers(context: &Context, paths: Option<&DomainDirectories>) -> Result<Leftovers, Error> {
    find_leftovers_for(context, paths, &[])
}

/// As [`find_leftovers`]; also looks in the pools that the user named.
///
/// # Errors
/// A failed call to the host.
pub fn find_leftovers_for(
    context: &Context,
    paths: Option<&DomainDirectories>,
    named: &[LeftoverName],
) -> Result<Leftovers, Error> {
    usage::refresh_pools(context)?;
    let domains = context.host.domains(false)?;
    let usage = Usage::collect(context, None)?;
    let mut leftovers = Leftovers { pools: volumes::pools_in_use(context, &domains), ..Leftovers::default() };
    leftovers.pools.extend(named.iter().filter_map(|choice| match choice {
        LeftoverName::Volume { pool, .. } => Some(pool.clone()),
        LeftoverName::Path(_) | LeftoverName::Vm(_) => None,
    }));
    leftovers.unseen_pools = volumes::unseen_pools(context, &leftovers.pools)?;
    leftovers.found.extend(vms::find_vms(context, &domains, &usage)?);
    leftovers.found.extend(volumes::find_volumes(context, &leftovers.pools, &usage)?);
    if let Some(paths) = paths.filter(|_| context.host.is_local()) {
        match nvram::find_nvram_files(context, paths, &domains, &usage)? {
            Ok(files) => leftovers.found.extend(files),
            Err(unseen) => leftovers.unseen.push(unseen),
        }
    }
    leftovers.found.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    leftovers.usage = Some(usage);
    Ok(leftovers)
}

/// When a file was last written, as RFC 3339.
fn modification_time(file: &Metadata) -> Option<String> {
    jiff::Timestamp::try_from(file.modified().ok()?).ok().map(format_rfc3339)
}

/// Why the work of a process is left alone: it is still running, or may be.
fn reason_if_busy(maker: &Maker, does: &str) -> Option<String> {
    match check_liveness(maker) {
        Liveness::Dead => None,
        Liveness::Alive => Some(format!("process {} {does}", maker.pid)),
        Liveness::Elsewhere => Some(format!("a process on another machine {does}, or did before it ended")),
    }
}
