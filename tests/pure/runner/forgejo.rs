//! Forgejo's API, as a server on the loopback that keeps runners.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use foundry_forge::ForgejoForge;
use foundry_runner::{Forge, ForgeFailure, GiteaPlan, GiteaScope, Removal};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::support::http::{Reply, Request, Server};

const TOKEN: &str = "0123456789abcdef-of-the-test";

/// Runners by their ids.
type Runners = Arc<Mutex<BTreeMap<u64, Value>>>;

/// The most runners on a page, whatever is asked for.
const MAX_PAGE: usize = 50;

fn answer(runners: &Runners, request: &Request) -> Reply {
    let json = |status, value: Value| Reply::new(status, value.to_string());
    if request.header("authorization") != Some(&format!("token {TOKEN}")) {
        return json(401, json!({"message": "user does not exist [uid: 0, name: ]"}));
    }
    let Some(rest) = request.path.strip_prefix("/api/v1/repos/acme/shop/actions/runners") else {
        return json(404, json!({"errors": null, "message": "The target couldn't be found.", "url": "x"}));
    };
    let mut runners = runners.lock().unwrap();
    let id = || rest.trim_start_matches('/').parse::<u64>().ok();
    match request.method.as_str() {
        "GET" if rest.starts_with('?') => {
            let number = |key: &str| -> usize {
                let mut pairs = rest[1..].split('&').filter_map(|pair| pair.split_once('='));
                pairs.find(|(k, _)| *k == key).unwrap().1.parse().unwrap()
            };
            let (size, page) = (number("limit").min(MAX_PAGE), number("page"));
            let shown: Vec<&Value> = runners.values().skip((page - 1) * size).take(size).collect();
            // A slice of Go's without elements.
            let list = if shown.is_empty() { Value::Null } else { json!(shown) };
            json(200, list).with("X-Total-Count", &runners.len().to_string())
        }
        "POST" => {
            let asked: Value = serde_json::from_slice(&request.body).unwrap();
            let id = runners.len() as u64 + 5;
            let runner = json!({"id": id, "uuid": "u", "name": asked["name"], "version": "", "labels": null,
                "description": asked["description"], "status": "offline", "ephemeral": asked["ephemeral"]});
            runners.insert(id, runner);
            json(201, json!({"id": id, "uuid": "d4637a60-7fea-4075-a81c-7e4ae01bdf0d", "token": "e1f3d26e"}))
        }
        "GET" => match id().and_then(|id| runners.get(&id)) {
            Some(runner) => json(200, runner.clone()),
            None => json(404, json!({"message": "runner not found"})),
        },
        "DELETE" => match id().and_then(|id| runners.remove(&id)) {
            Some(_) => Reply::new(204, ""),
            None => json(404, json!({"message": "runner not found"})),
        },
        _ => json(405, json!({})),
    }
}

fn token_file(token: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{token}\n")).unwrap();
    file
}

fn forge(server: &Server, token: &NamedTempFile, name: &str) -> ForgejoForge {
    let plan = GiteaPlan {
        url: server.url(""),
        guest_url: "http://192.0.2.1:3000".into(),
        scope: GiteaScope::Repository("acme".into(), name.into()),
        token_file: token.path().to_str().unwrap().into(),
    };
    ForgejoForge::new(&plan, &["linux".to_owned(), "x64".to_owned()], "foundry-here")
}

fn start(runners: &Runners) -> Server {
    let kept = Arc::clone(runners);
    Server::start(move |request| answer(&kept, request))
}

fn set_status(runners: &Runners, id: u64, status: &str) {
    runners.lock().unwrap().get_mut(&id).unwrap()["status"] = status.into();
}

