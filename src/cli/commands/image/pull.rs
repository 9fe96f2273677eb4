//! `foundry image pull`

use std::path::PathBuf;

use clap::Args;

use super::fetch::{FetchArgs, http_client, image_name, with_shortest_extension};
use super::{InPool, catalog, login, user_directory};
use crate::connect::connect_host;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_engine::Context;
use foundry_engine::image::{Fetch, PullRequest, Pulled, check_length, pull_image};
use foundry_fetch::catalog::CatalogImage;
use foundry_fetch::transfer::{Cache, Expected, Location, Login};
use foundry_host::Volume;

/// Download, verify and unpack an image
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry image pull debian-13
  foundry image pull https://example.org/disk.qcow2 \\
      --checksum https://example.org/SHA256SUMS
  foundry image pull https://example.org/disk.raw.xz --name disk --refresh
  foundry image pull https://example.org/private.qcow2 --login-file ~/.netrc")]
pub(crate) struct PullArgs {
    /// URL of the image (http://, https:// or file://), or its name in the catalogue
    #[arg(value_name = "URL|NAME")]
    image: String,
    /// Name in the pool, with or without .qcow2 or .raw [default: the file's name]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    pool: InPool,
    #[command(flatten)]
    fetch: FetchArgs,
    /// Read the login from FILE (mode 0600): USER:PASSWORD, a token, or entries as in ~/.netrc; alternatively set
    /// FOUNDRY_PULL_AUTH to one of the first two
    #[arg(long, value_name = "FILE")]
    login_file: Option<PathBuf>,
    /// Replace the existing image if the server has a newer one
    #[arg(long)]
    refresh: bool,
    /// Keep the download in the cache directory for later or interrupted pulls
    #[arg(long)]
    keep_compressed_cache: bool,
}

pub(super) fn run_pull(args: &PullArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    // Errors in the catalogue are found before connecting.
    let login = login::read_login(args.login_file.as_deref())?;
    let catalog = if is_alias(&args.image) { Some(catalog::load_catalog(global)?) } else { None };
    let context = connect_host(global, ui)?;
    let wanted = match catalog {
        Some(catalog) => {
            let arch = catalog::parse_arch(&context.host.capabilities()?.arch)?;
            PullTarget::from_catalog(catalog.find_image(&args.image, arch)?)
        }
        None => PullTarget::from_location(parse_address(&args.image)?),
    };
    let wanted = wanted.with_login(login.as_ref(), args.login_file.is_some(), ui);
    interrupt::install_handler(&context.cancel)?;
    let converted = args.fetch.target_format();
    let name = image_name(args.name.as_deref(), wanted.default_name(), converted.is_some(), &args.image)?;
    if matches!(wanted.location, Location::Url(_)) || args.fetch.checksum.is_some() || converted.is_some() {
        check_length(&with_shortest_extension(name.as_str()))?;
    }
    let (client, cache) = (http_client(), args.keep_compressed_cache.then(download_cache).transpose()?);
    let checksum = args.fetch.checksum.clone().or_else(|| wanted.checksum.clone());
    let checksum = checksum.map(|expected| wanted.with_list_login(expected, login.as_ref()));
    let fetch = Fetch {
        location: &wanted.location,
        expected: checksum.as_ref(),
        convert: converted,
        alias: wanted.alias.as_deref(),
        client: &client,
        cache: cache.as_ref(),
    };
    let pool = args.pool.pool_name(global);
    let request = PullRequest {
        fetch,
        pool: &pool,
        name: &name,
        refresh: args.refresh,
        insist: args.fetch.checksum.is_some(),
    };
    ui.write_line(&success_text(&pull_image(&context, &request)?))
}

