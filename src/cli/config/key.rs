//! The settings: names in files, on the command line and in the environment, and valid values.

use std::net::IpAddr;

use foundry_core::names::{BridgeName, NameError, PoolName};
use foundry_core::plan;
use foundry_core::units::parse_duration;
use foundry_engine::Settings;

/// The values of `virtType`.
pub const VIRT_TYPE_WORDS: [&str; 3] = ["auto", "kvm", "qemu"];
/// The values of `output`: the formats that suit every listing.
pub const OUTPUT_WORDS: [&str; 5] = ["table", "wide", "yaml", "json", "name"];
/// The values of `color`.
pub const COLOR_WORDS: [&str; 3] = ["auto", "always", "never"];
/// The values of `progress`.
pub const PROGRESS_WORDS: [&str; 4] = ["auto", "plain", "json", "none"];

/// A setting, as a key in files, a flag and environment variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SettingKey {
    /// The URI of libvirt.
    Connect,
    /// The pool of VM disks, unless the manifest names one.
    VmPool,
    /// The pool of images, unless the manifest names one.
    ImagePool,
    /// Directory on the host for the default pools.
    StoragePath,
    /// Hardware virtualization or emulation.
    VirtType,
    /// Bridge of interfaces without bridge or network.
    Bridge,
    /// Name servers of interfaces that name none.
    DnsServers,
    /// The user's own catalogue of images.
    Catalog,
    /// How long `create --wait` waits.
    WaitTimeout,
    /// How long a guest may take to shut down.
    DestroyTimeout,
    /// How long a guest may take to release a disk.
    DetachTimeout,
    /// How long one libvirt call may take.
    CallTimeout,
    /// The output format of listings.
    Output,
    /// Whether output has colours.
    Color,
    /// How the progress of an operation is shown.
    Progress,
}

impl SettingKey {
    /// All settings, in the order of `config view`.
    pub const ALL: [Self; 15] = [
        Self::Connect,
        Self::VmPool,
        Self::ImagePool,
        Self::StoragePath,
        Self::VirtType,
        Self::Bridge,
        Self::DnsServers,
        Self::Catalog,
        Self::WaitTimeout,
        Self::DestroyTimeout,
        Self::DetachTimeout,
        Self::CallTimeout,
        Self::Output,
        Self::Color,
        Self::Progress,
    ];