#[test]
fn a_runner_is_registered_listed_and_removed() {
    let runners = Runners::default();
    let server = start(&runners);
    let token = token_file(TOKEN);
    let forgejo = forge(&server, &token, "shop");
    assert_eq!(forgejo.list_registrations().unwrap(), [], "null is an empty list");
    let made = forgejo.register_runner("ci-aaaaaaaa").unwrap();
    assert_eq!(made.id, "5");
    let configuration: Value = serde_json::from_str(&made.configuration).unwrap();
    assert_eq!(
        configuration,
        json!({"server": {"connections": {"forge": {
            "url": "http://192.0.2.1:3000",
            "uuid": "d4637a60-7fea-4075-a81c-7e4ae01bdf0d",
            "token": "e1f3d26e",
            "labels": ["linux:host", "x64:host"],
        }}}})
    );
    assert!(!made.configuration.contains(TOKEN));
    assert_eq!(runners.lock().unwrap()[&5]["ephemeral"], true);
    let listed = forgejo.list_registrations().unwrap();
    assert_eq!((listed[0].name.as_str(), listed[0].online, listed[0].busy), ("ci-aaaaaaaa", false, false));
    assert_eq!(listed[0].labels, ["foundry-here"], "it is known as foundry's own before it connects");
    set_status(&runners, 5, "active");
    let listed = forgejo.list_registrations().unwrap();
    assert_eq!((listed[0].online, listed[0].busy), (true, true));
    // Forgejo would remove it.
    assert_eq!(forgejo.remove_registration("5").unwrap(), Removal::Busy);
    assert!(runners.lock().unwrap().contains_key(&5));
    set_status(&runners, 5, "idle");
    assert_eq!(forgejo.remove_registration("5").unwrap(), Removal::Removed);
    assert_eq!(forgejo.remove_registration("5").unwrap(), Removal::Removed, "it is not there");
}

#[test]
fn a_list_is_read_to_its_last_page_though_pages_are_small() {
    let runners = Runners::default();
    for id in 0..120 {
        let one = json!({"id": id, "name": format!("r{id}"), "status": "idle", "labels": ["a"]});
        runners.lock().unwrap().insert(id, one);
    }
    let server = start(&runners);
    let token = token_file(TOKEN);
    assert_eq!(forge(&server, &token, "shop").list_registrations().unwrap().len(), 120);
    assert_eq!(server.requests().len(), 3);
}

/// A runner that goes between two pages moves another one to a page that was read before.
#[test]
fn a_list_that_changes_between_pages_misses_nobody() {
    let runners = Runners::default();
    for id in 0..75 {
        runners.lock().unwrap().insert(id, json!({"id": id, "name": "r", "status": "idle"}));
    }
    let kept = Arc::clone(&runners);
    let server = Server::start(move |request| {
        let reply = answer(&kept, request);
        if request.nth == 0 {
            kept.lock().unwrap().remove(&0);
        }
        reply
    });
    let token = token_file(TOKEN);
    let listed = forge(&server, &token, "shop").list_registrations().unwrap();
    assert!(listed.iter().any(|one| one.id == "50"), "{listed:?}");
}

