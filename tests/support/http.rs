//! A small HTTP/1.1 server on the loopback, which does what it is told, also wrong: it breaks off, lies about lengths,
//! redirects, stalls, refuses. It is a CONNECT proxy to itself, too.
#![allow(dead_code, reason = "each of the two programs takes what it needs")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a client asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    /// By their names in small letters.
    pub(crate) headers: HashMap<String, String>,
    /// How many requests there were before it.
    pub(crate) nth: usize,
    /// As long as its `Content-Length` says.
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte that is wanted: `Range: bytes=N-`.
    pub(crate) fn first_byte(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What the server answers.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// What `Content-Length` says, if not the body's.
    declared: Option<u64>,
    chunked: bool,
    /// After so many bytes of the body the connection is closed.
    cut: Option<usize>,
    /// After so many bytes of the body nothing comes for that time.
    pause: Option<(usize, Duration)>,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { status, headers: Vec::new(), body, declared: None, chunked: false, cut: None, pause: None }
    }

    /// A file, as a well-behaved server gives it: with a strong tag, with ranges, with "not modified".
    pub(crate) fn file(request: &Request, content: &[u8], etag: &str) -> Self {
        let tag = format!("\"{etag}\"");
        if request.header("if-none-match") == Some(&tag) {
            return Self::new(304, "").with("ETag", &tag);
        }
        let wanted = request.first_byte().filter(|_| request.header("if-range").is_none_or(|t| t == tag));
        let reply = match wanted {
            Some(first) if first >= content.len() => {
                Self::new(416, "").with("Content-Range", &format!("bytes */{}", content.len()))
            }
            Some(first) => Self::new(206, &content[first..])
                .with("Content-Range", &format!("bytes {first}-{}/{}", content.len() - 1, content.len())),
            None => Self::new(200, content),
        };
        reply.with("ETag", &tag).with("Last-Modified", "Sat, 01 Nov 2025 10:00:00 GMT")
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::new(302, "").with("Location", to)
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    pub(crate) fn declaring(mut self, length: u64) -> Self {
        self.declared = Some(length);
        self
    }

    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    pub(crate) fn pausing(mut self, after: usize, time: Duration) -> Self {
        self.pause = Some((after, time));
        self
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} Told\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if self.chunked {
            head += "Transfer-Encoding: chunked\r\n";
        } else if self.status != 304 {
            head += &format!("Content-Length: {}\r\n", self.declared.unwrap_or(self.body.len() as u64));
        }
        head + "\r\n"
    }

    /// Errors mean that the client went away, which it may.
    fn send(&self, to: &mut TcpStream, with_body: bool) -> std::io::Result<()> {
        to.write_all(self.head().as_bytes())?;
        if !with_body {
            return Ok(());
        }
        let end = self.cut.unwrap_or(self.body.len()).min(self.body.len());
        let pause_at = self.pause.map_or(end, |(after, _)| after.min(end));
        self.send_part(to, &self.body[..pause_at])?;
        if let Some((_, time)) = self.pause {
            to.flush()?;
            thread::sleep(time);
        }
        self.send_part(to, &self.body[pause_at..end])?;
        if self.chunked && self.cut.is_none() { to.write_all(b"0\r\n\r\n") } else { Ok(()) }
    }

    fn send_part(&self, to: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
        if !self.chunked {
            return to.write_all(bytes);
        }
        for chunk in bytes.chunks(10_000) {
            to.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
            to.write_all(chunk)?;
            to.write_all(b"\r\n")?;
        }
        Ok(())
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// The server; it ends with this.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers each request with what the function says.
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (seen, ended, answer): (_, _, Arc<Handler>) =
            (Arc::clone(&requests), Arc::clone(&stop), Arc::new(answer));
        let accept = move || {
            for connection in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                // The client may end the connection as it likes.
                thread::spawn(move || connection.and_then(|c| serve(c, &seen, &*answer)));
            }
        };
        Self { address, requests, stop, thread: Some(thread::spawn(accept)) }
    }

    /// Serves one file under every path, with ranges.
    pub(crate) fn of_file(content: impl Into<Vec<u8>>) -> Self {
        let content = content.into();
        Self::start(move |request| Reply::file(request, &content, "v1"))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Request>>, answer: &Handler) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let Some(mut request) = read_request(&mut reader)? else { return Ok(()) };
        {
            let mut seen = seen.lock().unwrap();
            request.nth = seen.len();
            seen.push(request.clone());
        }
        if request.method != "CONNECT" {
            let reply = answer(&request);
            reply.send(&mut stream, request.method != "HEAD")?;
            return stream.shutdown(Shutdown::Both);
        }
        // The tunnel leads back here.
        stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    }
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = HashMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length: &String| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, headers, nth: 0, body }))
}
