//! Pulling an image from a server, once, and again when there is a newer one.

use super::fetch::SessionPace;
use super::import::{EXTENSIONS, examine};
use super::{Fetch, delete, import, info, is_unfinished, notes, room};
use crate::error::{Error, Kind};
use crate::host::Volume;
use crate::names::VolumeName;
use crate::operations::Session;
use crate::origin::Origin;
use crate::text::shell_word;
use crate::transfer::{
    Cache, Check, Client, Expected, Fresh, Location, Options, Url, Validators, expected_digest, look,
};

/// What is to be pulled, and into what.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// How it is fetched.
    pub fetch: Fetch<'a>,
    /// The pool.
    pub pool: &'a str,
    /// The image's name, with or without an extension.
    pub name: &'a VolumeName,
    /// Whether an image that is there is replaced when there is a newer one.
    pub refresh: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pulled {
    /// It was transferred.
    New(Volume),
    /// It is there already, from the same place; nobody was asked whether there is a newer one.
    There(Volume),
    /// It is there already, and there is no newer one.
    Current(Volume),
    /// It was replaced by a newer one.
    Replaced(Volume),
}

/// Pulls an image into a pool. One that is there stays, and with `refresh` is replaced when the server has a newer
/// one: only after that was transferred whole and verified, and only if nobody uses the old one.
///
/// # Errors
/// Those of [`import`] and of the transfer; [`Kind::Storage`] where an image of that name is from elsewhere, is not
/// whole, or is in use and would be replaced.
pub fn pull(session: &Session<'_>, request: &Request<'_>) -> Result<Pulled, Error> {
    let Some(image) = existing(session, request)? else {
        return fetch(session, request, request.fetch.cache).map(Pulled::New);
    };
    let origin = same_origin(session, request, &image)?;
    if !request.refresh {
        return Ok(Pulled::There(image));
    }
    // What was verified once is not replaced by something that is not.
    let listed = origin.checksum_list();
    let fetch = Fetch { expected: request.fetch.expected.or(listed.as_ref()), ..request.fetch };
    let request = &Request { fetch, ..*request };
    let question = Question { location: fetch.location, expected: fetch.expected, client: fetch.client };
    if question.is_current(session, &origin)? {
        return Ok(Pulled::Current(image));
    }
    replace(session, request, &image).map(Pulled::Replaced)
}

fn fetch(session: &Session<'_>, request: &Request<'_>, cache: Option<&Cache>) -> Result<Volume, Error> {
    let fetch = Fetch { cache, ..request.fetch };
    fetch.open(session, |source| import(session, request.pool, request.name, source))
}

/// The image under that name or under that name with the extension that it would get.
fn existing(session: &Session<'_>, request: &Request<'_>) -> Result<Option<Volume>, Error> {
    let name = request.name.as_str();
    let whole = name.rsplit_once('.').is_some_and(|(_, end)| EXTENSIONS.contains(&end));
    let names =
        if whole { vec![name.to_owned()] } else { vec![format!("{name}.qcow2"), format!("{name}.raw")] };
    for name in names {
        if let Some(found) = session.host.volume(request.pool, &name)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The origin of an image that is there, if it is the one that is asked for.
fn same_origin(session: &Session<'_>, request: &Request<'_>, image: &Volume) -> Result<Origin, Error> {
    let (name, source) = (&image.name, request.fetch.location.to_string());
    let refused = |message: String| Error::new(Kind::Storage, message).outcome("nothing was changed");
    let delete = format!("foundry image delete {} removes it", shell_word(name));
    if is_unfinished(session, image)? {
        let message = format!(
            "image '{name}' in pool '{}' is not whole: its import was interrupted, or still goes on",
            image.pool
        );
        return Err(refused(message).hint(delete));
    }
    match notes::read(session, &image.pool, name)? {
        Some(origin) if origin.source == source => Ok(origin),
        other => {
            let from = other.map_or("unknown".to_owned(), |origin| origin.source);
            Err(refused(format!("image '{name}' exists in pool '{}', and is not from {source}", image.pool))
                .because(format!("its origin is {from}"))
                .hint(format!("pull it under another name with --name; {delete}")))
        }
    }
}

/// Whether what a server has is still what an image was made from.
pub(super) struct Question<'a> {
    pub(super) location: &'a Location,
    pub(super) expected: Option<&'a Expected>,
    pub(super) client: &'a Client,
}

impl Question<'_> {
    /// By the digest, where there is one to compare with; else by what the server says of the file. In neither case
    /// does the image travel.
    pub(super) fn is_current(&self, session: &Session<'_>, origin: &Origin) -> Result<bool, Error> {
        let pace = SessionPace(session);
        if let (Some(expected), Some(digest)) = (self.expected, &origin.digest) {
            let options = Options { check: &Check::Nothing, client: self.client, pace: &pace, cache: None };
            let wanted = expected_digest(expected, self.location, options)?;
            if digest.split_once(':').is_some_and(|(name, _)| name == wanted.algorithm().name()) {
                return Ok(wanted.to_string() == *digest);
            }
        }
        let Location::Url(url) = self.location else { return Ok(false) };
        self.is_unchanged(url, origin, &pace)
    }

    fn is_unchanged(&self, url: &Url, origin: &Origin, pace: &SessionPace<'_>) -> Result<bool, Error> {
        let known = Validators { etag: origin.etag.clone(), last_modified: origin.last_modified.clone() };
        Ok(!known.is_empty() && look(self.client, url, &known, pace)? == Fresh::Unchanged)
    }
}

/// libvirt cannot rename volumes, so that the old image goes before the new one comes: which then lies here, whole
/// and verified.
fn replace(session: &Session<'_>, request: &Request<'_>, image: &Volume) -> Result<Volume, Error> {
    let name = &image.name;
    if let Some(users) = delete::users(&info(session, &image.pool, name)?) {
        return Err(Error::new(
            Kind::Storage,
            format!("there is a newer image '{name}', but the present one is in use by {users}"),
        )
        .hint("pull the newer one under another name with --name, and make new VMs from that")
        .outcome("nothing was changed"));
    }
    let unusable = |e: std::io::Error| {
        Error::new(Kind::Storage, "there is no place for the newer image until it replaces the old one")
            .because(e.to_string())
    };
    let wanted = name.parse().map_err(|e| Error::new(Kind::Storage, format!("its name {e}")))?;
    let directory = tempfile::tempdir().map_err(unusable)?;
    let aside = Cache::new(directory.path());
    let cache = request.fetch.cache.unwrap_or(&aside);
    let kept = Fetch { cache: Some(cache), ..request.fetch };
    session.working(format!("Downloading {}", request.fetch.location));
    let data = kept.open(session, |source| examine(session, &wanted, source))?;
    room::fits_instead(session, image, data)?;
    delete::delete(session, &image.pool, name)?;
    let request = Request { name: &wanted, ..*request };
    fetch(session, &request, Some(cache)).map_err(|e| {
        let again = format!("the old image '{name}' is deleted; pull it again");
        e.outcome(again)
    })
}
