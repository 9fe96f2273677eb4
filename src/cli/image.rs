//! `foundry image`

use std::fs::File;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Global;
use super::connect::{Connected, connect};
use super::interrupt;
use super::output::{Format, objects, table};
use super::ui::Ui;
use crate::content::Content;
use crate::error::{Error, Kind};
use crate::host::Volume;
use crate::names::{PoolName, VolumeName};
use crate::operations::Session;
use crate::operations::images::{self, Source};
use crate::units::Bytes;

/// Import, list and delete images
#[derive(Debug, Args)]
pub(super) struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Import a qcow2 or raw disk image
    #[command(after_help = "Example:\n  foundry image import debian-13-generic-amd64.qcow2 debian-13.qcow2")]
    Import {
        /// The image file
        file: String,
        /// Its name in the pool, with or without .qcow2 or .raw [default: the file's]
        name: Option<String>,
        /// The pool [default: the image pool]
        #[arg(long)]
        pool: Option<PoolName>,
    },
    /// List images
    #[command(visible_alias = "ls")]
    List {
        /// The pool [default: the image pool]
        #[arg(long)]
        pool: Option<PoolName>,
        /// Form of the output
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
        /// Leave out the table's headers
        #[arg(long)]
        no_headers: bool,
    },
    /// Show an image and who uses it
    Info {
        /// Its name
        name: String,
        /// The pool [default: the image pool]
        #[arg(long)]
        pool: Option<PoolName>,
        /// Form of the output
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
    /// Delete an image that no VM uses
    #[command(visible_alias = "rm")]
    Delete {
        /// Its name
        name: String,
        /// The pool [default: the image pool]
        #[arg(long)]
        pool: Option<PoolName>,
    },
}

/// An image as it is listed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageView<'a> {
    name: &'a str,
    pool: &'a str,
    format: &'a str,
    virtual_size: u64,
    allocation: u64,
    path: &'a str,
    /// An import of it was broken off, or still goes on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_by: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overlays: Option<&'a [String]>,
}

pub(super) fn run(args: &ImageArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let in_pool = |pool: &Option<PoolName>| pool.as_ref().unwrap_or(&global.image_pool).to_string();
    match &args.command {
        ImageCommand::Import { file, name, pool } => {
            import(file, name.as_deref(), &in_pool(pool), global, ui)
        }
        ImageCommand::List { pool, output, no_headers } => {
            let connected = connect(global, ui)?;
            let session = connected.session();
            let images = images::list(&session, &in_pool(pool))?;
            list(&session, &images, *output, *no_headers, ui)
        }
        ImageCommand::Info { name, pool, output } => {
            info(name, &in_pool(pool), *output, &connect(global, ui)?, ui)
        }
        ImageCommand::Delete { name, pool } => {
            let connected = connect(global, ui)?;
            interrupt::guard(&connected.cancel)?;
            images::delete(&connected.session(), &in_pool(pool), name)?;
            ui.line(&format!("Successfully deleted image '{name}'"))
        }
    }
}

fn import(file: &str, name: Option<&str>, pool: &str, global: &Global, ui: &Ui) -> Result<(), Error> {
    let bad = |kind, cause: String| {
        Error::new(kind, format!("cannot import {file}")).because(cause).outcome("nothing was changed")
    };
    // Distributions call qcow2 images .img; a name that was not asked for may drop that.
    let own = file.rsplit('/').next().unwrap_or(file);
    let own = own.strip_suffix(".img").unwrap_or(own);
    let name: VolumeName =
        name.unwrap_or(own).parse().map_err(|e| bad(Kind::Validation, format!("the image's name {e}")))?;
    let content = File::open(file).map_err(|e| bad(Kind::Configuration, e.to_string()))?;
    let length = content.metadata().map_err(|e| bad(Kind::Configuration, e.to_string()))?;
    if !length.is_file() {
        return Err(bad(Kind::Configuration, "it is not a file".into()));
    }
    let connected = connect(global, ui)?;
    interrupt::guard(&connected.cancel)?;
    let mut source = LocalFile { from: file.to_owned(), content, length: length.len() };
    let image = images::import(&connected.session(), pool, &name, &mut source)?;
    ui.line(&format!("Successfully imported image '{}' ({}, {})", image.name, image.format, image.capacity))
}