/// Pulls an image of the catalogue into the image pool, unless it is there. Returns its name.
///
/// # Errors
/// Those of [`pull_image`]; [`Code::CatalogueImageMissing`] if the catalogue has none of that name.
pub(in crate::commands) fn pull_from_catalog(
    alias: &str,
    context: &Context,
    global: &Global,
) -> Result<String, Error> {
    let arch = catalog::parse_arch(&context.host.capabilities()?.arch)?;
    let target = PullTarget::from_catalog(catalog::load_catalog(global)?.find_image(alias, arch)?);
    let name = image_name(None, target.default_name(), false, alias)?;
    let fetch = Fetch {
        location: &target.location,
        expected: target.checksum.as_ref(),
        convert: None,
        alias: target.alias.as_deref(),
        client: &http_client(),
        cache: None,
    };
    let pool = &context.settings.image_pool;
    let request = PullRequest { fetch, pool: pool.as_str(), name: &name, refresh: false, insist: false };
    Ok(match pull_image(context, &request)? {
        Pulled::New(image) | Pulled::There(image) | Pulled::Current(image) | Pulled::Replaced(image) => {
            image.name
        }
    })
}

/// Parses a URL. Without a scheme it is a file, which `import` takes.
fn parse_address(image: &str) -> Result<Location, Error> {
    if image.contains("://") {
        return Ok(image.parse()?);
    }
    let import = Verb::ImageImport { file: Some(image.into()), name: None, convert: false };
    Err(Error::new(Code::DownloadUnfit, format!("{image} is neither a URL nor a name in the catalogue"))
        .hint(Advice::from(import).text(" takes a file")))
}

/// Whether the argument is a name in the catalogue: neither a URL nor a path.
fn is_alias(image: &str) -> bool {
    !image.contains("://") && !image.contains('/') && image != "-"
}

/// The image to pull.
struct PullTarget {
    location: Location,
    checksum: Option<Expected>,
    alias: Option<String>,
    /// Whether the user chose the server, on the command line or in a catalogue.
    is_users: bool,
}

impl PullTarget {
    fn from_location(location: Location) -> Self {
        Self { location, checksum: None, alias: None, is_users: true }
    }

    fn from_catalog(image: CatalogImage) -> Self {
        Self {
            location: image.location,
            checksum: image.checksum,
            alias: Some(image.alias.to_string()),
            is_users: image.own,
        }
    }

    /// Adds the login. A login without a host is not sent to servers of the built-in catalogue, which the user did not
    /// choose.
    fn with_login(self, login: Option<&Login>, is_named: bool, ui: &Ui) -> Self {
        let Some(login) = login else { return self };
        if !self.is_users && !login.names_hosts() {
            if is_named {
                ui.show_warning("the login is not sent: the servers of the built-in catalogue need none");
            }
            return self;
        }
        let location = login.apply_to(self.location.clone(), &self.location);
        if let Location::Url(url) = &location
            && url.has_login()
            && url.is_readable_in_transit()
        {
            ui.show_warning(&format!(
                "the login is sent to {url} unencrypted: others on the network can read it"
            ));
        }
        Self { location, ..self }
    }

    /// Adds the login to a checksum list, which is mostly next to the image.
    fn with_list_login(&self, expected: Expected, login: Option<&Login>) -> Expected {
        match (expected, login) {
            (Expected::ListedIn(list), Some(login)) if self.is_users || login.names_hosts() => {
                Expected::ListedIn(login.apply_to(list, &self.location))
            }
            (expected, _) => expected,
        }
    }

    /// The default name of the image: its name in the catalogue, otherwise that of the file.
    fn default_name(&self) -> Option<String> {
        self.alias.clone().or_else(|| self.location.file_name())
    }
}

fn success_text(pulled: &Pulled) -> String {
    let what = |image: &Volume| format!("image '{}' ({}, {})", image.name, image.format, image.capacity);
    match pulled {
        Pulled::New(image) => format!("Successfully pulled {}", what(image)),
        Pulled::There(image) => {
            format!("Already pulled: {}; --refresh checks for a newer one", what(image))
        }
        Pulled::Current(image) => format!("Already up to date: {}", what(image)),
        Pulled::Replaced(image) => format!("Successfully replaced {}", what(image)),
    }
}

/// The download cache, in the XDG directory for data that can be recreated.
fn download_cache() -> Result<Cache, Error> {
    match user_directory("XDG_CACHE_HOME", ".cache") {
        Some(base) => Ok(Cache::new(base.join("foundry/downloads"))),
        None => Err(Error::new(Code::NoDirectory, "no directory for downloads is known")
            .hint("set XDG_CACHE_HOME or HOME")),
    }
}
