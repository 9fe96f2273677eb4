//! Resolves the host names of redirects, and refuses addresses of this machine.
//!
//! The text of a URL does not show where it leads: `127.1`, `2130706433` and any name in a public DNS can stand for
//! loopback, or for a link-local address on which cloud services answer.

use std::io;
use std::net::SocketAddr;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::super::url::local_scope_of;

/// Resolves names to addresses, without those that only this machine can reach.
#[derive(Debug, Default)]
pub(super) struct RemoteOnlyResolver(DefaultResolver);

impl Resolver for RemoteOnlyResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let all = self.0.resolve(uri, config, timeout)?;
        let mut far = self.empty();
        all.iter()
            .filter(|address| local_scope_of(address.ip()).is_none())
            .for_each(|address| far.push(*address));
        match all.first().filter(|_| far.is_empty()) {
            Some(near) => Err(Error::Io(io::Error::other(LocalAddressError(*near)))),
            None => Ok(far),
        }
    }
}

/// All addresses of a name are on this machine or its own link.
#[derive(Debug, thiserror::Error)]
#[error("resolves to {}, which {}", .0.ip(), local_scope_of(.0.ip()).unwrap_or_default())]
pub(super) struct LocalAddressError(SocketAddr);

/// Whether a request failed with this error.
pub(super) fn is_local_address(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<LocalAddressError>())
}
