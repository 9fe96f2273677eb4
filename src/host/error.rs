//! Errors from a host.

use std::time::Duration;

use super::diagnosis::advice::{KVM_IS_CLOSED, OPEN_KVM};
use super::diagnosis::{self, Diagnosis};
use foundry_core::error::{Advice, Code, Error, Kind, Verb};

/// The content of a transfer ends with this inside an [`std::io::Error`] if the user stops it.
#[derive(Debug, thiserror::Error)]
#[error("it was interrupted")]
pub struct Stopped;

/// A refused or failed call to a host.
///
/// `operation` is a verb with its object (`create volume 'web_boot' in pool 'foundry-vms'`), so that
/// "cannot {operation}" reads as a sentence; `libvirt` is libvirt's own message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// No connection could be made.
    #[error("cannot connect to {uri}")]
    Connect {
        /// The URI that was tried.
        uri: String,
        /// libvirt's message.
        libvirt: String,
    },
    /// The host refused the call.
    #[error("cannot {operation}")]
    Refused {
        /// The operation, with its object.
        operation: String,
        /// The kind, for the exit code: [`Kind::Storage`] for pools and volumes, otherwise [`Kind::Vm`].
        kind: Kind,
        /// libvirt's message.
        libvirt: String,
    },
    /// Another job holds the domain longer than libvirt waits (`VIR_ERR_OPERATION_TIMEOUT`): a save, a dump, a
    /// migration, or a call to a hung QEMU.
    #[error("cannot {operation}")]
    Busy {
        /// The operation, with its object.
        operation: String,
        /// libvirt's message.
        libvirt: String,
    },
    /// The connection broke during the call. The call may have taken effect or not.
    #[error("lost the connection to {uri} while trying to {operation}")]
    Lost {
        /// The URI of the connection.
        uri: String,
        /// The operation, with its object.
        operation: String,
        /// libvirt's message.
        libvirt: String,
    },
    /// The host did not answer in time, and the connection was closed. The call may have taken effect or not.
    #[error("{uri} did not answer within {} s when it was to {operation}", within.as_secs_f32())]
    Silent {
        /// The URI of the connection.
        uri: String,
        /// The operation, with its object.
        operation: String,
        /// The time limit that was exceeded.
        within: Duration,
        /// Whether only root may open the host's `/dev/kvm`, which makes libvirt slow.
        kvm_is_closed: bool,
    },
    /// A local source or sink of a transfer failed, or was stopped by the user.
    #[error("cannot {operation}")]
    Transfer {
        /// The operation, with its object.
        operation: String,
        /// Why the local side failed.
        cause: String,
        /// Whether the user stopped it.
        interrupted: bool,
    },
    /// The host's answer cannot be parsed.
    #[error("cannot read {what} that libvirt gave")]
    Unreadable {
        /// What was parsed, such as "the description of domain 'web'".
        what: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl HostError {
    /// The kind of failure, for the exit code.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Connect { .. } | Self::Lost { .. } | Self::Silent { .. } => Kind::Connection,
            Self::Refused { kind, .. } => *kind,
            Self::Transfer { interrupted: true, .. } => Kind::Interrupted,
            Self::Transfer { .. } => Kind::Storage,
            Self::Unreadable { .. } | Self::Busy { .. } => Kind::Vm,
        }
    }

    /// The code of the cause, or a general one if the cause is unknown.
    pub fn code(&self) -> Code {
        match self {
            Self::Lost { .. } => Code::ConnectionLost,
            Self::Silent { .. } => Code::NoAnswer,
            Self::Busy { .. } => Code::VmHeld,
            _ => self.find_diagnosis().map_or_else(|| self.kind().into(), |found| found.code),
        }
    }

    /// The cause, from libvirt's message alone.
    fn find_diagnosis(&self) -> Option<Diagnosis> {
        match self {
            Self::Connect { uri, libvirt } => diagnosis::cannot_connect(uri, libvirt),
            Self::Refused { libvirt, .. } => diagnosis::of_words(libvirt),
            // A local full disk has the same message as a remote one.
            Self::Transfer { cause, interrupted: false, .. } => diagnosis::of_words(cause),
            _ => None,
        }
    }

    /// Whether the call may have taken effect although it failed.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Silent { .. })
    }

    /// The cause, for users.
    pub fn cause(&self) -> Option<String> {
        match self {
            Self::Silent { kvm_is_closed, .. } => kvm_is_closed.then(|| KVM_IS_CLOSED.to_owned()),
            Self::Transfer { cause, .. } | Self::Unreadable { cause, .. } => Some(cause.clone()),
            Self::Lost { libvirt, .. } => {
                Some(diagnosis::connection_lost(libvirt).unwrap_or(diagnosis::first_line(libvirt)).to_owned())
            }
            _ => self
                .find_diagnosis()
                .map(|found| found.cause)
                .or_else(|| self.libvirt_words().map(|text| diagnosis::first_line(text).to_owned())),
        }
    }

    /// libvirt's message, unless [`Self::cause`] is the same text.
    pub fn detail(&self) -> Option<String> {
        self.libvirt_words().filter(|text| self.cause().as_deref() != Some(*text)).map(str::to_owned)
    }

    /// libvirt's message, if there is one.
    pub fn libvirt_words(&self) -> Option<&str> {
        match self {
            Self::Connect { libvirt, .. }
            | Self::Refused { libvirt, .. }
            | Self::Busy { libvirt, .. }
            | Self::Lost { libvirt, .. } => Some(libvirt),
            Self::Silent { .. } | Self::Transfer { .. } | Self::Unreadable { .. } => None,
        }
    }

    /// The advice for the user.
    pub fn advice(&self) -> Option<Advice> {
        match self {
            Self::Connect { uri, .. } => Some(
                self.find_diagnosis()
                    .and_then(|found| found.advice)
                    .unwrap_or_else(|| diagnosis::check_uri_hint(uri).into()),
            ),
            Self::Refused { .. } | Self::Transfer { .. } => {
                self.find_diagnosis().and_then(|found| found.advice)
            }
            Self::Lost { .. } => {
                Some(Advice::from(Verb::ListAll).text(" shows what is there once libvirt answers again"))
            }
            Self::Silent { kvm_is_closed: true, .. } => Some(
                Advice::from(format!("{OPEN_KVM}; or --call-timeout gives it more time; then "))
                    .run(Verb::ListAll)
                    .text(" shows what is there"),
            ),
            Self::Silent { uri, .. } => Some(
                Advice::from(diagnosis::restart_daemon_hint(uri))
                    .text("; then ")
                    .run(Verb::ListAll)
                    .text(" shows what is there"),
            ),
            _ => None,
        }
    }
}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        let mut told = Self::new(error.code(), error.to_string());
        if let Some(cause) = error.cause() {
            told = told.because(cause);
        }
        if let Some(detail) = error.detail() {
            told = told.detail(detail);
        }
        let told = match error.advice() {
            Some(advice) => told.hint(advice),
            None => told,
        };
        told.caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_error(libvirt: &str) -> HostError {
        let operation = "start domain 'web'".into();
        HostError::Refused { operation, kind: Kind::Vm, libvirt: libvirt.into() }
    }

    #[test]
    fn libvirts_words_are_the_detail_where_the_cause_is_ours() {
        let text = "Cannot get interface MTU on 'br9': No such device";
        assert_eq!(refused_error(text).cause().as_deref(), Some("the host has no bridge 'br9'"));
        assert_eq!(refused_error(text).detail().as_deref(), Some(text));
    }

    /// libvirt is slow in that case and not hung, so restarting it does not help.
    #[test]
    fn a_silence_beside_a_closed_kvm_says_so() {
        let silent = |kvm_is_closed| HostError::Silent {
            uri: "qemu:///system".into(),
            operation: "define domain 'web'".into(),
            within: Duration::from_secs(60),
            kvm_is_closed,
        };
        let closed = silent(true);
        assert!(closed.cause().unwrap().contains("only root may open /dev/kvm"));
        let hint = format!("{:?}", closed.advice().unwrap());
        assert!(
            hint.contains("sudo chgrp kvm /dev/kvm && sudo chmod 0660 /dev/kvm;")
                && !hint.contains("restart"),
            "{hint}"
        );
        assert!(
            silent(false).cause().is_none()
                && format!("{:?}", silent(false).advice()).contains("systemctl restart")
        );
    }

    #[test]
    fn a_long_text_is_cut_to_its_first_line() {
        let error = refused_error("it is odd\nvery odd\n");
        assert_eq!(error.cause().as_deref(), Some("it is odd"));
        assert_eq!(error.detail().as_deref(), Some("it is odd\nvery odd\n"));
        assert_eq!(refused_error("it is odd").detail(), None, "it would be said twice");
    }
}
