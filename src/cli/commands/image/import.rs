//! `foundry image import`

use clap::Args;

use super::InPool;
use super::fetch::{FetchArgs, http_client, image_name, with_shortest_extension};
use crate::connect::connect_host;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::text::describe_io_error;
use foundry_engine::image::{Fetch, check_length, import_image};
use foundry_fetch::transfer::Location;

/// Import a disk image (qcow2 or raw, optionally compressed with gzip, xz, zstd or bzip2)
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry image import debian-13-generic-amd64.qcow2 debian-13
  foundry image import --checksum SHA512SUMS disk.raw.xz
  zstdcat disk.zst | foundry image import - disk
  foundry image import --convert qcow2 appliance.vmdk")]
pub(crate) struct ImportArgs {
    /// Image file, - for standard input
    file: String,
    /// Name in the pool, with or without .qcow2 or .raw [default: the file's name]
    name: Option<String>,
    #[command(flatten)]
    pool: InPool,
    #[command(flatten)]
    fetch: FetchArgs,
}

pub(super) fn run_import(args: &ImportArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let location = import_location(&args.file)?;
    let converted = args.fetch.target_format();
    let name = image_name(args.name.as_deref(), location.file_name(), converted.is_some(), &args.file)?;
    if args.fetch.checksum.is_some() || converted.is_some() {
        // Such an image gets a note on its origin, whose name is longer.
        check_length(&with_shortest_extension(name.as_str()))?;
    }
    let context = connect_host(global, ui)?;
    interrupt::install_handler(&context.cancel)?;
    let client = http_client();
    let fetch = Fetch {
        location: &location,
        expected: args.fetch.checksum.as_ref(),
        convert: converted,
        alias: None,
        client: &client,
        cache: None,
    };
    let pool = args.pool.pool_name(global);
    let image = fetch.open(&context, |source| import_image(&context, &pool, &name, source))?;
    ui.write_line(&format!(
        "Successfully imported image '{}' ({}, {})",
        image.name, image.format, image.capacity
    ))
}

/// A missing file is an error of the command line (exit code 1), not of the storage.
fn import_location(file: &str) -> Result<Location, Error> {
    let bad = |cause: String| {
        Error::new(Code::FileUnreadable, format!("cannot import {file}")).because(cause).unchanged()
    };
    let location = file.parse()?;
    match &location {
        Location::Url(_) => Err(bad("it is not on this machine".into())
            .hint(Advice::from(Verb::ImagePull { image: Some(file.into()) }).text(" downloads it"))),
        Location::File(path) => match std::fs::metadata(path) {
            Ok(there) if there.is_dir() => Err(bad("it is a directory".into())),
            Ok(_) => Ok(location),
            Err(e) => Err(bad(describe_io_error(&e))),
        },
        Location::StandardInput => Ok(location),
    }
}
