//! One try: what is asked, what is taken, what is refused, and what is tried again.

use std::time::{Duration, Instant};

use foundry::transfer::{FileFreshness, HttpSettings, Proxies, Reason, Validators, check_freshness};

use super::support::{Bench, TestPace, noise, sha256};
use crate::support::http::{Reply, Request, Server};
use crate::support::shown::Shown;

#[test]
fn a_file_comes_as_it_is_with_what_the_server_says_of_it() {
    let content = noise(300_000);
    let server = Server::of_file(content.clone());
    let bench = Bench::new().expecting(sha256(&content));
    let opened = bench.open(&server.url("/a/disk.qcow2")).unwrap();
    assert_eq!(opened.length, Some(300_000));
    let count = opened.byte_counter();
    let done = opened.finish().unwrap();
    assert_eq!((done.bytes, count()), (300_000, 300_000));
    assert_eq!(done.digest, Some(sha256(&content)));
    assert_eq!(done.found.unwrap().validators.etag.as_deref(), Some("\"v1\""));
    let asked = &server.requests()[0];
    assert_eq!((asked.header("accept-encoding"), asked.header("range")), (Some("identity"), None));
}

#[test]
fn what_is_not_what_its_checksum_says_has_no_end() {
    let content = noise(300_000);
    let server = Server::of_file(content.clone());
    let failed = Bench::new().expecting(sha256(b"else")).read(&server.url("/x")).unwrap_err();
    assert_eq!(failed.reason(), Reason::Checksum);
    assert!(failed.to_string().contains(sha256(&content).hex()), "{failed}");
    let bench = Bench::new().expecting(sha256(b"else"));
    let mut opened = bench.open(&server.url("/x")).unwrap();
    std::io::copy(&mut opened.content, &mut std::io::sink()).unwrap_err();
    assert_eq!(opened.finish().unwrap_err().reason(), Reason::Checksum, "it stays so");
}

#[test]
fn without_a_length_it_ends_where_its_chunks_end() {
    let content = noise(300_000);
    let body = content.clone();
    let server = Server::start(move |_| Reply::new(200, body.clone()).chunked());
    let bench = Bench::new();
    assert_eq!(bench.open(&server.url("/x")).unwrap().length, None);
    assert_eq!(bench.read(&server.url("/x")).unwrap().0, content);
}

#[test]
fn redirections_are_followed_to_another_host_without_the_login() {
    let target = Server::of_file(noise(1000));
    let to = target.url("/there/disk.qcow2?signed=yes");
    let server = Server::start(move |r| match r.path.as_str() {
        "/a/start" => Reply::redirect("../b/next"),
        "/b/next" => Reply::redirect(&to),
        _ => Reply::new(404, ""),
    });
    let start = server.url("/a/start").replace("http://", "http://me:secret@");
    let (bytes, done) = Bench::new().read(&start).unwrap();
    assert_eq!(bytes, noise(1000));
    assert_eq!(done.found.unwrap().found_at.without_password(), target.url("/there/disk.qcow2?signed=yes"));
    assert_eq!(server.requests()[0].header("authorization"), Some("Basic bWU6c2VjcmV0"), "me:secret");
    assert_eq!(target.requests()[0].header("authorization"), None);
}

#[test]
fn a_login_in_a_redirection_is_neither_used_nor_shown() {
    let target = Server::start(|_| Reply::new(404, ""));
    let to = target.url("/nope").replace("http://", "http://u:SECRETPW@");
    let server = Server::start(move |_| Reply::redirect(&to));
    let told = Bench::new().read(&server.url("/x")).unwrap_err().to_string();
    assert!(told.contains(&target.url("/nope")) && !told.contains("SECRETPW"), "{told}");
    assert_eq!(target.requests()[0].header("authorization"), None);
}

#[test]
fn a_login_is_for_its_own_host_also_behind_a_redirection() {
    let server = Server::start(|request| match request.path.as_str() {
        "/start" => Reply::redirect("/there"),
        _ => Reply::file(request, &noise(1000), "v1"),
    });
    Bench::new().read(&server.url("/start").replace("http://", "http://me:secret@")).unwrap();
    assert_eq!(server.requests()[1].header("authorization"), Some("Basic bWU6c2VjcmV0"), "me:secret");
}

