//! Validates the request for a pool.

use super::arguments::{self, CheckedWord};
use super::{PoolAuth, PoolSourceSpec, PoolType};
use crate::error::{Code, Error};

/// The request for a pool, as it was typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolRequest {
    /// The source: one argument, or two for iSCSI.
    pub source: Vec<String>,
    /// `--target`: the mount point.
    pub target: Option<String>,
    /// `--format`: type of the file system.
    pub format: Option<String>,
    /// `--protocol-ver`: version of NFS.
    pub protocol_version: Option<String>,
    /// `--monitor`: addresses of Ceph's monitors.
    pub monitors: Vec<String>,
    /// `--auth-user`: user name on the server.
    pub auth_user: Option<String>,
    /// `--secret`: UUID or usage of the libvirt secret.
    pub secret: Option<String>,
    /// `--initiator-iqn`: qualified name of this host.
    pub initiator: Option<String>,
}

impl PoolSourceSpec {
    /// Validates a request.
    ///
    /// # Errors
    /// [`crate::error::Kind::Validation`] with all problems, one per line.
    pub fn from_request(kind: PoolType, wanted: &PoolRequest) -> Result<Self, Error> {
        let mut judge = SourceJudge { kind, rest: wanted.clone(), problems: Vec::new() };
        let source = judge.judge_source();
        judge.refuse_the_rest();
        match source.filter(|_| judge.problems.is_empty()) {
            Some(source) => Ok(source),
            None => Err(Error::of_lines(Code::PoolSourceUnfit, judge.problems).unchanged()),
        }
    }
}

/// Takes the arguments that the pool type needs and collects problems. Arguments that are left over have no meaning for
/// the type.
struct SourceJudge {
    kind: PoolType,
    rest: PoolRequest,
    problems: Vec<String>,
}

impl SourceJudge {
    /// Judges the source. Every argument is taken before any result is used, so that no problem hides another.
    fn judge_source(&mut self) -> Option<PoolSourceSpec> {
        match self.kind {
            PoolType::Dir => Some(PoolSourceSpec::Dir {
                path: self.take_word("the path of a directory", arguments::check_path)?,
            }),
            PoolType::Fs => {
                let device = self.take_word("a block device", arguments::check_device);
                let (target, format) = (self.take_target(), self.take_format("auto", &arguments::FS_FORMATS));
                Some(PoolSourceSpec::Fs { device: device?, target: target?, format: format? })
            }
            PoolType::NetFs => self.judge_netfs(),
            PoolType::Logical => Some(PoolSourceSpec::Logical {
                group: self.take_word("a volume group", arguments::check_volume_group)?,
            }),
            PoolType::Zfs => Some(PoolSourceSpec::Zfs {
                dataset: self.take_word("a ZFS pool or dataset", arguments::check_dataset)?,
            }),
            PoolType::Rbd => {
                let pool = self.take_word("a Ceph pool", arguments::check_ceph_pool);
                let monitors = self.take_monitors();
                let auth = self.take_auth();
                Some(PoolSourceSpec::Rbd { pool: pool?, monitors: monitors?, auth: auth? })
            }
            PoolType::Iscsi => {
                let portal = self.take_word("a portal, HOST or HOST:PORT", arguments::parse_server);
                let target = self.take_word("the target's qualified name", arguments::check_iqn);
                let initiator =
                    self.rest.initiator.take().map(|word| arguments::check_iqn(&word)).transpose();
                let (initiator, auth) = (self.keep_problem(initiator), self.take_auth());
                Some(PoolSourceSpec::Iscsi {
                    portal: portal?,
                    target: target?,
                    initiator: initiator?,
                    auth: auth?,
                })
            }
        }
    }

