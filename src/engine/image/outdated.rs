//! Finds images that have a newer version on their servers.

use super::pull::is_current;
use super::{Fetch, list_images, notes};
use crate::Context;
use crate::Step;
use crate::storage::usage::Usage;
use foundry_core::error::{Error, Kind};
use foundry_core::origin::ImageOrigin;
use foundry_fetch::origin::find_checksum_list;
use foundry_fetch::transfer::{Client, Expected, Location};
use foundry_host::Volume;

/// How an image compares with what its server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Age {
    /// The server has the same image.
    Current,
    /// The server has a different image.
    Outdated,
    /// It cannot be found out, for this reason.
    Unknown(String),
}

/// An image, and whether there is a newer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// The volume that holds the image.
    pub image: Volume,
    /// Its origin, if recorded.
    pub origin: Option<ImageOrigin>,
    /// How the image compares with the server's.
    pub age: Age,
    /// Names of the VMs whose disks are this image or overlays of it.
    pub vms: Vec<String>,
    /// Overlays of it, as `pool/name`.
    pub overlays: Vec<String>,
}

/// Checks for each image of a pool whether its server has a different one. No image is transferred.
///
/// Anyone who may write to the pool can write a note. So a list of checksums that a note names is fetched only if it is
/// on the host that the image came from, or is one of `lists`, those of the catalogue.
///
/// # Errors
/// The host's; a server that does not answer makes its images [`Age::Unknown`].
pub fn find_outdated(
    context: &Context,
    pool: &str,
    client: &Client,
    lists: &[Expected],
) -> Result<Vec<Freshness>, Error> {
    let usage = Usage::collect(context, None)?;
    let look = |image: Volume| {
        let reference = image.reference();
        let origin = notes::read_origin(context, &reference)?;
        let age = age_of(context, client, origin.as_ref(), lists)?;
        let users = usage.users_of(&reference, &image.path);
        let overlays = users.overlays.into_iter().map(|o| o.reference().to_argument()).collect();
        Ok(Freshness { image, origin, age, vms: users.vms, overlays })
    };
    list_images(context, pool)?.into_iter().map(look).collect()
}

fn age_of(
    context: &Context,
    client: &Client,
    origin: Option<&ImageOrigin>,
    lists: &[Expected],
) -> Result<Age, Error> {
    let Some(origin) = origin.filter(|origin| origin.can_be_had_again()) else {
        return Ok(Age::Unknown("no source URL is recorded".into()));
    };
    context.report_started(Step::AskServer(origin.source.clone()));
    match ask_server(context, client, origin, lists) {
        Ok(true) => Ok(Age::Current),
        Ok(false) => Ok(Age::Outdated),
        Err(e) if e.kind() == Kind::Interrupted => Err(e),
        Err(e) => Ok(Age::Unknown(e.to_string())),
    }
}

fn ask_server(
    context: &Context,
    client: &Client,
    origin: &ImageOrigin,
    lists: &[Expected],
) -> Result<bool, Error> {
    let location: Location = origin.source.parse()?;
    let expected = find_checksum_list(origin);
    if let Some(list) = expected.as_ref().filter(|list| !is_vouched_for(list, &location, lists)) {
        return Err(Error::new(
            Kind::Storage,
            format!("its note names a list of checksums on another host, {list}, which was not fetched"),
        ));
    }
    if expected.is_none() && origin.etag.is_none() && origin.last_modified.is_none() {
        return Err(Error::new(Kind::Storage, "its server sends nothing that identifies a newer image"));
    }
    let expected = expected.as_ref();
    let fetch = Fetch { location: &location, expected, convert: None, alias: None, client, cache: None };
    is_current(context, &fetch, origin)
}

/// Whether a list of checksums can be trusted beyond the note that names it.
fn is_vouched_for(list: &Expected, image: &Location, lists: &[Expected]) -> bool {
    let on_its_host = match (list, image) {
        (Expected::ListedIn(Location::Url(list)), Location::Url(image)) => list.is_on_host_of(image),
        _ => false,
    };
    on_its_host || lists.contains(list)
}