    /// The key in a configuration file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::VmPool => "vmPool",
            Self::ImagePool => "imagePool",
            Self::StoragePath => "storagePath",
            Self::VirtType => "virtType",
            Self::Bridge => "bridge",
            Self::DnsServers => "dnsServers",
            Self::Catalog => "catalog",
            Self::WaitTimeout => "waitTimeout",
            Self::DestroyTimeout => "destroyTimeout",
            Self::DetachTimeout => "detachTimeout",
            Self::CallTimeout => "callTimeout",
            Self::Output => "output",
            Self::Color => "color",
            Self::Progress => "progress",
        }
    }

    /// The help text, also the description in the schema.
    pub fn help_text(self) -> &'static str {
        match self {
            Self::Connect => "Connect to this libvirt",
            Self::VmPool => "Pool of VM disks, unless the manifest names one",
            Self::ImagePool => "Pool of images, unless the manifest names one",
            Self::StoragePath => "Directory on the host for the default pools",
            Self::VirtType => "Virtualization: kvm (hardware), qemu (emulation) or auto",
            Self::Bridge => "Bridge of interfaces without bridge or network",
            Self::DnsServers => "Default name servers, for interfaces with a gateway",
            Self::Catalog => "Your image catalogue",
            Self::WaitTimeout => "How long to wait for a created VM, as in 90s or 5m",
            Self::DestroyTimeout => "How long the guest may take to shut down",
            Self::DetachTimeout => "How long the guest may take to release a disk",
            Self::CallTimeout => "Timeout for a libvirt call, 0 for none; data copies get 60 times as long",
            Self::Output => "Output format of listings",
            Self::Color => "Colour output",
            Self::Progress => "Progress display",
        }
    }

    /// The setting with this key in a file.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// The environment variables that set it. The first one that is set is used.
    pub fn env_variables(self) -> &'static [&'static str] {
        match self {
            // libvirt's own variable, which virsh uses, too (libvirt's page "Connection URIs").
            Self::Connect => &["FOUNDRY_CONNECT", "LIBVIRT_DEFAULT_URI"],
            Self::VmPool => &["FOUNDRY_VM_POOL"],
            Self::ImagePool => &["FOUNDRY_IMAGE_POOL"],
            Self::StoragePath => &["FOUNDRY_STORAGE_PATH"],
            Self::VirtType => &["FOUNDRY_VIRT_TYPE"],
            Self::Bridge => &["FOUNDRY_BRIDGE"],
            Self::DnsServers => &["FOUNDRY_DNS_SERVERS"],
            Self::Catalog => &["FOUNDRY_CATALOG"],
            Self::WaitTimeout => &["FOUNDRY_WAIT_TIMEOUT"],
            Self::DestroyTimeout => &["FOUNDRY_DESTROY_TIMEOUT"],
            Self::DetachTimeout => &["FOUNDRY_DETACH_TIMEOUT"],
            Self::CallTimeout => &["FOUNDRY_CALL_TIMEOUT"],
            Self::Output => &["FOUNDRY_OUTPUT"],
            Self::Color => &["FOUNDRY_COLOR"],
            Self::Progress => &["FOUNDRY_PROGRESS"],
        }
    }

    /// The built-in default; `None` if there is none or if it depends on the user.
    pub fn default(self) -> Option<&'static str> {
        match self {
            Self::Connect | Self::StoragePath | Self::Bridge | Self::DnsServers | Self::Catalog => None,
            Self::VmPool => Some(Settings::DEFAULT_VM_POOL),
            Self::ImagePool => Some(Settings::DEFAULT_IMAGE_POOL),
            Self::WaitTimeout => Some("5m"),
            Self::DestroyTimeout => Some("5s"),
            Self::DetachTimeout => Some("30s"),
            Self::CallTimeout => Some("60s"),
            Self::Output => Some("table"),
            Self::VirtType | Self::Color | Self::Progress => Some("auto"),
        }
    }

    /// Whether a file gives it as a list.
    pub fn is_list(self) -> bool {
        self == Self::DnsServers
    }

    /// The valid values, if there are only a few.
    pub fn allowed_words(self) -> Option<&'static [&'static str]> {
        match self {
            Self::VirtType => Some(&VIRT_TYPE_WORDS),
            Self::Output => Some(&OUTPUT_WORDS),
            Self::Color => Some(&COLOR_WORDS),
            Self::Progress => Some(&PROGRESS_WORDS),
            _ => None,
        }
    }

    /// Validates a value from any source.
    ///
    /// # Errors
    /// Why it is invalid, as the rest of a sentence that starts with the value.
    pub fn check_value(self, text: &str) -> Result<(), String> {
        if text.is_empty() || text.contains(char::is_control) {
            let what = if text.is_empty() { "is empty" } else { "has control characters" };
            return Err(what.to_owned());
        }
        match self {
            Self::Connect => Ok(()),
            Self::VmPool | Self::ImagePool => to_reason(text.parse::<PoolName>()),
            Self::Bridge => to_reason(text.parse::<BridgeName>()),
            Self::StoragePath if !text.starts_with('/') => Err("is not an absolute path".into()),
            Self::Catalog if text.starts_with('~') => {
                Err("begins with '~', which only a shell expands".into())
            }
            Self::StoragePath | Self::Catalog => Ok(()),
            Self::DnsServers => name_servers(text).map(drop),
            Self::WaitTimeout | Self::DestroyTimeout | Self::DetachTimeout | Self::CallTimeout => {
                let wrong = |_| "is not a duration of at most 30 days; write 90s, 5m or 1h30m".to_owned();
                parse_duration(text).map(drop).map_err(wrong)
            }
            Self::VirtType | Self::Output | Self::Color | Self::Progress => self.check_word(text),
        }
    }

    fn check_word(self, text: &str) -> Result<(), String> {
        let words = self.allowed_words().unwrap_or_default();
        if words.contains(&text) { Ok(()) } else { Err(format!("is not one of {}", words.join(", "))) }
    }
}

fn to_reason<T>(parsed: Result<T, NameError>) -> Result<(), String> {
    parsed.map(drop).map_err(|e| e.to_string())
}

/// The elements of a comma-separated list.
pub(super) fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

fn name_servers(text: &str) -> Result<Vec<IpAddr>, String> {
    split_list(text)
        .map(|one| plan::parse_name_server(one).map_err(|why| format!("has {one:?}, which {why}")))
        .collect()
}
