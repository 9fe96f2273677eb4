//! Advice on a failure: text with commands in it, as data.
//!
//! A foundry command is a [`Verb`] with its objects, so a program that uses the library can run it. Only the command
//! line knows how the command is typed.

use crate::text::{escape_unseen, is_unseen};

/// What the user can do about a failure, in one sentence or several.
///
/// ```
/// # use foundry_core::error::{Advice, Verb};
/// let advice = Advice::from("if nobody needs it: ").run(Verb::Destroy { vm: "web".into(), force: true });
/// assert_eq!(advice.verbs().count(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advice {
    parts: Vec<AdvicePart>,
}

/// One part of an [`Advice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdvicePart {
    /// Text, and commands of other programs as a shell takes them.
    Text(String),
    /// A foundry command.
    Run(Verb),
}

impl Advice {
    /// Appends text to the advice.
    #[must_use]
    pub fn text(mut self, text: impl AsRef<str>) -> Self {
        let text = escape_unseen(text.as_ref());
        match self.parts.last_mut() {
            Some(AdvicePart::Text(before)) => before.push_str(&text),
            _ => self.parts.push(AdvicePart::Text(text)),
        }
        self
    }

    /// Appends a foundry command.
    #[must_use]
    pub fn run(mut self, verb: Verb) -> Self {
        self.parts.push(AdvicePart::Run(verb));
        self
    }

    /// Appends text and another advice.
    #[must_use]
    pub fn and_then(self, words: &str, other: impl Into<Self>) -> Self {
        let begun = self.text(words);
        other.into().parts.into_iter().fold(begun, |advice, part| match part {
            AdvicePart::Text(text) => advice.text(text),
            AdvicePart::Run(verb) => advice.run(verb),
        })
    }

    /// Returns the parts, in order.
    pub fn parts(&self) -> &[AdvicePart] {
        &self.parts
    }

    /// Formats the parts on one line for a log, with commands in debug form.
    pub fn to_log_line(&self) -> String {
        let part = |part: &AdvicePart| match part {
            AdvicePart::Text(text) => text.clone(),
            AdvicePart::Run(verb) => format!("[{verb:?}]"),
        };
        self.parts.iter().map(part).collect()
    }

    /// Returns the foundry commands in it.
    pub fn verbs(&self) -> impl Iterator<Item = &Verb> {
        self.parts.iter().filter_map(|part| match part {
            AdvicePart::Run(verb) => Some(verb),
            AdvicePart::Text(_) => None,
        })
    }

    /// Whether every name in it is shown unescaped. A name with an invisible character can look like another name, and
    /// a copied command would then refer to that other object.
    pub fn is_plain(&self) -> bool {
        self.parts.iter().all(|part| match part {
            AdvicePart::Text(text) => !text.contains("$'") && !text.chars().any(is_unseen),
            AdvicePart::Run(verb) => verb.objects().iter().all(|object| !object.chars().any(is_unseen)),
        })
    }
}

impl From<&str> for Advice {
    fn from(text: &str) -> Self {
        Self::default().text(text)
    }
}

impl From<String> for Advice {
    fn from(text: String) -> Self {
        Self::default().text(text)
    }
}

impl From<Verb> for Advice {
    fn from(verb: Verb) -> Self {
        Self::default().run(verb)
    }
}

