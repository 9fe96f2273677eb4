//! A web server for one file, as plain as HTTP/1.1 allows: GET and HEAD, whole or from an offset on.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Result, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// Serves a file to whoever asks for whatever, as long as this process lives. Gives its address.
pub(crate) fn serve(file: &Path) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let name = file.file_name().unwrap_or_default().display().to_string();
    let url = format!("http://{}/{name}", listener.local_addr()?);
    let file = file.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let file = file.clone();
            // Whoever goes away in the middle has a reason.
            std::thread::spawn(move || drop(answer(&stream, &file)));
        }
    });
    Ok(url)
}

fn answer(mut stream: &TcpStream, path: &PathBuf) -> Result<()> {
    let request: Vec<String> = BufReader::new(stream)
        .lines()
        .take_while(|l| l.as_ref().is_ok_and(|l| !l.is_empty()))
        .collect::<Result<_>>()?;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let (first, last) = range(&request).map_or((0, None), |(first, last)| (first, Some(last)));
    let end = last.flatten().map_or(length, |last: u64| length.min(last.saturating_add(1)));
    let (status, place) = match last {
        Some(_) => (
            "206 Partial Content",
            format!("Content-Range: bytes {first}-{}/{length}\r\n", end.saturating_sub(1)),
        ),
        None => ("200 OK", String::new()),
    };
    let size = end.saturating_sub(first);
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{place}Accept-Ranges: bytes\r\nETag: \"{length:x}\"\r\n\
         Content-Type: application/octet-stream\r\nConnection: close\r\n\r\n"
    )?;
    if request.first().is_some_and(|line| line.starts_with("GET ")) {
        file.seek(SeekFrom::Start(first))?;
        std::io::copy(&mut file.take(size), &mut stream)?;
    }
    Ok(())
}

/// The first byte that is asked for, and the last one where it is named.
fn range(request: &[String]) -> Option<(u64, Option<u64>)> {
    let line = request.iter().find(|line| line.to_ascii_lowercase().starts_with("range: bytes="))?;
    let (first, last) = line.rsplit_once('=')?.1.split_once('-')?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()))
}
