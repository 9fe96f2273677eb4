//! Pulls an image from a server, and replaces it with a newer version.

use super::fetch::{ContextPace, location_identity, source_of, state_of};
use super::file_name::{check_file_name, image_extension};
use super::{Fetch, ImageSource, delete, image_info, import_image, is_unfinished, notes, room};
use crate::Context;
use crate::Step;
use foundry_core::error::{Advice, Code, Error, Kind, Verb};
use foundry_core::names::VolumeName;
use foundry_core::origin::ImageOrigin;
use foundry_core::record::VolumeRef;
use foundry_fetch::origin::{find_checksum_list, find_pinned_digest};
use foundry_fetch::transfer::{FileFreshness, Location, Validators, check_freshness};
use foundry_host::Volume;

/// An image to pull, and its destination.
#[derive(Clone, Copy)]
pub struct PullRequest<'a> {
    /// The source and how to read it.
    pub fetch: Fetch<'a>,
    /// The pool to pull into.
    pub pool: &'a str,
    /// The image's name, with or without an extension.
    pub name: &'a VolumeName,
    /// Whether to replace an existing image if the server has a newer one.
    pub refresh: bool,
    /// Whether an existing image must have the expected digest, too.
    pub insist: bool,
}

/// The result of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pulled {
    /// The image was transferred.
    New(Volume),
    /// The image already exists, from the same source; the server was not asked for a newer one.
    There(Volume),
    /// The image already exists, and the server has no newer one.
    Current(Volume),
    /// The image was replaced with a newer one.
    Replaced(Volume),
}

/// Pulls an image into a pool. An existing image is kept; with `refresh`, it is replaced if the server has a newer one:
/// only after that was completely transferred and verified, and only if the old one is unused.
///
/// # Errors
/// Those of [`import_image`] and of the transfer; [`Kind::Storage`] if an image of that name is from another source, is
/// incomplete, or would be replaced while in use.
pub fn pull_image(context: &Context, request: &PullRequest<'_>) -> Result<Pulled, Error> {
    let Some(image) = existing_image(context, request)? else {
        warn_of_plain_http(context, &request.fetch);
        let import = |source: &mut dyn ImageSource| import_image(context, request.pool, request.name, source);
        return request.fetch.open(context, import).map(Pulled::New);
    };
    let origin = same_origin(context, request, &image)?;
    if !request.refresh {
        return check_there(context, request, &origin).map(|()| Pulled::There(image));
    }
    // A verified image is never replaced with an unverified one.
    let listed = find_checksum_list(&origin);
    let fetch = Fetch { expected: request.fetch.expected.or(listed.as_ref()), ..request.fetch };
    let request = &PullRequest { fetch, ..*request };
    if is_current(context, &fetch, &origin)? {
        return Ok(Pulled::Current(image));
    }
    if let Some(pinned) = find_pinned_digest(&origin).filter(|_| fetch.expected.is_none()) {
        return Err(Error::new(
            Code::ImageDiffers,
            format!("image '{}' was pinned to {pinned}, and the server has a different one now", image.name),
        )
        .hint("give the new digest with --checksum")
        .unchanged());
    }
    replace_image(context, request, &image).map(Pulled::Replaced)
}

/// Warns about plain http without a checksum: an attacker on the path can send another image and then has a VM inside
/// the network.
fn warn_of_plain_http(context: &Context, fetch: &Fetch<'_>) {
    if let (Location::Url(url), None) = (fetch.location, fetch.expected)
        && !url.is_https()
    {
        context.warn(format!(
            "{url} is plain http and no checksum was given: anyone on the path can send another image"
        ));
    }
}

/// Checks an existing image against the digest that the user asked for.
fn check_there(context: &Context, request: &PullRequest<'_>, origin: &ImageOrigin) -> Result<(), Error> {
    if !request.insist {
        return Ok(());
    }
    let Some(wanted) = request.fetch.expected_digest_of(&ContextPace(context))? else { return Ok(()) };
    let wanted = wanted.to_string();
    if origin.digest.as_ref() == Some(&wanted) {
        return Ok(());
    }
    let has = origin.digest.as_deref().unwrap_or("unknown");
    Err(Error::new(
        Code::ImageDiffers,
        format!("the existing image does not have the digest that --checksum expects, {wanted}"),
    )
    .because(format!("the recorded digest of its source is {has}"))
    .hint("--refresh replaces it, --name pulls another one under a new name")
    .unchanged())
}