/// A foundry command with its objects.
///
/// A `vm` is the domain's name, or its UUID if the name contains invisible characters. An object in capitals, such as
/// `POOL`, is a placeholder that the reader has to fill in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "each variant is a command of the command line, each field its argument of that name"
)]
pub enum Verb {
    Adopt {
        vm: String,
    },
    Create,
    CreateAndWait,
    Destroy {
        vm: String,
        force: bool,
    },
    ListAll,
    ListWide,
    Doctor,
    DoctorProbe {
        virt_type: Option<&'static str>,
    },
    Gc {
        only: Option<String>,
    },
    GcDryRun,
    CatalogList,
    ImageDelete {
        image: String,
        pool: Option<String>,
        force: bool,
    },
    ImageExport,
    ImageImport {
        file: Option<String>,
        name: Option<String>,
        convert: bool,
    },
    ImageInfo {
        image: String,
    },
    ImageList,
    ImagePrune,
    ImageWarm {
        image: String,
        from: bool,
    },
    ImagePull {
        image: Option<String>,
    },
    PoolAdd {
        pool: String,
    },
    PoolDelete {
        pool: String,
        force: bool,
    },
    PoolList,
    PoolRefresh {
        pool: String,
    },
    PoolStart {
        pool: String,
    },
    DiskAttach {
        vm: String,
        /// The size of a new disk (`5GiB`), or an existing volume as `POOL/VOLUME`.
        content: String,
        target: Option<String>,
        raw: bool,
        serial: Option<String>,
        at_next_start: bool,
    },
    DiskDetach {
        vm: String,
        target: String,
        keep: bool,
    },
    DiskResize {
        vm: String,
        target: String,
        size_gib: u64,
    },
    Clone {
        vm: String,
        name: String,
        addresses: Vec<String>,
    },
    Start {
        vm: String,
    },
    Console {
        vm: String,
        force: bool,
    },
    Logs {
        vm: String,
    },
    Stop {
        vm: String,
        force: bool,
    },
    Resume {
        vm: String,
    },
    RepaveAccept {
        vm: String,
    },
    RepaveAgain {
        vm: String,
        image: Option<String>,
    },
    RepaveFromFile {
        wait: bool,
    },
    RepaveRollBack {
        vm: String,
        force: bool,
    },
    Restart {
        vm: String,
    },
    SeedEject {
        vm: String,
        force: bool,
    },
    SnapshotCreate {
        vm: String,
        snapshot: Option<String>,
        no_freeze: bool,
    },
    SnapshotDelete {
        vm: String,
        snapshot: String,
    },
    SnapshotRestore {
        vm: String,
        snapshot: String,
    },
    StorageStatus,
}

impl Verb {
    /// Returns the names of the objects that the command refers to.
    pub fn objects(&self) -> Vec<&str> {
        match self {
            Self::Create
            | Self::CreateAndWait
            | Self::ListAll
            | Self::ListWide
            | Self::Doctor
            | Self::DoctorProbe { .. }
            | Self::GcDryRun
            | Self::CatalogList
            | Self::ImageExport
            | Self::ImageList
            | Self::ImagePrune
            | Self::PoolList
            | Self::RepaveFromFile { .. }
            | Self::StorageStatus => Vec::new(),
            Self::Gc { only } => only.iter().map(String::as_str).collect(),
            Self::ImageDelete { image, pool, .. } => {
                [Some(image), pool.as_ref()].into_iter().flatten().map(String::as_str).collect()
            }
            Self::ImageImport { file, name, .. } => {
                [file, name].into_iter().flatten().map(String::as_str).collect()
            }
            Self::ImagePull { image } => image.iter().map(String::as_str).collect(),
            Self::ImageInfo { image } | Self::ImageWarm { image, .. } => vec![image],
            Self::PoolAdd { pool }
            | Self::PoolDelete { pool, .. }
            | Self::PoolRefresh { pool }
            | Self::PoolStart { pool } => vec![pool],
            Self::Adopt { vm }
            | Self::Destroy { vm, .. }
            | Self::Start { vm }
            | Self::Console { vm, .. }
            | Self::Logs { vm }
            | Self::Stop { vm, .. }
            | Self::Resume { vm }
            | Self::RepaveAccept { vm }
            | Self::RepaveRollBack { vm, .. }
            | Self::Restart { vm }
            | Self::SeedEject { vm, .. } => vec![vm],
            Self::RepaveAgain { vm, image } => {
                [Some(vm), image.as_ref()].into_iter().flatten().map(String::as_str).collect()
            }
            Self::SnapshotCreate { vm, snapshot, .. } => {
                [Some(vm), snapshot.as_ref()].into_iter().flatten().map(String::as_str).collect()
            }
            Self::SnapshotDelete { vm, snapshot } | Self::SnapshotRestore { vm, snapshot } => {
                vec![vm, snapshot]
            }
            Self::Clone { vm, name, addresses } => {
                [vm, name].into_iter().chain(addresses).map(String::as_str).collect()
            }
            Self::DiskAttach { vm, target, serial, .. } => [Some(vm), target.as_ref(), serial.as_ref()]
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect(),
            Self::DiskDetach { vm, target, .. } | Self::DiskResize { vm, target, .. } => vec![vm, target],
        }
    }
}
