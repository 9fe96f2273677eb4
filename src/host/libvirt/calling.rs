//! Makes libvirt calls: measures their time, applies timeouts, and names the operation in errors.

use std::path::Path;
use std::time::{Duration, Instant};

use virt::error::{Error as VirtError, ErrorNumber};

use super::Libvirt;
use crate::local::kvm_device;
use crate::{HostError, HostInfo, Result};
use foundry_core::error::Kind;

/// A call that was not answered in time.
pub(super) struct Unanswered {
    operation: String,
    within: Duration,
}

impl Libvirt {
    /// Makes one call. An error names the operation.
    pub(super) fn call<T>(
        &self,
        function: &str,
        asked: &Asked,
        call: impl FnOnce() -> std::result::Result<T, VirtError>,
    ) -> Result<T> {
        self.raw(function, asked, call).map_err(|e| self.failed(asked, &e))
    }

    /// Makes one call, and returns `None` if its object does not exist.
    pub(super) fn find<T>(
        &self,
        function: &str,
        asked: &Asked,
        call: impl FnOnce() -> std::result::Result<T, VirtError>,
    ) -> Result<Option<T>> {
        match self.raw(function, asked, call) {
            Ok(found) => Ok(Some(found)),
            Err(e) if is_absence(&e) => Ok(None),
            Err(e) => Err(self.failed(asked, &e)),
        }
    }

    pub(super) fn raw<T>(
        &self,
        function: &str,
        asked: &Asked,
        call: impl FnOnce() -> std::result::Result<T, VirtError>,
    ) -> std::result::Result<T, VirtError> {
        let begun = Instant::now();
        let answer = self.within(self.timeouts.limit_of(function), asked, call);
        let error = answer.as_ref().err().map(ToString::to_string);
        self.observer.called(function, &asked.operation, begun.elapsed(), error.as_deref());
        answer
    }

    /// Sends or receives one piece of a transfer. The observer is not notified, because there are too many pieces.
    pub(super) fn piece<T>(
        &self,
        asked: &Asked,
        call: impl FnOnce() -> std::result::Result<T, VirtError>,
    ) -> Result<T> {
        self.within(self.timeouts.limit(), asked, call).map_err(|e| self.failed(asked, &e))
    }

    fn within<T>(&self, limit: Option<Duration>, asked: &Asked, call: impl FnOnce() -> T) -> T {
        let (answer, given_up) = self.watchdog.run_call(limit, call);
        if let Some(within) = limit.filter(|_| given_up) {
            // Only the first call reached its timeout; ending the connection made the others fail.
            let _ = self.unanswered.set(Unanswered { operation: asked.operation.clone(), within });
        }
        answer
    }

    /// After a broken connection, the outcome of the call is unknown; any other error is a refusal.
    pub(super) fn failed(&self, asked: &Asked, error: &VirtError) -> HostError {
        let (uri, operation) = (self.uri.clone(), asked.operation.clone());
        let libvirt = error.message().to_owned();
        // The codes of errors after a broken connection vary, so libvirt is asked whether it still has one.
        if self.connection.is_alive().unwrap_or(false) {
            return match error.code().is(ErrorNumber::OperationTimeout) {
                true => HostError::Busy { operation, libvirt },
                false => HostError::Refused { operation, kind: asked.kind, libvirt },
            };
        }
        match self.unanswered.get() {
            Some(given_up) if given_up.operation == operation => {
                // A closed /dev/kvm makes libvirt probe QEMU at every call, which may take longer than the limit.
                let device = self.is_local().then(|| kvm_device(Path::new("/"))).flatten();
                let kvm_is_closed = device.is_some_and(|device| device.is_only_roots());
                HostError::Silent { uri, operation, within: given_up.within, kvm_is_closed }
            }
            // Another call was given up, and with it the connection that this call used.
            Some(given_up) => HostError::Lost { uri, operation, libvirt: given_up.to_string() },
            None => HostError::Lost { uri, operation, libvirt },
        }
    }
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "it was given up, without an answer for {} s to: {}",
            self.within.as_secs_f32(),
            self.operation
        )
    }
}

/// An operation, phrased to follow "cannot" in a message.
pub(super) struct Asked {
    pub(super) operation: String,
    pub(super) kind: Kind,
}

/// An operation on a domain or a network.
pub(super) fn vm(operation: impl Into<String>) -> Asked {
    Asked { operation: operation.into(), kind: Kind::Vm }
}

/// An operation on a pool or a volume.
pub(super) fn storage(operation: impl Into<String>) -> Asked {
    Asked { operation: operation.into(), kind: Kind::Storage }
}

/// Whether an error means that the object does not exist. libvirt uses these codes reliably.
pub(super) fn is_absence(error: &VirtError) -> bool {
    [
        ErrorNumber::NoDomain,
        ErrorNumber::NoStoragePool,
        ErrorNumber::NoStorageVolume,
        ErrorNumber::NoNetwork,
        ErrorNumber::NoDomainMetadata,
        ErrorNumber::NoDomainSnapshot,
    ]
    .into_iter()
    .any(|absence| error.code().is(absence))
}