/// The existing image with this name, or with this name and the extension that it would get.
fn existing_image(context: &Context, request: &PullRequest<'_>) -> Result<Option<Volume>, Error> {
    let name = request.name.as_str();
    let names = if image_extension(name).is_some() {
        vec![name.to_owned()]
    } else {
        vec![format!("{name}.qcow2"), format!("{name}.raw")]
    };
    for name in names {
        if let Some(found) = context.host.volume(&VolumeRef::new(request.pool, &name))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The origin of an existing image, if it is the requested one.
fn same_origin(context: &Context, request: &PullRequest<'_>, image: &Volume) -> Result<ImageOrigin, Error> {
    let (name, source) = (&image.name, source_of(request.fetch.location));
    let id = location_identity(request.fetch.location);
    let refused = |code, message: String| Error::new(code, message).unchanged();
    let delete = |force| {
        Advice::from(Verb::ImageDelete { image: name.clone(), pool: None, force }).text(" removes it")
    };
    if is_unfinished(context, image)? {
        let message = format!(
            "image '{name}' in pool '{}' is incomplete: its import was interrupted or is still running",
            image.pool
        );
        return Err(refused(Code::ImageIncomplete, message).hint(delete(true)));
    }
    match notes::read_origin(context, &image.reference())? {
        Some(origin) if origin.source == source && (origin.source_id.is_none() || origin.source_id == id) => {
            Ok(origin)
        }
        other => {
            let from = other.map_or("unknown".to_owned(), |origin| origin.source);
            Err(refused(
                Code::ImageTaken,
                format!("image '{name}' exists in pool '{}', but is not from {source}", image.pool),
            )
            .because(format!("its origin is {from}"))
            .hint(Advice::from("pull it under another name with --name").and_then("; ", delete(false))))
        }
    }
}

/// Whether the source still has the version that an image was made from. Compares digests if both are known, otherwise
/// the server's validators. The image itself is never transferred.
pub(super) fn is_current(context: &Context, fetch: &Fetch<'_>, origin: &ImageOrigin) -> Result<bool, Error> {
    let pace = ContextPace(context);
    if let Some(digest) = &origin.digest
        && let Some(wanted) = fetch.expected_digest_of(&pace)?
        && digest.split_once(':').is_some_and(|(name, _)| name == wanted.algorithm().name())
    {
        return Ok(wanted.to_string() == *digest);
    }
    let Location::Url(url) = fetch.location else {
        return Ok(origin.etag.is_some() && origin.etag == state_of(fetch.location));
    };
    let known = Validators { etag: origin.etag.clone(), last_modified: origin.last_modified.clone() };
    Ok(!known.is_empty() && check_freshness(fetch.client, url, &known, &pace)? == FileFreshness::Unchanged)
}

/// Replaces an image. libvirt cannot rename volumes, so the old image is deleted before the new one is imported. By
/// then the new one is stored here, complete and verified, and no server is needed any more.
fn replace_image(context: &Context, request: &PullRequest<'_>, image: &Volume) -> Result<Volume, Error> {
    let name = &image.name;
    if let Some(users) = delete::list_users(&image_info(context, &VolumeRef::new(&image.pool, name))?) {
        return Err(Error::new(
            Code::ImageInUse,
            format!("there is a newer image '{name}', but the existing one is in use by {users}"),
        )
        .hint("pull the newer one under another name with --name, and create new VMs from that")
        .unchanged());
    }
    let wanted = name.parse().map_err(|e| Error::new(Kind::Storage, format!("its name {e}")))?;
    warn_of_plain_http(context, &request.fetch);
    context.report_started(Step::Download(request.fetch.location.to_string()));
    let aside =
        request.fetch.fetch_to_spool(context).map_err(|e| e.outcome("the existing image is unchanged"))?;
    // Everything that can fail is checked before the old image is deleted.
    let mut source = aside.source()?;
    check_file_name(&wanted, &mut source)?;
    room::fits_instead(context, image, source.data_bytes().unwrap_or(0))?;
    context.cancel.check()?;
    delete::delete_image(context, &VolumeRef::new(&image.pool, name))?;
    import_image(context, request.pool, &wanted, &mut aside.source()?).map_err(|e| {
        let e = e.outcome(format!("the old image '{name}' is deleted"));
        match aside.keep_under_name(name) {
            Ok(path) => {
                let path = path.display().to_string();
                let there = Advice::from(format!("the newer one is in {path}: "));
                let import = Verb::ImageImport { file: Some(path), name: Some(name.into()), convert: false };
                e.outcome(there.run(import).text(" imports it"))
            }
            Err(lost) => e.outcome(format!("the newer one could not be kept ({lost}); pull it again")),
        }
    })
}