    fn judge_netfs(&mut self) -> Option<PoolSourceSpec> {
        let (format, target) = (self.take_format("nfs", &arguments::NETFS_FORMATS), self.take_target());
        let is_nfs = format.as_deref().is_none_or(|f| matches!(f, "nfs" | "auto"));
        let export =
            self.take_word("an export, HOST:/DIRECTORY", |word| arguments::parse_export(word, is_nfs));
        // The argument stays in the request, so it is reported as having no meaning.
        let version = if format.as_deref() == Some("nfs") { self.rest.protocol_version.take() } else { None };
        let version = version.map(|word| arguments::check_version(&word)).transpose();
        let version = self.keep_problem(version);
        let (server, export) = export?;
        Some(PoolSourceSpec::NetFs { server, export, target: target?, format: format?, version: version? })
    }

    fn keep_problem<T>(&mut self, judged: CheckedWord<T>) -> Option<T> {
        judged.map_err(|problem| self.problems.push(problem)).ok()
    }

    /// Takes the next argument of the source.
    fn take_word<T>(&mut self, what: &str, check: impl FnOnce(&str) -> CheckedWord<T>) -> Option<T> {
        if self.rest.source.is_empty() {
            self.problems.push(format!("a pool of type {} needs {what}", self.kind.as_str()));
            return None;
        }
        let word = self.rest.source.remove(0);
        self.keep_problem(check(&word))
    }

    fn take_target(&mut self) -> Option<String> {
        let Some(target) = self.rest.target.take() else {
            let needs = "needs --target, the mount point";
            self.problems.push(format!("a pool of type {} {needs}", self.kind.as_str()));
            return None;
        };
        self.keep_problem(arguments::check_path(&target).map_err(|problem| format!("--target {problem}")))
    }

    fn take_format(&mut self, default: &str, known: &[&str]) -> Option<String> {
        let format = self.rest.format.take();
        self.keep_problem(arguments::check_format(format.as_deref().unwrap_or(default), known))
    }

    fn take_monitors(&mut self) -> Option<Vec<super::Server>> {
        let monitors = std::mem::take(&mut self.rest.monitors);
        if monitors.is_empty() {
            self.problems
                .push("a pool of type rbd needs --monitor HOST[:PORT], once for each Ceph monitor".into());
            return None;
        }
        let judged: Vec<_> = monitors
            .iter()
            .map(|word| {
                self.keep_problem(
                    arguments::parse_server(word).map_err(|problem| format!("--monitor {problem}")),
                )
            })
            .collect();
        judged.into_iter().collect()
    }

    /// Takes user and secret, which are only valid together. The outer option says whether that was the case.
    fn take_auth(&mut self) -> Option<Option<PoolAuth>> {
        match (self.rest.auth_user.take(), self.rest.secret.take()) {
            (None, None) => Some(None),
            (Some(user), Some(secret)) => {
                let (user, secret) = (
                    self.keep_problem(arguments::check_user(&user)),
                    self.keep_problem(arguments::parse_secret(&secret)),
                );
                Some(Some(PoolAuth { user: user?, secret: secret? }))
            }
            (given, _) => {
                let missing = if given.is_some() { "--secret" } else { "--auth-user" };
                self.problems
                    .push(format!("--auth-user and --secret must be given together; {missing} is missing"));
                None
            }
        }
    }

    fn refuse_the_rest(&mut self) {
        let PoolRequest { source, target, format, protocol_version, monitors, auth_user, secret, initiator } =
            &self.rest;
        let given = [
            ("--target", target.is_some()),
            ("--format", format.is_some()),
            ("--protocol-ver", protocol_version.is_some()),
            ("--monitor", !monitors.is_empty()),
            ("--auth-user", auth_user.is_some()),
            ("--secret", secret.is_some()),
            ("--initiator-iqn", initiator.is_some()),
        ];
        let kind = self.kind.as_str();
        let mut unused: Vec<String> =
            source.iter().map(|word| format!("{word:?} is one argument too many")).collect();
        for (option, _) in given.into_iter().filter(|(_, given)| *given) {
            unused.push(match option {
                "--protocol-ver" if self.kind == PoolType::NetFs => {
                    "--protocol-ver is for --format nfs".into()
                }
                _ => format!("{option} has no meaning for a pool of type {kind}"),
            });
        }
        self.problems.extend(unused);
    }
}
