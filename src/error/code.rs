//! The causes of failure, each with an id that never changes.

use std::fmt;

use super::Kind;

/// Declares the codes by the kind of failure that they are; an id stands in one place.
macro_rules! codes {
    ($($kind:ident { $($id:literal $name:ident)* })*) => {
        /// Why something failed: what `FND-4201` stands for, and `foundry explain FND-4201` explains.
        ///
        /// The thousands are the kind, and with it the exit code. An id never changes its meaning and is never used
        /// again for another; a new cause has a new id. What each means stands in `ERRORS.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = concat!("`FND-", $id, "`")] $name,)*)*
        }

        impl Code {
            /// All of them, by their ids.
            pub const ALL: &[Self] = &[$($(Self::$name,)*)*];

            /// The digits of its id.
            pub fn number(self) -> u16 {
                match self { $($(Self::$name => $id,)*)* }
            }

            /// The kind of failure, from which the exit code follows.
            pub fn kind(self) -> Kind {
                match self { $($(Self::$name => Kind::$kind,)*)* }
            }
        }
    };
}

codes! {
    Configuration {
        1000 Configuration
        // Files and what is written in them.
        1001 FileUnreadable
        1002 FileUnwritable
        1003 NotYaml
        1004 UnknownField
        1005 WrongType
        1006 KeyTwice
        1007 OtherKind
        1008 NoManifest
        1009 Tag
        // Settings.
        1101 SettingUnknown
        1102 SettingWrong
        1103 ContextMissing
        1104 NoDirectory
        1105 CatalogueBroken
        // The terminal and the pipes.
        1201 NobodyToAsk
        1202 OutputBroken
        // Asked of `explain`.
        1301 FieldMissing
        1302 CodeMissing
    }
    Validation {
        2000 Validation
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
        4008 TurnTaken
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
        // Images.
        5101 ImageMissing
        5102 DiskSmallerThanImage
        5103 ImageInUse
        5104 ImageIncomplete
        5105 NotAnImage
        5106 ImageTaken
        // Volumes and files.
        5201 OutOfSpace
        5202 VolumeTaken
        5203 DiskOpenElsewhere
        5204 DiskUnreadable
        5205 VolumeInUse
    }
    Timeout {
        6000 Timeout
    }
    Interrupted {
        9000 Interrupted
        9001 InterruptedAgain
    }
}

impl Code {
    /// The code of that id: `FND-4201`, also in lower case, or its digits alone.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let prefix = text.get(..4).filter(|prefix| prefix.eq_ignore_ascii_case("FND-"));
        let digits = prefix.map_or(text, |prefix| &text[prefix.len()..]);
        Self::ALL.iter().find(|code| code.number().to_string() == digits).copied()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FND-{}", self.number())
    }
}

/// The general code of a kind, for what cannot be said better.
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
