//! Uploads and downloads of volumes, and screenshots, through libvirt's streams.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use virt::domain::Domain;
use virt::storage_vol::StorageVol;
use virt::stream::Stream;
use virt::sys as c;

use super::sending::{CHUNK, Piece, Sending, UploadTarget, transfer_failed};
use super::socket_keeper::SocketKeeper;
use super::sys::{self, Received};
use super::{Asked, Libvirt, libvirt_xml, storage};
use crate::{HostError, Result, Screenshot, Transfers, Zeros};
use foundry_core::record::VolumeRef;
use foundry_fetch::content::{Content, Sink};

/// Bytes of one download. A download that is not read to its end hangs libvirtd (see [`super::socket_keeper`]), so a
/// download is split into pieces with a near end.
const PIECE: u64 = 256 << 20;

/// Reads up to this many bytes go to the volume's file if it is accessible. Larger ones use streams, because others may
/// write to the volume meanwhile.
const READ_AT_ONCE: u64 = 1 << 20;

/// Bytes of the largest picture: a screen of 8K as a pixmap.
const LARGEST_SCREENSHOT: usize = 128 << 20;

/// A stream to a volume.
struct ToVolume<'a> {
    host: &'a Libvirt,
    stream: &'a Stream,
    asked: &'a Asked,
    /// Zero bytes that were not sent as a hole yet.
    hole: u64,
}

impl Libvirt {
    /// Sends the content to a stream of at most `span.1` bytes, from position `span.0` on.
    fn stream_to(
        &self,
        volume: &StorageVol,
        content: &mut dyn Content,
        asked: &Asked,
        span: (u64, u64),
        zeros: Zeros,
    ) -> Result<u64> {
        let stream = self.call("virStreamNew", asked, || Stream::new(&self.connection, 0))?;
        // Before the first byte: from then on, a kill can hang libvirtd.
        let keeper = self.keep_socket(asked);
        let sparse = zeros != Zeros::Written;
        let flags = if sparse { c::VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM } else { 0 };
        self.call("virStorageVolUpload", asked, || volume.upload(&stream, span.0, span.1, flags))?;
        let mut target = ToVolume { host: self, stream: &stream, asked, hole: 0 };
        let sent = Sending::new(content, asked, span.1, zeros).send_to(&mut target);
        // Zeros at the end were only counted so far.
        let sent = sent.and_then(|sent| target.tell_hole().map(|()| sent));
        self.end(stream, sent, asked, keeper)
    }

    fn keep_socket(&self, asked: &Asked) -> Option<SocketKeeper> {
        SocketKeeper::start(self.socket_keeper.as_deref()?, &self.sockets, &asked.operation)
    }

    fn receive_piece(
        &self,
        volume: &StorageVol,
        into: &mut dyn Sink,
        asked: &Asked,
        span: (u64, u64),
    ) -> Result<u64> {
        let stream = self.call("virStreamNew", asked, || Stream::new(&self.connection, 0))?;
        let keeper = self.keep_socket(asked);
        let flags = c::VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM;
        self.call("virStorageVolDownload", asked, || volume.download(&stream, span.0, span.1, flags))?;
        let received = self.receive_all(&stream, into, asked);
        self.end(stream, received, asked, keeper)
    }

    /// Takes a picture of a screen, of at most [`LARGEST_SCREENSHOT`] bytes.
    pub(super) fn receive_screenshot(
        &self,
        domain: &Domain,
        screen: u32,
        asked: &Asked,
    ) -> Result<Screenshot> {
        let stream = self.call("virStreamNew", asked, || Stream::new(&self.connection, 0))?;
        let keeper = self.keep_socket(asked);
        let taken = self.call("virDomainScreenshot", asked, || domain.screenshot(&stream, screen, 0));
        let media_type = taken?;
        let mut picture = Picture(Vec::new());
        let received = self.receive_all(&stream, &mut picture, asked);
        self.end(stream, received, asked, keeper)?;
        Ok(Screenshot { media_type, bytes: picture.0 })
    }

    fn end(
        &self,
        stream: Stream,
        outcome: Result<u64>,
        asked: &Asked,
        keeper: Option<SocketKeeper>,
    ) -> Result<u64> {
        let ended = match outcome {
            Ok(bytes) => self.call("virStreamFinish", asked, || stream.finish()).map(|()| bytes),
            Err(e) => {
                // The first error is reported; an error of the abort adds nothing to it.
                let _ = self.raw("virStreamAbort", asked, || stream.abort());
                Err(e)
            }
        };
        // On a live connection, the stream has ended at both sides, and nobody needs the keeper.
        if let Some(keeper) = keeper.filter(|_| !self.connection.is_alive().unwrap_or(false)) {
            keeper.leave_behind();
        }
        ended
    }

