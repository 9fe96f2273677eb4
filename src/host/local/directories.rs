//! The directories of this machine's users and of its libvirt. Nothing else reads `HOME`, `XDG_*` and `TMPDIR`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::accounts::is_root;
use crate::uri::driver_of;

/// The base directories of a user (XDG Base Directory Specification), as variables set them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UserDirectories {
    home: Option<PathBuf>,
    data_home: Option<PathBuf>,
    config_home: Option<PathBuf>,
    cache_home: Option<PathBuf>,
    state_home: Option<PathBuf>,
    runtime: Option<PathBuf>,
    temporary: Option<PathBuf>,
}

impl UserDirectories {
    /// Those of this process.
    pub(super) fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// An empty variable counts as unset.
    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            home: path("HOME"),
            data_home: path("XDG_DATA_HOME"),
            config_home: path("XDG_CONFIG_HOME"),
            cache_home: path("XDG_CACHE_HOME"),
            state_home: path("XDG_STATE_HOME"),
            runtime: path("XDG_RUNTIME_DIR"),
            temporary: path("TMPDIR"),
        }
    }

    /// The same without relative paths, which the specification has programs ignore. GLib, and so libvirt, does not.
    pub(super) fn absolute(self) -> Self {
        let absolute = |path: Option<PathBuf>| path.filter(|path| path.is_absolute());
        Self {
            home: absolute(self.home),
            data_home: absolute(self.data_home),
            config_home: absolute(self.config_home),
            cache_home: absolute(self.cache_home),
            state_home: absolute(self.state_home),
            runtime: absolute(self.runtime),
            temporary: absolute(self.temporary),
        }
    }

    fn data(&self) -> Option<PathBuf> {
        self.data_home.clone().or_else(|| self.below_home(".local/share"))
    }

    fn config(&self) -> Option<PathBuf> {
        self.config_home.clone().or_else(|| self.below_home(".config"))
    }

    /// For files that may be lost.
    pub(super) fn cache(&self) -> Option<PathBuf> {
        self.cache_home.clone().or_else(|| self.below_home(".cache"))
    }

    /// For files that outlive a restart, and that nobody edits.
    fn state(&self) -> Option<PathBuf> {
        self.state_home.clone().or_else(|| self.below_home(".local/state"))
    }

    /// For files that are needed until the user logs out.
    pub(super) fn runtime(&self) -> Option<PathBuf> {
        self.runtime.clone()
    }

    fn below_home(&self, path: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(path))
    }
}

/// The directory for images that are needed for a while. It is on a disk, like the directory for files that outlive a
/// restart. The other temporary directory may be in memory (file-hierarchy(7)).
pub fn spool_directory() -> PathBuf {
    let lasting = || Some(PathBuf::from("/var/tmp")).filter(|path| path.is_dir());
    UserDirectories::from_environment().temporary.or_else(lasting).unwrap_or_else(std::env::temp_dir)
}

/// The directory for what foundry notes for this user; `None` if no variable determines it.
pub fn state_directory() -> Option<PathBuf> {
    Some(UserDirectories::from_environment().absolute().state()?.join("foundry"))
}

/// The socket of the service manager, if it started this process and wants to know how far it is; an abstract one begins
/// with `@` (sd_notify(3)).
pub(super) fn notify_socket() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())
}

/// The directory for what a service of this user keeps: root's is the system's (file-hierarchy(7)).
pub fn service_directory() -> Option<PathBuf> {
    if is_root() { Some(PathBuf::from("/var/lib/foundry")) } else { state_directory() }
}

/// The directory with the manifests of runner pools: of the variable FOUNDRY_RUNNER_DIRECTORY, or root's is the system's.
pub fn runner_directory() -> Option<PathBuf> {
    let named =
        std::env::var_os("FOUNDRY_RUNNER_DIRECTORY").filter(|named| !named.is_empty()).map(PathBuf::from);
    let usual = || {
        let own = || Some(UserDirectories::from_environment().absolute().config()?.join("foundry/runners"));
        if is_root() { Some(PathBuf::from("/etc/foundry/runners")) } else { own() }
    };
    named.or_else(usual)
}

/// Whether a URI names a user's own libvirt, with its directories in the user's home. The session of root is the
/// system's.
pub fn is_session(uri: &str) -> bool {
    driver_of(uri) == "/session" && !is_root()
}

/// A libvirt of this machine, which determines its directories (libvirt's page "Drivers", QEMU: location of
/// configuration files). A directory is `None` if the variables do not determine it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibvirtInstance(Option<UserDirectories>);

