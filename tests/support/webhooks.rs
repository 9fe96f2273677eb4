//! A client of the controller's HTTP: it asks, and sends signed events.
#![allow(dead_code, reason = "each of the two programs takes what it needs")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A request's end: status and body.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// Asks at an address, `HOST:PORT`.
pub(crate) fn ask(address: &str, request: &str, headers: &[(&str, &str)], body: &[u8]) -> Told {
    ask_on(TcpStream::connect(address).unwrap(), request, headers, body)
}

/// Asks on a unix socket.
pub(crate) fn ask_socket(socket: &Path, request: &str, headers: &[(&str, &str)], body: &[u8]) -> Told {
    ask_on(UnixStream::connect(socket).unwrap(), request, headers, body)
}

fn ask_on(mut stream: impl Read + Write, request: &str, headers: &[(&str, &str)], body: &[u8]) -> Told {
    let mut head =
        format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    // A server that refuses may close before it has read all.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {answer:?}"));
    Told { status: head.split(' ').nth(1).unwrap().parse().unwrap(), body: body.to_owned() }
}

/// HMAC-SHA256 in hexadecimal (RFC 2104).
pub(crate) fn sign(secret: &[u8], body: &[u8]) -> String {
    let pad = |with: u8| -> Vec<u8> {
        (0..64).map(|at| secret.get(at).copied().unwrap_or_default() ^ with).collect()
    };
    let inner = Sha256::digest([&pad(0x36)[..], body].concat());
    let outer = Sha256::digest([&pad(0x5c)[..], &inner[..]].concat());
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A `workflow_job` of repository acme/shop with these labels.
pub(crate) fn workflow_job(action: &str, id: u64, labels: &[&str], runner: Option<&str>) -> Vec<u8> {
    let conclusion = (action == "completed").then_some("success");
    json!({
        "action": action,
        "workflow_job": {"id": id, "status": action, "name": "build", "labels": labels, "runner_name": runner,
            "conclusion": conclusion, "html_url": "https://forge.example/acme/shop/actions/1"},
        "repository": {"full_name": "acme/shop", "html_url": "https://forge.example/acme/shop"},
    })
    .to_string()
    .into_bytes()
}

/// Sends a signed event to `/webhooks/acme`.
pub(crate) fn send_event(address: &str, secret: &str, body: &[u8]) -> Told {
    with_signature(secret, body, |headers| ask(address, "POST /webhooks/acme", headers, body))
}

/// The same on a unix socket.
pub(crate) fn send_event_on(socket: &Path, secret: &str, body: &[u8]) -> Told {
    with_signature(secret, body, |headers| ask_socket(socket, "POST /webhooks/acme", headers, body))
}

fn with_signature(secret: &str, body: &[u8], send: impl FnOnce(&[(&str, &str)]) -> Told) -> Told {
    let signature = format!("sha256={}", sign(secret.as_bytes(), body));
    let kind = [("content-type", "application/json"), ("x-github-event", "workflow_job")];
    send(&[&kind[..], &[("x-hub-signature-256", &signature)]].concat())
}