#[test]
fn a_redirection_to_what_is_not_http_is_refused_at_once() {
    let targets = [
        "file:///etc/passwd",
        "ftp://u:SECRETPW@host/x?tok=TTTT",
        "data:,x",
        "gopher:x",
        "http:///x",
        "http://ä/x",
    ];
    for target in targets {
        let server = Server::start(move |_| Reply::redirect(target));
        let bench = Bench::new();
        let failed = bench.read(&server.url("/x")).unwrap_err();
        let told = failed.to_string();
        assert_eq!((failed.reason(), server.requests().len(), bench.told().len()), (Reason::Refused, 1, 0));
        assert!(
            told.starts_with(&format!("cannot download {}: it redirects to", server.url("/x"))),
            "{told}"
        );
        assert!(!told.contains("SECRETPW") && !told.contains("TTTT"), "{told}");
    }
    let server = Server::start(|_| Reply::redirect("file:///etc/passwd"));
    let told = Bench::new().read(&server.url("/x")).unwrap_err().to_string();
    assert!(
        told.ends_with("it redirects to file:///etc/passwd, which is neither http:// nor https://"),
        "{told}"
    );
}

#[test]
fn what_a_server_says_too_much_is_not_what_its_file_is_recognized_by() {
    let date = "Sat, 01 Nov 2025 10:00:00 GMT";
    let recognized_by = |etag: String, date: String| {
        let answer = move |_: &_| Reply::new(200, "x").with("ETag", &etag).with("Last-Modified", &date);
        let found = Bench::new().read(&Server::start(answer).url("/x")).unwrap().1.found.unwrap();
        (found.validators.etag, found.validators.last_modified)
    };
    let long = |length: usize| format!("\"{}\"", "e".repeat(length - 2));
    assert_eq!(recognized_by(long(1024), date.into()), (Some(long(1024)), Some(date.into())));
    assert_eq!(recognized_by(long(1025), date.into()), (None, Some(date.into())));
    assert_eq!(recognized_by(long(40_000), "d".repeat(1025)), (None, None));
    assert_eq!(recognized_by("\"a\tb\"".into(), "a\tdate".into()), (None, None), "control characters");
}

#[test]
fn what_an_older_run_noted_too_much_is_not_sent() {
    let server = Server::of_file(noise(1000));
    let bench = Bench::new();
    let known = Validators { etag: Some("e".repeat(40_000)), last_modified: Some("a\nb".into()) };
    let fresh =
        check_freshness(&bench.client, &server.url("/x").parse().unwrap(), &known, &bench.pace).unwrap();
    assert!(matches!(fresh, FileFreshness::Changed(_)));
    assert_eq!(server.requests()[0].header("if-none-match"), None);
}

#[test]
fn a_loop_of_redirections_ends() {
    let server = Server::start(|_| Reply::redirect("/again"));
    let bench = Bench::new();
    let failed = bench.read(&server.url("/x")).unwrap_err();
    assert!(failed.to_string().contains("more than 10 times"), "{failed}");
    assert_eq!((server.requests().len(), bench.told().len()), (11, 0));
}

#[test]
fn a_refusal_is_final_and_names_address_and_status_but_no_secret() {
    for (status, word) in [(404, "404 Not Found"), (403, "403 Forbidden"), (401, "401"), (410, "410")] {
        let server = Server::start(move |_| Reply::new(status, "<html>"));
        let address = server.url("/a.qcow2?key=s3cret").replace("http://", "http://me:pass@");
        let failed = Bench::new().read(&address).unwrap_err();
        let told = failed.to_string();
        assert_eq!((failed.reason(), server.requests().len()), (Reason::Refused, 1), "{told}");
        assert!(told.contains(word) && told.contains("/a.qcow2?…"), "{told}");
        assert!(!told.contains("s3cret") && !told.contains("pass"), "{told}");
        assert!(failed.hint_text().is_some());
    }
}