impl LibvirtInstance {
    /// The one that a URI names.
    pub fn of(uri: &str) -> Self {
        Self(is_session(uri).then(UserDirectories::from_environment))
    }

    /// The directory for images.
    pub fn images(&self) -> Option<PathBuf> {
        match &self.0 {
            None => Some("/var/lib/libvirt/images".into()),
            Some(user) => Some(user.data()?.join("libvirt/images")),
        }
    }

    /// The directory for logs of QEMU and of consoles, in which virtlogd may write.
    pub fn logs(&self) -> Option<PathBuf> {
        match &self.0 {
            None => Some("/var/log/libvirt/qemu".into()),
            Some(user) => Some(user.cache()?.join("libvirt/qemu/log")),
        }
    }

    /// The directory for the process ids of guests.
    pub fn pid_files(&self) -> Option<PathBuf> {
        match &self.0 {
            None => Some("/run/libvirt/qemu".into()),
            Some(user) => Some(user.runtime()?.join("libvirt/qemu/run")),
        }
    }

    /// The directories for files of defined domains.
    pub fn domain_directories(&self) -> Option<DomainDirectories> {
        let Some(user) = &self.0 else {
            return Some(DomainDirectories {
                nvram: "/var/lib/libvirt/qemu/nvram".into(),
                definitions: "/etc/libvirt/qemu".into(),
                saved: "/var/lib/libvirt/qemu/save".into(),
            });
        };
        let definitions = user.config()?.join("libvirt/qemu");
        let (nvram, saved) = (definitions.join("nvram"), definitions.join("save"));
        Some(DomainDirectories { nvram, definitions, saved })
    }
}

/// Where a libvirt of this machine keeps the files of defined domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainDirectories {
    /// The directory of the EFI variable files.
    pub nvram: PathBuf,
    /// The XML of the persistent definitions.
    pub definitions: PathBuf,
    /// The memory of domains that were saved (managed save).
    pub saved: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(variables: &[(&str, &str)]) -> UserDirectories {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        UserDirectories::from_variables(|name| value(name).map(OsString::from))
    }

    #[test]
    fn a_session_has_its_files_in_the_home_of_its_user() {
        let libvirt = LibvirtInstance(Some(user(&[("HOME", "/home/a"), ("XDG_CONFIG_HOME", "")])));
        assert_eq!(libvirt.images(), Some("/home/a/.local/share/libvirt/images".into()));
        assert_eq!(libvirt.logs(), Some("/home/a/.cache/libvirt/qemu/log".into()));
        assert_eq!(libvirt.pid_files(), None);
        let domains = libvirt.domain_directories().unwrap();
        assert_eq!(domains.definitions, PathBuf::from("/home/a/.config/libvirt/qemu"));
        assert_eq!(domains.nvram, PathBuf::from("/home/a/.config/libvirt/qemu/nvram"));
        assert_eq!(domains.saved, PathBuf::from("/home/a/.config/libvirt/qemu/save"));
    }

    #[test]
    fn variables_override_the_home() {
        let libvirt = LibvirtInstance(Some(user(&[
            ("HOME", "/home/a"),
            ("XDG_DATA_HOME", "/d"),
            ("XDG_CONFIG_HOME", "/c"),
            ("XDG_CACHE_HOME", "relative"),
            ("XDG_RUNTIME_DIR", "/run/user/1000"),
        ])));
        assert_eq!(libvirt.images(), Some("/d/libvirt/images".into()));
        assert_eq!(libvirt.logs(), Some("relative/libvirt/qemu/log".into()));
        assert_eq!(libvirt.pid_files(), Some("/run/user/1000/libvirt/qemu/run".into()));
        assert_eq!(libvirt.domain_directories().unwrap().nvram, PathBuf::from("/c/libvirt/qemu/nvram"));
        let own = libvirt.0.unwrap().absolute();
        assert_eq!(own.cache(), Some("/home/a/.cache".into()));
        assert_eq!(own.state(), Some("/home/a/.local/state".into()));
    }

    #[test]
    fn a_session_without_variables_has_no_directories() {
        let libvirt = LibvirtInstance(Some(user(&[])));
        assert_eq!((libvirt.images(), libvirt.logs(), libvirt.domain_directories()), (None, None, None));
    }

    #[test]
    fn only_a_users_session_is_one() {
        for uri in ["qemu:///session", "qemu+unix:///session?socket=/run/x", "qemu+ssh://a@hv1/session"] {
            assert_eq!(is_session(uri), !is_root(), "{uri}");
        }
        for uri in ["qemu:///system", "qemu:///system?x=/session", "nonsense"] {
            assert!(!is_session(uri), "{uri}");
        }
    }
}