    /// Identifies the content of a volume: its capacity and the times of the last write and of its file's creation.
    /// libvirtd looks the volume up by name for each piece, even with the same handle, so pieces belong to the same
    /// file only if these stay equal. The owner is ignored, because libvirt changes it when a VM starts.
    fn version(&self, volume: &StorageVol, asked: &Asked) -> Result<[Option<String>; 3]> {
        let xml = self.call("virStorageVolGetXMLDesc", asked, || volume.xml_desc(0))?;
        let document = libvirt_xml::parse_xml(&xml, "volume", "a volume")?;
        let text = |name: &str| {
            let found = document.descendants().find(|node| node.has_tag_name(name));
            found.and_then(|node| node.text()).map(str::to_owned)
        };
        Ok([text("capacity"), text("mtime"), text("btime")])
    }

    fn receive_all(&self, stream: &Stream, into: &mut dyn Sink, asked: &Asked) -> Result<u64> {
        let mut chunk = vec![0; CHUNK];
        let mut done = 0;
        loop {
            match self.piece(asked, || sys::receive(stream, &mut chunk))? {
                Received::Data(0) => return Ok(done),
                Received::Data(got) => {
                    into.write_all(&chunk[..got]).map_err(|e| transfer_failed(asked, &e))?;
                    done += got as u64;
                }
                Received::Hole(length) => {
                    into.write_hole(length).map_err(|e| transfer_failed(asked, &e))?;
                    done += length;
                }
            }
        }
    }
}

impl Transfers for Libvirt {
    fn upload(
        &self,
        volume: &VolumeRef,
        content: &mut dyn Content,
        offset: u64,
        length: u64,
        zeros: Zeros,
    ) -> Result<u64> {
        let asked = storage(format!("upload to {volume}"));
        let volume = self.volume_handle(volume, &asked)?;
        if let Some(file) = self.file_to_write(&volume, &asked, offset)? {
            return file.fill(Sending::new(content, &asked, length, zeros), length);
        }
        self.stream_to(&volume, content, &asked, (offset, length), zeros)
    }

    fn download_span(
        &self,
        volume: &VolumeRef,
        into: &mut dyn Sink,
        (offset, length): (u64, u64),
    ) -> Result<()> {
        let asked = storage(format!("download {volume}"));
        let volume = self.volume_handle(volume, &asked)?;
        if length <= READ_AT_ONCE
            && let Some(file) = self.file_to_read(&volume, &asked)
        {
            return read_span(&file, into, (offset, length)).map_err(|e| transfer_failed(&asked, &e));
        }
        let mut done = 0;
        // One piece is one stream, which reads one file to its end.
        let before = if length > PIECE { Some(self.version(&volume, &asked)?) } else { None };
        while done < length {
            let wanted = PIECE.min(length - done);
            let received = self.receive_piece(&volume, into, &asked, (offset + done, wanted))?;
            done += received;
            // The volume ends here.
            if received < wanted {
                break;
            }
        }
        match before {
            Some(before) if self.version(&volume, &asked)? != before => Err(HostError::Transfer {
                operation: asked.operation,
                cause: "it was written to or replaced meanwhile".into(),
                interrupted: false,
            }),
            _ => Ok(()),
        }
    }
}

/// A picture while it is received. libvirt sends no holes in one.
struct Picture(Vec<u8>);

impl Write for Picture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST_SCREENSHOT {
            return Err(io::Error::other(format!("the picture has more than {LARGEST_SCREENSHOT} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Picture {
    fn write_hole(&mut self, _: u64) -> io::Result<()> {
        Err(io::Error::other("the picture has a hole"))
    }
}

/// Reads from a file like a stream: fewer bytes if the file ends earlier.
fn read_span(file: &File, into: &mut dyn Sink, (offset, length): (u64, u64)) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let mut file = file;
    file.seek(SeekFrom::Start(offset))?;
    file.take(length).read_to_end(&mut bytes)?;
    into.write_all(&bytes)
}

impl ToVolume<'_> {
    fn tell_hole(&mut self) -> Result<()> {
        match std::mem::take(&mut self.hole) {
            0 => Ok(()),
            hole => self.host.piece(self.asked, || sys::send_hole(self.stream, hole)),
        }
    }

    fn write(&mut self, mut data: &[u8]) -> Result<()> {
        self.tell_hole()?;
        while !data.is_empty() {
            let sent = self.host.piece(self.asked, || self.stream.send(data))?;
            // A blocking stream accepts everything; a negative count means "would block" and cannot occur.
            data = &data[usize::try_from(sent).unwrap_or(0)..];
        }
        Ok(())
    }
}

impl UploadTarget for ToVolume<'_> {
    fn put(&mut self, chunk: &mut Vec<u8>, pieces: Vec<Piece>) -> Result<()> {
        for piece in pieces {
            match piece {
                Piece::Data(range) => self.write(&chunk[range])?,
                Piece::Hole(length) => self.hole += length,
            }
        }
        Ok(())
    }
}
