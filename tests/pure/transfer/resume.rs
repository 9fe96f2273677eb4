//! Connections that break, and servers that are not what they were.

use std::sync::Mutex;
use std::time::Duration;

use foundry::transfer::{HttpSettings, Reason};

use super::support::{Bench, noise, sha256};
use crate::support::http::{Reply, Request, Server};

const LENGTH: usize = 500_000;

/// A server whose first answer breaks after 200,000 bytes.
fn breaking(rest: impl Fn(&Request, &[u8]) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |request| match request.nth {
        0 => Reply::file(request, &noise(LENGTH), "v1").cut_after(200_000),
        _ => rest(request, &noise(LENGTH)),
    })
}

fn assert_whole(server: &Server) -> Bench {
    let bench = Bench::new().expecting(sha256(&noise(LENGTH)));
    let (bytes, done) = bench.read(&server.url("/x")).unwrap();
    assert!(bytes == noise(LENGTH));
    assert_eq!(done.bytes, LENGTH as u64, "each byte is counted once");
    bench
}

#[test]
fn it_goes_on_where_it_broke_if_it_is_still_the_same() {
    let server = breaking(|request, content| Reply::file(request, content, "v1"));
    let bench = assert_whole(&server);
    let asked = &server.requests()[1];
    assert_eq!((asked.header("range"), asked.header("if-range")), (Some("bytes=200000-"), Some("\"v1\"")));
    assert!(bench.told()[0].contains("trying again in 1 s"), "{:?}", bench.told());
}

#[test]
fn it_may_break_often() {
    let server = Server::start(|request| Reply::file(request, &noise(LENGTH), "v1").cut_after(120_000));
    assert_whole(&server);
    assert_eq!(server.requests().len(), 5);
}

#[test]
fn progress_earns_new_tries() {
    const LONG: usize = 12 << 20;
    let server = Server::start(|request| Reply::file(request, &noise(LONG), "v1").cut_after(3 << 19));
    let bench = Bench::with(HttpSettings { retries: 1, ..HttpSettings::default() });
    assert_eq!(bench.read(&server.url("/x")).unwrap().1.bytes, LONG as u64);
    assert_eq!(server.requests().len(), 8);
    assert_eq!(bench.slept(), Duration::from_secs(7), "the backoff begins anew");
}

#[test]
fn a_server_without_ranges_sends_it_anew_and_what_is_known_is_read_past() {
    let server = breaking(|_, content| Reply::file(&whole(), content, "v1"));
    assert_whole(&server);
    let server = breaking(|_, content| Reply::file(&whole(), content, "v1").without("ETag"));
    assert_whole(&server);
}

fn whole() -> Request {
    Request { method: "GET".into(), path: "/x".into(), headers: Default::default(), nth: 0, body: Vec::new() }
}

#[test]
fn what_changed_meanwhile_is_never_mixed() {
    let other = |request: &Request, _: &[u8]| Reply::file(request, &noise(LENGTH + 1), "v2");
    let lies = |request: &Request, content: &[u8]| {
        let reply = Reply::file(request, content, "v1").without("Content-Range");
        reply.with("Content-Range", &format!("bytes 200000-{LENGTH}/{}", LENGTH + 1))
    };
    let tagged = |request: &Request, content: &[u8]| {
        Reply::file(request, content, "v1").without("ETag").with("ETag", "\"v2\"")
    };
    for server in [breaking(other), breaking(lies), breaking(tagged)] {
        let failed = Bench::new().read(&server.url("/x")).unwrap_err();
        assert_eq!((failed.reason(), server.requests().len()), (Reason::Changed, 2), "{failed}");
    }
}

#[test]
fn what_cannot_be_recognized_is_not_gone_on_with() {
    let bare = |reply: Reply| reply.without("ETag").without("Last-Modified");
    let server = Server::start(move |r| bare(Reply::file(r, &noise(LENGTH), "v1")).cut_after(200_000));
    let failed = Bench::new().read(&server.url("/x")).unwrap_err();
    assert_eq!((failed.reason(), server.requests().len()), (Reason::Changed, 1), "{failed}");
    let weak =
        move |request: &Request| bare(Reply::file(request, &noise(LENGTH), "v1")).with("ETag", "W/\"v1\"");
    let server = Server::start(move |request| weak(request).cut_after(200_000));
    assert_eq!(Bench::new().read(&server.url("/x")).unwrap_err().reason(), Reason::Changed);
}

/// Whose digest is known cannot become a mixture: it tells at the end.
#[test]
fn what_cannot_be_recognized_is_gone_on_with_where_its_digest_is_known() {
    let bare = |reply: Reply| reply.without("ETag").without("Last-Modified");
    type Make = Box<dyn Fn(&Request) -> Reply + Send + Sync>;
    let servers: [(Make, usize); 4] = [
        (Box::new(move |r| bare(Reply::file(r, &noise(LENGTH), "v1"))), 1),
        (Box::new(move |r| bare(Reply::file(r, &noise(LENGTH), "v1")).with("ETag", "W/\"v1\"")), 1),
        // Without ranges it comes anew and is read past.
        (Box::new(move |_| bare(Reply::file(&whole(), &noise(LENGTH), "v1"))), 2),
        // Mirrors with tags of their own.
        (Box::new(|r| Reply::file(r, &noise(LENGTH), &format!("v{}", r.nth)).without("Last-Modified")), 2),
    ];
    for (answer, breaks) in servers {
        let server = Server::start(move |request| {
            let reply = answer(request);
            if request.nth < breaks { reply.cut_after(200_000 * (request.nth + 1)) } else { reply }
        });
        assert_whole(&server);
        assert_eq!(server.requests().len(), breaks + 1);
    }
}

