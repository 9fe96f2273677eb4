//! Images by short name: `debian-13` instead of a URL and the URL of its checksum file.
//!
//! The built-in catalogue is a data file. The user's own has the same format and overrides it. Unknown fields are
//! errors with line and column.

mod file;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::file::{CatalogUpdate, add_entry, remove_entry};
use crate::transfer::{Expected, Location};
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::names::{NameError, find_nearest};
use foundry_core::plan::Arch;

/// The short name of an image: 1–63 characters of `a-z0-9._-`, beginning with a letter or digit. So it cannot be a URL,
/// a path or an option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Alias(String);

impl Alias {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Alias {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if !(1..=63).contains(&text.len()) {
            return Err(NameError("must have 1 to 63 characters".into()));
        }
        if !text.starts_with(plain) || !text.chars().all(|c| plain(c) || "._-".contains(c)) {
            return Err(NameError(
                "may contain only a-z, 0-9, '.', '_' and '-', and must begin with a letter or digit".into(),
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Alias {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Alias> for String {
    fn from(alias: Alias) -> Self {
        alias.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An entry of a catalogue, as it is written there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogEntry {
    /// Description for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// URL without a login; `{arch}` and `{deb-arch}` stand for the architecture.
    pub url: String,
    /// Digest, or URL of the checksum file, with the same placeholders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Architectures of the image; by default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Vec<String>>,
}

/// An image of a catalogue for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogImage {
    /// Short name.
    pub alias: Alias,
    /// Description for display.
    pub description: String,
    /// Location of the image.
    pub location: Location,
    /// How the image is verified, if it is.
    pub checksum: Option<Expected>,
    /// Whether it is from the user's own catalogue.
    pub own: bool,
}

/// The built-in catalogue, overridden by the user's own.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Each entry, and whether it is the user's own.
    entries: BTreeMap<Alias, (CatalogEntry, bool)>,
}

impl Catalog {
    /// Loads the built-in catalogue and the user's own. A missing file is an empty catalogue.
    ///
    /// # Errors
    /// [`foundry_core::error::Kind::Configuration`] if the user's catalogue cannot be read or is invalid, with line and
    /// column.
    pub fn load(own: Option<&Path>) -> Result<Self, Error> {
        let built_in = file::parse_catalog(include_str!("builtin.yaml"), "the built-in catalogue")?;
        let own = own.map(file::load_file).transpose()?.unwrap_or_default();
        let marked = |entries: BTreeMap<Alias, CatalogEntry>, own| {
            entries.into_iter().map(move |(a, e)| (a, (e, own)))
        };
        Ok(Self { entries: marked(built_in, false).chain(marked(own, true)).collect() })
    }

    /// Whether the catalogue has this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.entries.keys().any(|alias| alias.as_str() == name)
    }

    /// Lists all images for an architecture, by name.
    ///
    /// # Errors
    /// As [`find_image`](Self::find_image).
    pub fn list_images(&self, arch: Arch) -> Result<Vec<CatalogImage>, Error> {
        let fitting = self.entries.iter().filter(|(_, (entry, _))| entry.is_for(arch));
        fitting.map(|(alias, (entry, own))| entry.resolve_for(alias, arch, *own)).collect()
    }

    /// Lists the checksums of all images, for all architectures.
    ///
    /// # Errors
    /// As [`find_image`](Self::find_image).
    pub fn list_checksums(&self) -> Result<Vec<Expected>, Error> {
        let images = Arch::ALL.iter().map(|arch| self.list_images(*arch)).collect::<Result<Vec<_>, _>>()?;
        Ok(images.into_iter().flatten().filter_map(|image| image.checksum).collect())
    }

    /// Returns an image by its name and architecture.
    ///
    /// # Errors
    /// [`foundry_core::error::Kind::Validation`] if there is none with this name (with the name that was probably
    /// meant), or none for this architecture.
    pub fn find_image(&self, name: &str, arch: Arch) -> Result<CatalogImage, Error> {
        let known = name.parse::<Alias>().ok().and_then(|alias| self.entries.get_key_value(&alias));
        let Some((alias, (entry, own))) = known else { return Err(self.unknown_image(name)) };
        if !entry.is_for(arch) {
            let message = format!("the catalogue does not have {alias} for {}", arch.as_str());
            return Err(Error::new(Code::CatalogueImageMissing, message));
        }
        entry.resolve_for(alias, arch, *own)
    }

    fn unknown_image(&self, name: &str) -> Error {
        let hint = match find_nearest(name, self.entries.keys().map(Alias::as_str)) {
            Some(near) => Advice::from(format!("did you mean {near}?")),
            None => Advice::from(Verb::CatalogList)
                .text(" lists all; to pull any other image, give its URL, https://..."),
        };
        Error::new(Code::CatalogueImageMissing, format!("the catalogue has no image {name:?}")).hint(hint)
    }
}

impl CatalogEntry {
    fn is_for(&self, arch: Arch) -> bool {
        self.arch.as_ref().is_none_or(|all| all.iter().any(|one| one == arch.as_str()))
    }

    /// Replaces the placeholders by an architecture.
    fn resolve_for(&self, alias: &Alias, arch: Arch, own: bool) -> Result<CatalogImage, Error> {
        let debian = match arch {
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
        };
        let put_in = |text: &str| text.replace("{arch}", arch.as_str()).replace("{deb-arch}", debian);
        Ok(CatalogImage {
            alias: alias.clone(),
            description: self.description.clone().unwrap_or_default(),
            location: put_in(&self.url).parse()?,
            checksum: self.checksum.as_deref().map(|text| put_in(text).parse()).transpose()?,
            own,
        })
    }

    /// Finds out why an entry is invalid; returns the field and the message.
    fn find_problem(&self) -> Option<(&'static str, String)> {
        let known = |arch: &String| Arch::ALL.iter().any(|known| known.as_str() == arch);
        if let Some(stray) = self.arch.iter().flatten().find(|arch| !known(arch)) {
            return Some(("arch", format!("{stray:?} is neither x86_64 nor aarch64")));
        }
        let image = match self.resolve_for(&Alias(String::new()), Arch::X86_64, true) {
            Ok(image) => image,
            Err(e) => {
                let field = if self.url.parse::<Location>().is_err() { "url" } else { "checksum" };
                return Some((field, e.to_string()));
            }
        };
        let login = "it contains a user name or password, which must not be stored in a catalogue; \
                     pass the login when you pull the image";
        match (&image.location, &image.checksum) {
            (Location::StandardInput, _) => {
                Some(("url", "standard input cannot be an image's location".into()))
            }
            (Location::Url(url), _) if url.has_login() => Some(("url", login.into())),
            (_, Some(Expected::ListedIn(Location::Url(url)))) if url.has_login() => {
                Some(("checksum", login.into()))
            }
            _ => None,
        }
    }
}
