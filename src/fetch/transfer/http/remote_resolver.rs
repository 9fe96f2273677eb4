//! Looks up the hosts of redirects: none may be this machine.
//!
//! What an address is called says nothing of where it is: `127.1`, `2130706433` and any name in anybody's DNS can stand
//! for loopback, or for an address of the machine's own link that services of a cloud answer on.

use std::io;
use std::net::SocketAddr;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::super::url::local_scope_of;

/// Finds the addresses of names, but for those that only this machine reaches.
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

/// All that a name stands for is this machine, or on its own link.
#[derive(Debug, thiserror::Error)]
#[error("resolves to {}, which {}", .0.ip(), local_scope_of(.0.ip()).unwrap_or_default())]
pub(super) struct LocalAddressError(SocketAddr);

/// Whether a request failed for that.
pub(super) fn is_local_address(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<LocalAddressError>())
}