#[test]
fn a_server_that_is_busy_is_asked_again_when_it_says() {
    let server = Server::start(|request| match request.nth {
        0 => Reply::new(503, "later"),
        1 => Reply::new(429, "").with("Retry-After", "17"),
        _ => Reply::file(request, &noise(1000), "v1"),
    });
    let bench = Bench::new();
    assert_eq!(bench.read(&server.url("/x")).unwrap().0, noise(1000));
    assert_eq!(bench.slept(), Duration::from_secs(1 + 17), "backoff, then Retry-After");
    assert!(bench.told()[0].contains("503 Service Unavailable"), "{:?}", bench.told());
}

#[test]
fn a_server_that_stays_busy_or_asks_for_an_hour_is_given_up() {
    let server = Server::start(|_| Reply::new(503, ""));
    let bench = Bench::new();
    let failed = bench.read(&server.url("/x")).unwrap_err();
    assert_eq!((failed.reason(), server.requests().len()), (Reason::Refused, 6));
    assert_eq!(bench.slept(), Duration::from_secs(1 + 2 + 4 + 8 + 16));
    assert!(failed.hint_text().unwrap().contains("6 tries"));
    let server = Server::start(|_| Reply::new(429, "").with("Retry-After", "3600"));
    Bench::new().read(&server.url("/x")).unwrap_err();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn who_cannot_be_reached_at_all_is_not_asked_again() {
    let gone = Server::of_file("").url("/x");
    let bench = Bench::new();
    let failed = bench.read(&gone).unwrap_err();
    assert_eq!((failed.reason(), bench.told().len()), (Reason::Unreachable, 0), "{failed}");
}

/// Where redirections led may be bad while the address itself leads to a good one the next time.
#[test]
fn a_bad_mirror_is_no_reason_to_give_up() {
    let good = Server::of_file(noise(1000));
    let gone = Server::of_file("").url("/m");
    let refusing =
        |status| move |r: &Request| if r.path == "/m" { Reply::new(status, "") } else { Reply::new(500, "") };
    let missing = Server::start(refusing(404));
    let forbidden = Server::start(refusing(403));
    let busy = Server::start(|_| Reply::new(429, "").with("Retry-After", "36000"));
    for bad in [
        missing.url("/m"),
        forbidden.url("/m"),
        busy.url("/m"),
        gone,
        "http://mirror.invalid/m".into(),
        "https://127.0.0.1:1/m".into(),
    ] {
        let mirrors = [bad.clone(), bad.clone(), good.url("/m")];
        let start = Server::start(move |request| Reply::redirect(&mirrors[request.nth.min(2)]));
        let bench = Bench::new();
        assert_eq!(bench.read(&start.url("/x")).unwrap().0, noise(1000), "{bad}");
        assert_eq!((start.requests().len(), bench.slept()), (3, Duration::from_secs(1 + 2)), "{bad}");
        let told = bench.told().remove(0);
        assert!(
            told.contains(&format!("cannot download {}: it redirects to {bad}: ", start.url("/x"))),
            "{told}"
        );
    }
    assert_eq!(good.requests().len(), 6);
}

#[test]
fn a_mirror_that_stays_bad_is_named_with_the_address_that_led_there() {
    let start = Server::start(|request| match request.path.as_str() {
        "/x" => Reply::redirect("/gone?key=s3cret"),
        _ => Reply::new(403, ""),
    });
    let bench = Bench::new();
    let failed = bench.read(&start.url("/x")).unwrap_err();
    let told = failed.to_string();
    assert!(
        told.starts_with(&format!(
            "cannot download {}: it redirects to {}",
            start.url("/x"),
            start.url("/gone?…")
        )),
        "{told}"
    );
    assert!(told.contains("403 Forbidden") && !told.contains("s3cret"), "{told}");
    let hint = failed.hint_text().unwrap();
    assert!(hint.contains("login") && hint.contains("6 tries"), "{hint}");
    assert_eq!(start.requests().len(), 12);
}

#[test]
fn a_name_that_does_not_resolve_is_asked_for_a_couple_of_times() {
    let bench = Bench::new();
    let failed = bench.read("http://images.invalid/x").unwrap_err();
    assert_eq!(failed.reason(), Reason::Unreachable, "{failed}");
    assert!(bench.told().len() <= 2 && bench.slept() <= Duration::from_secs(3), "{:?}", bench.told());
}

/// curl and wget encode them, too.
#[test]
fn a_redirection_may_hold_what_no_address_holds() {
    for (to, path) in [
        ("/plain/my image.qcow2", "/plain/my%20image.qcow2"),
        ("/plain/bild-größe.qcow2", "/plain/bild-gr%C3%B6%C3%9Fe.qcow2"),
        ("bild größe.qcow2?a=ä b", "/bild%20gr%C3%B6%C3%9Fe.qcow2?a=%C3%A4%20b"),
        ("/100%25/a%20b", "/100%25/a%20b"),
    ] {
        let server = Server::start(move |request| match request.path.as_str() {
            "/x" => Reply::redirect(to),
            there if there == path => Reply::file(request, &noise(1000), "v1"),
            _ => Reply::new(404, ""),
        });
        assert_eq!(Bench::new().read(&server.url("/x")).unwrap().0, noise(1000), "{to}");
    }
}

#[test]
fn a_user_can_stop_it_while_it_waits_and_while_it_hangs() {
    let server = Server::start(|_| Reply::new(503, ""));
    let mut bench = Bench::new();
    bench.pace = TestPace { stop_after: Some(2), ..TestPace::default() };
    assert_eq!(bench.read(&server.url("/x")).unwrap_err().reason(), Reason::Stopped);
    assert_eq!(server.requests().len(), 2);

    let server = Server::start(|_| Reply::new(200, noise(1000)).pausing(500, Duration::from_secs(600)));
    let begun = Instant::now();
    bench.pace = TestPace { stop_after: Some(0), ..TestPace::default() };
    assert_eq!(bench.read(&server.url("/x")).unwrap_err().reason(), Reason::Stopped);
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
}

#[test]
fn whether_it_changed_is_asked_without_its_content() {
    let server = Server::of_file(noise(200_000));
    let bench = Bench::new();
    let url = server.url("/x").parse().unwrap();
    let ask = |etag: &str| {
        let known = Validators { etag: Some(etag.into()), last_modified: None };
        check_freshness(&bench.client, &url, &known, &bench.pace).unwrap()
    };
    assert_eq!(ask("\"v1\""), FileFreshness::Unchanged);
    let FileFreshness::Changed(found) = ask("\"v0\"") else { panic!("it did change") };
    assert_eq!((found.length, found.validators.etag.as_deref()), (Some(200_000), Some("\"v1\"")));
    assert!(server.requests().iter().all(|r| r.method == "HEAD"));
}

#[test]
fn whether_it_changed_is_asked_by_get_where_head_is_refused() {
    let server = Server::start(|request| match request.method.as_str() {
        "HEAD" => Reply::new(405, ""),
        _ => Reply::file(request, &noise(5_000_000), "v1"),
    });
    let bench = Bench::new();
    let url = server.url("/x").parse().unwrap();
    let known = Validators { etag: None, last_modified: Some("Sat, 01 Nov 2025 10:00:00 GMT".into()) };
    assert_eq!(check_freshness(&bench.client, &url, &known, &bench.pace).unwrap(), FileFreshness::Unchanged);
    let older = Validators { etag: None, last_modified: Some("Sat, 01 Nov 2003 10:00:00 GMT".into()) };
    assert!(matches!(
        check_freshness(&bench.client, &url, &older, &bench.pace).unwrap(),
        FileFreshness::Changed(_)
    ));
    let weak = Validators { etag: Some("W/\"v1\"".into()), last_modified: None };
    assert_eq!(check_freshness(&bench.client, &url, &weak, &bench.pace).unwrap(), FileFreshness::Unchanged);
}

/// Servers that know GET only answer with anything.
#[test]
fn whether_it_changed_is_asked_by_get_where_head_says_nothing() {
    let date = "Sat, 01 Nov 2025 10:00:00 GMT";
    let head = |status: u16| Reply::new(status, "");
    let replies = [
        head(400),
        head(401),
        head(403),
        head(404),
        head(405),
        head(429),
        head(500),
        head(501),
        head(503),
        head(204),
        head(200),
    ];
    for reply in replies {
        let label = format!("{reply:?}");
        let server = Server::start(move |request| match request.method.as_str() {
            "HEAD" => reply.clone(),
            _ => Reply::file(request, &noise(1000), "v1"),
        });
        let (bench, url) = (Bench::new(), server.url("/x").parse().unwrap());
        let ask = |etag: &str| {
            let known = Validators { etag: Some(etag.into()), last_modified: Some(date.into()) };
            check_freshness(&bench.client, &url, &known, &bench.pace).unwrap()
        };
        assert_eq!(ask("\"v1\""), FileFreshness::Unchanged, "{label}");
        assert!(matches!(ask("\"v0\""), FileFreshness::Changed(_)), "{label}");
        assert_eq!((server.requests().len(), bench.told().len()), (4, 0), "{label}");
    }
    let server = Server::start(|_| Reply::new(404, ""));
    let known = Validators { etag: Some("\"v1\"".into()), last_modified: None };
    let bench = Bench::new();
    let failed =
        check_freshness(&bench.client, &server.url("/x").parse().unwrap(), &known, &bench.pace).unwrap_err();
    assert_eq!((failed.reason(), server.requests().len()), (Reason::Refused, 2), "{failed}");
}

#[test]
fn a_proxy_is_asked_with_its_login_and_not_for_what_is_excepted() {
    let proxy = Server::of_file(noise(1000));
    let at = format!("http://us%65r:pw@{}", proxy.address());
    let settings = |direct: &str| {
        let read = |name: &str| match name {
            "http_proxy" => Some(at.clone()),
            "no_proxy" => Some(direct.to_owned()),
            _ => None,
        };
        HttpSettings { proxies: Proxies::from_variables(read), ..HttpSettings::default() }
    };
    let (bytes, _) = Bench::with(settings("")).read("http://images.invalid/x").unwrap();
    assert_eq!(bytes, noise(1000));
    let asked = &proxy.requests()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("CONNECT", "images.invalid:80"));
    assert_eq!(asked.header("proxy-authorization"), Some("Basic dXNlcjpwdw=="), "user:pw");
    Bench::with(settings(".invalid")).read("http://images.invalid/x").unwrap_err();
    assert_eq!(proxy.requests().len(), 2, "the CONNECT and what came through it");
}

