//! The causes of failures, each with an id that never changes.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::Kind;

/// Declares the codes, grouped by kind of failure; each id is written in one place only.
macro_rules! codes {
    ($($kind:ident { $($id:literal $name:ident)* })*) => {
        /// The cause of a failure: what `FND-4201` stands for, and what `foundry explain FND-4201` explains.
        ///
        /// The thousands are the kind, which determines the exit code. An id never changes its meaning and is never
        /// reused; a new cause gets a new id. The meanings are in `codes.md`, which [`Code::explanation`] reads.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = concat!("`FND-", $id, "`")] $name,)*)*
        }

        impl Code {
            /// All codes, in the order of their ids.
            pub const ALL: &[Self] = &[$($(Self::$name,)*)*];

            /// Returns the digits of the id.
            pub fn number(self) -> u16 {
                match self { $($(Self::$name => $id,)*)* }
            }

            /// Returns the kind of failure, which determines the exit code.
            pub fn kind(self) -> Kind {
                match self { $($(Self::$name => Kind::$kind,)*)* }
            }
        }
    };
}

codes! {
    Configuration {
        1000 Configuration
        // Files and their content.
        1001 FileUnreadable
        1002 FileUnwritable
        1003 NotYaml
        1004 FieldUnknown
        1005 WrongType
        1006 KeyTwice
        1007 OtherKind
        1008 NoManifest
        1009 TooLarge
        1010 FileTaken
        1075 LoginUnfit
        // Settings.
        1101 SettingWrong
        1102 ContextMissing
        1103 NoDirectory
        // The terminal and pipes.
        1201 NobodyToAsk
        1202 OutputUnwritable
        // Arguments of `explain`.
        1301 FieldMissing
        1302 CodeMissing
        // Programs that call foundry for a CI system.
        1401 ProviderCallUnfit
        // Jobs of GitLab.
        1411 JobUnknown
        1412 JobImageRefused
        1413 JobGuestUnfit
        1414 JobLoginFailed
        // Pools of runners.
        1421 JobDatabaseUnusable
        1422 RunnerPoolUnknown
        1423 RunnerUnknown
        1424 ListenerUnusable
    }
    Validation {
        2000 Validation
        // Values of any field.
        2001 ValueMissing
        2002 NumberUnfit
        2003 WordUnknown
        2004 TextUnfit
        2005 Contradiction
        2006 TooMany
        // Names.
        2101 NameUnfit
        2102 LabelUnfit
        2103 NameTwice
        // The network.
        2201 AddressUnfit
        2202 AddressTwice
        2203 NoWayOut
        2204 VlanUnfit
        // Disks and firmware.
        2301 ImageReference
        2302 DeviceTwice
        2303 FirmwareUnfit
        2304 DiskWouldShrink
        2305 XmlPatchUnfit
        // cloud-init.
        2401 SshKeyUnfit
        2402 SshKeyPrivate
        2403 PasswordHashUnfit
        2404 UserDataUnfit
        2405 HostNameUnfit
        // Arguments of commands.
        2501 PoolSourceUnfit
        2502 CatalogueImageMissing
        2503 CatalogueEntryUnfit
        2504 DownloadUnfit
        2505 ImageNameUnfit
    }
    Connection {
        3000 Connection
        3001 SocketForbidden
        3002 DaemonDown
        3003 AuthenticationRefused
        3004 ConnectionLost
        3005 NoAnswer
        3006 HostUnreachable
        3007 UriWrong
        3008 ForgeUnusable
    }
    Vm {
        4000 Vm
        // The name and the record.
        4001 NameTaken
        4002 VmMissing
        4003 NotFoundrys
        4004 BeingCreated
        4005 HalfCreated
        4006 HalfDestroyed
        4007 ChangedMeanwhile
        4008 VmTurnTaken
        4009 RecordUnreadable
        4010 VmDeclined
        4020 ChangeRefused
        4075 TurnsUnsafe
        // The hypervisor and the machine.
        4101 NoKvm
        4102 ArchUnsupported
        4103 MachineUnknown
        4104 CpuUnknown
        4105 FirmwareMissing
        4106 SecureBootMissing
        4107 OutOfMemory
        4108 NvramInTheWay
        4109 SnapshotInTheWay
        4110 Confined
        4111 QemuMissing
        4112 HelperDown
        4113 GraphicsUnsupported
        4130 SavedMemoryInTheWay
        4155 TooManyCpus
        4160 WarmStartFailed
        // The network.
        4201 BridgeMissing
        4202 BridgeDown
        4203 MtuRefused
        4204 NetworkMissing
        4205 NetworkInactive
        4206 AddressTaken
        4207 MacTaken
        4208 PortTaken
        4209 VlanUnsupported
        4210 TapRefused
        4211 TapTaken
        4255 AddressOfHost
        // The guest.
        4301 GuestStopped
        4302 CloudInitFailed
        4303 CloudInitUndone
        4304 GuestUnstoppable
        4305 GuestPaused
        4306 GuestOff
        4316 ConsoleInUse
        4317 LogUnreadable
        4321 AddressUnknown
        4322 AgentSilent
        4323 AgentRefuses
        4324 ScreenMissing
        4331 GuestFrozen
        4335 VmHeld
        4340 VmRuns
        // Disks of a VM.
        4401 DiskMissing
        4402 DeviceTaken
        4403 DiskBusy
        4404 DiskNotOwn
        4405 DiskHalfThere
        4406 SeedMissing
        4421 RepaveUnsettled
        4422 NothingToRollBack
        // Snapshots of a VM.
        4451 SnapshotMissing
        4452 SnapshotTaken
        // The host as a whole.
        4501 HostProblems
    }
    Storage {
        5000 Storage
        // Pools.
        5001 PoolMissing
        5002 PoolInactive
        5003 PoolUnreadable
        5004 PoolTaken
        5005 PoolInUse
        5006 PoolNotEmpty
        5007 PoolUnfit
        5008 PoolSourceMissing
        5009 PoolDriverMissing
        5010 StorageDeclined
        5011 PoolUnwritable
        // Images.
        5101 ImageMissing
        5102 DiskSmallerThanImage
        5103 ImageInUse
        5104 ImageIncomplete
        5105 NotAnImage
        5106 ImageTaken
        5107 ImageOutsidePools
        5108 ImageMisnamed
        5109 ImageDiffers
        5130 ImageIsDisk
        5145 ImageOfOthers
        5150 WarmImageUnfit
        // Volumes and files.
        5201 OutOfSpace
        5202 VolumeTaken
        5203 DiskOpenElsewhere
        5204 DiskUnreadable
        5205 VolumeMissing
        5206 VolumeChanged
        5207 VolumeTurnTaken
        5208 NotLeftOver
        5209 SeedUnreadable
        5215 VolumeUnfit
        5250 FileTooLarge
        // Transfers.
        5301 ServerUnreachable
        5302 ServerRefused
        5303 ServerAnswer
        5304 ContentChanged
        5305 ChecksumWrong
        5306 ContentDamaged
        5307 LocalFile
        5308 ConversionFailed
        5309 QemuImgMissing
    }
    Timeout {
        6000 Timeout
        6001 NotReady
        6002 DiskHeld
        6003 ShutdownIgnored
    }
    Interrupted {
        9000 Interrupted
        9001 InterruptedAgain
    }
}

impl Code {
    /// Whether it is the general code of its kind.
    pub fn is_general(self) -> bool {
        self == self.kind().into()
    }

    /// Parses an id: `FND-4201`, also in lower case, or only its digits.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let prefix = text.get(..4).filter(|prefix| prefix.eq_ignore_ascii_case("FND-"));
        let digits = prefix.map_or(text, |prefix| &text[prefix.len()..]);
        Self::ALL.iter().find(|code| code.number().to_string() == digits).copied()
    }
}

impl JsonSchema for Code {
    fn schema_name() -> Cow<'static, str> {
        "Code".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^FND-[0-9]{4}$" })
    }
}

/// Serialized as its id.
impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FND-{}", self.number())
    }
}

/// Returns the general code of a kind, for failures without a specific code.
impl From<Kind> for Code {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Configuration => Self::Configuration,
            Kind::Validation => Self::Validation,
            Kind::Connection => Self::Connection,
            Kind::Vm => Self::Vm,
            Kind::Storage => Self::Storage,
            Kind::Timeout => Self::Timeout,
            Kind::Interrupted => Self::Interrupted,
        }
    }
}
