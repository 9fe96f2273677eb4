//! Bytes from elsewhere: a server that misbehaves, files with holes, packed data, checksum files, the cache.

mod cache;
mod checksums;
mod download;
mod resume;
mod sparse;
mod support;
mod unpack;