/// The server is reached through a proxy, as one elsewhere is; what it redirects to is reached directly.
#[test]
fn a_server_elsewhere_leads_to_no_name_of_this_machine() {
    for name in ["127.1", "2130706433", "0x7f.0.0.1", "017700000001"] {
        let here = Server::of_file(noise(1000));
        let to = here.url("/latest/meta-data").replace("127.0.0.1", name);
        let leads = to.clone();
        let elsewhere = Server::start(move |request| match request.path.as_str() {
            "/x" => Reply::redirect(&leads),
            _ => Reply::new(200, ""),
        });
        let at = format!("http://{}", elsewhere.address());
        let read = |variable: &str| match variable {
            "http_proxy" => Some(at.clone()),
            "no_proxy" => Some(name.to_owned()),
            _ => None,
        };
        let settings = HttpSettings { proxies: Proxies::from_variables(read), ..HttpSettings::default() };
        let bench = Bench::with(settings);
        let failed = bench.read("http://images.invalid/x").unwrap_err();
        let told = format!(
            "cannot download http://images.invalid/x: it redirects to {to}, whose name resolves to 127.0.0.1, which is this machine itself; no other server may redirect there"
        );
        assert_eq!((failed.reason(), failed.to_string()), (Reason::Refused, told));
        assert_eq!(bench.told(), [""; 0], "it is not tried again");
        assert!(here.requests().is_empty(), "{name}");
        // Whoever names it means it.
        assert_eq!(bench.read(&to).unwrap().0, noise(1000), "{name}");
    }
}