#[test]
fn a_mixture_is_found_by_its_digest() {
    let server = Server::start(|request| {
        let content = [noise(LENGTH), vec![7; LENGTH]][request.nth.min(1)].clone();
        let reply = Reply::file(request, &content, "v1").without("ETag").without("Last-Modified");
        if request.nth == 0 { reply.cut_after(200_000) } else { reply }
    });
    let bench = Bench::new().expecting(sha256(&noise(LENGTH)));
    assert_eq!(bench.read(&server.url("/x")).unwrap_err().reason(), Reason::Checksum);
    let longer = Server::start(|request| match request.nth {
        0 => Reply::file(request, &noise(LENGTH), "v1").cut_after(200_000),
        _ => Reply::file(request, &noise(LENGTH + 1), "v2"),
    });
    let bench = Bench::new().expecting(sha256(&noise(LENGTH)));
    assert_eq!(
        bench.read(&longer.url("/x")).unwrap_err().reason(),
        Reason::Changed,
        "no digest can be right"
    );
}

#[test]
fn another_part_than_the_one_asked_for_is_refused() {
    let server = breaking(|request, content| {
        let reply = Reply::file(request, content, "v1").without("Content-Range");
        reply.with("Content-Range", &format!("bytes 0-{}/{LENGTH}", LENGTH - 1))
    });
    let failed = Bench::new().read(&server.url("/x")).unwrap_err();
    assert_eq!(failed.reason(), Reason::Answer, "{failed}");
    assert!(failed.to_string().contains("another part"), "{failed}");
    let server = breaking(|request, content| Reply::file(request, content, "v1").without("Content-Range"));
    assert_eq!(Bench::new().read(&server.url("/x")).unwrap_err().reason(), Reason::Answer);
}

#[test]
fn a_server_that_announces_more_than_it_has_is_given_up() {
    let server = Server::start(|_| Reply::new(200, noise(1000)).declaring(2000).with("ETag", "\"v1\""));
    let bench = Bench::new();
    let failed = bench.read(&server.url("/x")).unwrap_err();
    assert_eq!((failed.reason(), server.requests().len()), (Reason::Unreachable, 6), "{failed}");
}

#[test]
fn a_part_that_is_longer_than_the_file_is_refused() {
    let server = breaking(|request, content| {
        let part = content[request.first_byte().unwrap()..].to_vec();
        let reply = Reply::new(206, [part, vec![1; 10]].concat()).with("ETag", "\"v1\"");
        reply.with("Content-Range", &format!("bytes 200000-{}/{LENGTH}", LENGTH - 1))
    });
    let failed = Bench::new().read(&server.url("/x")).unwrap_err();
    assert!(failed.to_string().contains("the server sent more than"), "{failed}");
}

#[test]
fn chunks_that_break_at_the_very_end_are_complete_if_the_server_says_so() {
    let server = Server::start(|request| match request.nth {
        0 => Reply::file(request, &noise(LENGTH), "v1").chunked().cut_after(LENGTH),
        _ => Reply::file(request, &noise(LENGTH), "v1"),
    });
    assert_whole(&server);
    assert_eq!(server.requests()[1].header("range"), Some("bytes=500000-"));
}

#[test]
fn a_server_that_has_less_than_before_is_an_error() {
    let server = breaking(|_, _| Reply::new(416, "").with("Content-Range", "bytes */100"));
    assert_eq!(Bench::new().read(&server.url("/x")).unwrap_err().reason(), Reason::Changed);
}

#[test]
fn a_stall_is_a_break() {
    let server = Server::start(|request| {
        let reply = Reply::file(request, &noise(LENGTH), "v1");
        if request.nth == 0 { reply.pausing(200_000, Duration::from_secs(8)) } else { reply }
    });
    let bench =
        Bench::with(HttpSettings { stall_timeout: Duration::from_millis(300), ..HttpSettings::default() });
    assert!(bench.read(&server.url("/x")).unwrap().0 == noise(LENGTH));
    assert!(bench.told()[0].contains("no data was received for 0.3 s"), "{:?}", bench.told());
}

#[test]
fn a_slow_server_is_not_a_stall_as_long_as_something_comes() {
    let server = Server::start(|request| {
        Reply::file(request, &noise(LENGTH), "v1").pausing(200_000, Duration::from_millis(600))
    });
    let bench =
        Bench::with(HttpSettings { stall_timeout: Duration::from_secs(2), ..HttpSettings::default() });
    assert!(bench.read(&server.url("/x")).unwrap().0 == noise(LENGTH));
    assert_eq!(bench.told().len(), 0);
}

/// The mirror that redirections led to is asked first, then the address itself, which may lead to another one.
#[test]
fn the_mirror_that_broke_is_asked_again_and_then_the_address_itself() {
    let (good, bad) = (Server::of_file(noise(LENGTH)), Mutex::new(0));
    let bad = Server::start(move |request| {
        *bad.lock().unwrap() += 1;
        match *bad.lock().unwrap() {
            1 => Reply::file(request, &noise(LENGTH), "v1").cut_after(200_000),
            _ => Reply::new(403, "expired"),
        }
    });
    let mirrors = [bad.url("/m"), good.url("/m")];
    let start = Server::start(move |request| Reply::redirect(&mirrors[request.nth.min(1)]));
    assert!(Bench::new().read(&start.url("/x")).unwrap().0 == noise(LENGTH));
    assert_eq!((start.requests().len(), bad.requests().len(), good.requests().len()), (2, 2, 1));
}
