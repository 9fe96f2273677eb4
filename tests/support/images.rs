//! Images to be imported in tests.

use foundry::content::Content;
use foundry::host::Volume;
use foundry::operations::image::{self, ImageSource};
use foundry::origin::ImageOrigin;
use foundry::{Error, host::memory::MemoryHost};

use super::bench::{Bench, GIB};

/// An image as a test wants it.
pub(crate) struct Image<C> {
    pub(crate) content: C,
    pub(crate) length: Option<u64>,
    pub(crate) data: Option<u64>,
    pub(crate) origin: Option<ImageOrigin>,
}

impl<C: Content> Image<C> {
    /// Of a known length, without holes.
    pub(crate) fn dense(content: C, length: u64) -> Self {
        Self { content, length: Some(length), data: Some(length), origin: None }
    }

    /// Of which nothing is known.
    pub(crate) fn unknown(content: C) -> Self {
        Self { content, length: None, data: None, origin: None }
    }

    pub(crate) fn origin(mut self, source: &str) -> Self {
        self.origin = Some(origin(source));
        self
    }

    /// Imports it.
    pub(crate) fn import(mut self, bench: &Bench, name: &str) -> Result<Volume, Error> {
        image::import_image(&bench.context(), "foundry-images", &name.parse().unwrap(), &mut self)
    }
}

/// A note on an image from there.
pub(crate) fn origin(source: &str) -> ImageOrigin {
    ImageOrigin {
        source: source.into(),
        source_id: None,
        alias: None,
        digest: Some("sha256:00".into()),
        verified_by: None,
        compression: None,
        converted_from: None,
        etag: None,
        last_modified: None,
        fetched: "2026-11-21T12:00:00Z".into(),
    }
}

impl<C: Content> ImageSource for Image<C> {
    fn source_name(&self) -> &str {
        "disk.img"
    }

    fn content(&mut self) -> &mut dyn Content {
        &mut self.content
    }

    fn length(&self) -> Option<u64> {
        self.length
    }

    fn data_bytes(&self) -> Option<u64> {
        self.data
    }

    fn is_noted(&self) -> bool {
        self.origin.is_some()
    }

    fn origin(&mut self) -> Option<ImageOrigin> {
        self.origin.take()
    }
}

/// A qcow2 image, as its first bytes say; 200 KB.
pub(crate) fn qcow2() -> Vec<u8> {
    let host = MemoryHost::new().with_image("tmp", "x", "qcow2", 3 * GIB);
    let mut bytes = host.content("/pool/tmp/x").unwrap();
    bytes.resize(200_000, 1);
    bytes
}

/// A raw image with a boot sector; 100 KB.
pub(crate) fn raw() -> Vec<u8> {
    [vec![0xeb, 0xfe], vec![0; 508], vec![0x55, 0xaa], vec![7; 100_000]].concat()
}