/// A file of this machine.
struct LocalFile {
    from: String,
    content: File,
    length: u64,
}

impl Source for LocalFile {
    fn from(&self) -> &str {
        &self.from
    }

    fn content(&mut self) -> &mut dyn Content {
        &mut self.content
    }

    fn length(&self) -> Option<u64> {
        Some(self.length)
    }

    fn data(&self) -> Option<u64> {
        Some(self.length)
    }
}

impl ImageView<'_> {
    /// What is incomplete has no format yet.
    fn shown_format(&self) -> &str {
        if self.incomplete { "incomplete" } else { self.format }
    }
}

fn view<'a>(session: &Session<'_>, image: &'a Volume) -> Result<ImageView<'a>, Error> {
    Ok(ImageView {
        name: &image.name,
        pool: &image.pool,
        format: &image.format,
        virtual_size: image.capacity.0,
        allocation: image.allocation.0,
        path: &image.path,
        incomplete: images::is_unfinished(session, image)?,
        used_by: None,
        overlays: None,
    })
}

fn list(
    session: &Session<'_>,
    images: &[Volume],
    output: Format,
    no_headers: bool,
    ui: &Ui,
) -> Result<(), Error> {
    if images.is_empty() && matches!(output, Format::Table | Format::Wide) {
        ui.note("No images; foundry image import FILE adds one");
        return Ok(());
    }
    let views = || images.iter().map(|i| view(session, i)).collect::<Result<Vec<_>, Error>>();
    match output {
        Format::Name => ui.names(images.iter().map(|i| i.name.as_str())),
        Format::Table | Format::Wide => {
            let views = views()?;
            let rows = views.iter().map(|view| row(view, output == Format::Wide));
            let headers: &[&str] = if output == Format::Wide {
                &["NAME", "FORMAT", "SIZE", "ALLOCATED", "PATH"]
            } else {
                &["NAME", "FORMAT", "SIZE", "ALLOCATED"]
            };
            ui.shown(&table(headers, rows, no_headers))
        }
        Format::Yaml | Format::Json => ui.result(&objects(&views()?.iter().collect::<Vec<_>>(), output)?),
    }
}

fn row(view: &ImageView<'_>, wide: bool) -> Vec<String> {
    let (size, allocated) = (Bytes(view.virtual_size), Bytes(view.allocation));
    let mut row =
        vec![view.name.to_owned(), view.shown_format().to_owned(), size.to_string(), allocated.to_string()];
    row.extend(wide.then(|| view.path.to_owned()));
    row
}

fn info(name: &str, pool: &str, output: Format, connected: &Connected<'_>, ui: &Ui) -> Result<(), Error> {
    let session = connected.session();
    let found = images::info(&session, pool, name)?;
    let known = view(&session, &found.volume)?;
    let image = ImageView { used_by: Some(&found.vms), overlays: Some(&found.overlays), ..known };
    match output {
        Format::Name => ui.names([name].into_iter()),
        Format::Json => ui.result(&super::output::json(&image)?),
        Format::Yaml => ui.result(&objects(&[&image], Format::Yaml)?),
        Format::Table | Format::Wide => {
            let users = if found.vms.is_empty() { "-".to_owned() } else { found.vms.join(", ") };
            ui.shown(&format!(
                "Name:       {}\nPool:       {}\nFormat:     {}\nSize:       {}\nAllocated:  {}\nPath:       {}\nUsed by:    {users}\n",
                image.name, image.pool, image.shown_format(), found.volume.capacity, found.volume.allocation, image.path
            ))
        }
    }
}