#[test]
fn refusals_and_failures_are_told_apart_and_have_no_token() {
    let runners = Runners::default();
    let server = start(&runners);
    let (token, wrong) = (token_file(TOKEN), token_file("wrong-token"));
    for (forgejo, said) in [
        (forge(&server, &wrong, "shop"), "401 user does not exist"),
        (forge(&server, &token, "other"), "or the server is older than Forgejo 15"),
    ] {
        let errors =
            [forgejo.list_registrations().unwrap_err(), forgejo.register_runner("ci-aaaaaaaa").unwrap_err()];
        for error in errors {
            assert_eq!(error.failure, ForgeFailure::Refused);
            assert!(error.message.contains(said), "{error}");
            assert!(!error.message.contains(TOKEN) && !error.message.contains("wrong-token"), "{error}");
        }
    }
    let forbidden =
        r#"{"message": "token does not have at least one of required scope(s): [write:repository]"}"#;
    for (reply, failure) in [
        (Reply::new(500, "<html>"), ForgeFailure::Unreachable),
        (Reply::new(502, ""), ForgeFailure::Unreachable),
        (Reply::new(429, "{}"), ForgeFailure::Unreachable),
        (Reply::new(403, "{}").with("retry-after", "60"), ForgeFailure::Unreachable),
        (Reply::new(403, forbidden), ForgeFailure::Refused),
        (Reply::new(422, r#"{"message": "name is empty"}"#), ForgeFailure::Refused),
        (Reply::new(301, "").with("location", "http://127.0.0.1:1/"), ForgeFailure::Refused),
        (Reply::new(200, "<html>Maintenance \u{1b}[2J</html>"), ForgeFailure::Unreachable),
        (Reply::new(200, ""), ForgeFailure::Unreachable),
        (Reply::new(200, "{}"), ForgeFailure::Unreachable),
        (Reply::new(200, "{\"id\": 6}"), ForgeFailure::Unreachable),
        (Reply::new(200, "[{\"name\": \"without an id\"}]"), ForgeFailure::Unreachable),
        (Reply::new(200, "[half").declaring(100), ForgeFailure::Unreachable),
        (Reply::new(500, "{\"message\": \"\u{1b}[2J\u{202e}\"}"), ForgeFailure::Unreachable),
    ] {
        let shown = format!("{reply:?}");
        let server = Server::start(move |_| reply.clone());
        let forgejo = forge(&server, &token, "shop");
        let errors = [
            forgejo.list_registrations().unwrap_err(),
            forgejo.register_runner("ci-aaaaaaaa").unwrap_err(),
            forgejo.remove_registration("5").unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.failure, failure, "{shown}: {error}");
            assert!(!error.message.contains(['\u{1b}', '\u{202e}']), "{error:?}");
        }
    }
    let server = Server::start(|_| Reply::new(404, "<html>no such host</html>"));
    let error = forge(&server, &token, "shop").remove_registration("5").unwrap_err();
    assert_eq!(error.failure, ForgeFailure::Refused, "a proxy does not know whether there is a runner");
    let server = Server::start(|_| Reply::new(409, "{}"));
    let error = forge(&server, &token, "shop").register_runner("ci-aaaaaaaa").unwrap_err();
    assert_eq!(error.failure, ForgeFailure::NameTaken);
    std::fs::set_permissions(token.path(), PermissionsExt::from_mode(0o640)).unwrap();
    let error = forge(&server, &token, "shop").list_registrations().unwrap_err();
    assert!(error.message.contains("other users can read"), "{error}");
    drop(server);
    let server = Server::start(|_| Reply::new(200, "null"));
    let url = server.url("");
    drop(server);
    let plan = GiteaPlan {
        guest_url: url.clone(),
        url,
        scope: GiteaScope::User,
        token_file: token_file(TOKEN).path().to_str().unwrap().into(),
    };
    let error = ForgejoForge::new(&plan, &[], "x").list_registrations().unwrap_err();
    assert!(error.message.contains("cannot read"), "its token file is gone: {error}");
}

/// Some versions answer so if there is no such runner, and all if their database fails.
#[test]
fn a_removal_that_fails_is_looked_at() {
    for (there, removed) in [(false, true), (true, false)] {
        let server = Server::start(move |request| match request.method.as_str() {
            "DELETE" => Reply::new(500, r#"{"message": "", "url": "x"}"#),
            // It was there before the removal.
            _ if there || request.nth == 0 => Reply::new(200, r#"{"id": 5, "status": "idle"}"#),
            _ => Reply::new(404, "{}"),
        });
        let token = token_file(TOKEN);
        let result = forge(&server, &token, "shop").remove_registration("5");
        assert_eq!(result.is_ok(), removed, "{result:?}");
    }
}

#[test]
fn chunked_answers_and_unknown_fields_are_read_and_hostile_ids_are_not() {
    let list = json!([
        {"id": 1, "name": "a", "status": "idle", "labels": null, "novelty": {"x": [1]}},
        {"id": "../../../users", "name": "b", "status": "idle"},
        {"id": -4, "name": "c", "status": "idle"},
        {"id": 2, "name": "\u{1b}[2J/../", "status": null, "labels": [{"name": "z"}, 7]},
    ]);
    let server = Server::start(move |_| Reply::new(200, list.to_string()).chunked());
    let token = token_file(TOKEN);
    let listed = forge(&server, &token, "shop").list_registrations().unwrap();
    let ids: Vec<&str> = listed.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["1", "2"]);
    assert_eq!(listed[1].labels, ["z"]);
}
