//! GitHub's API, as a server on the loopback that keeps runners.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use foundry_forge::GithubForge;
use foundry_runner::{Forge, ForgeFailure, GithubLogin, GithubPlan, GithubScope, Removal};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::support::http::{Reply, Request, Server};

const TOKEN: &str = "ghp_a-token-of-the-test";

/// Runners by their ids.
type Runners = Arc<Mutex<BTreeMap<u64, Value>>>;

fn answer(runners: &Runners, request: &Request) -> Reply {
    let json = |status, value: Value| Reply::new(status, value.to_string());
    if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
        return json(401, json!({"message": "Bad credentials"}));
    }
    let Some(rest) = request.path.strip_prefix("/orgs/acme/actions/runners") else {
        return json(404, json!({"message": "Not Found"}));
    };
    let mut runners = runners.lock().unwrap();
    match (request.method.as_str(), rest) {
        ("GET", query) => {
            let number = |key: &str| -> usize {
                let pairs = query.trim_start_matches('?').split('&');
                pairs
                    .filter_map(|pair| pair.split_once('='))
                    .find(|(k, _)| *k == key)
                    .unwrap()
                    .1
                    .parse()
                    .unwrap()
            };
            let (size, page) = (number("per_page"), number("page"));
            let shown: Vec<&Value> = runners.values().skip((page - 1) * size).take(size).collect();
            json(200, json!({"total_count": runners.len(), "runners": shown}))
        }
        ("POST", "/generate-jitconfig") => {
            let asked: Value = serde_json::from_slice(&request.body).unwrap();
            if runners.values().any(|one| one["name"] == asked["name"]) {
                return json(409, json!({"message": "Already exists"}));
            }
            let id = 100 + runners.len() as u64;
            let labels: Vec<Value> = asked["labels"]
                .as_array()
                .unwrap()
                .iter()
                .map(|name| json!({"id": 1, "name": name}))
                .collect();
            let runner = json!({"id": id, "name": asked["name"], "os": "unknown", "status": "offline", "busy": false,
                "labels": labels, "runner_group_id": asked["runner_group_id"]});
            runners.insert(id, runner.clone());
            json(201, json!({"runner": runner, "encoded_jit_config": "a-jit-configuration"}))
        }
        ("DELETE", id) => {
            let id: u64 = id.trim_start_matches('/').parse().unwrap();
            match runners.get(&id) {
                Some(one) if one["busy"] == true => {
                    json(422, json!({"message": "Runner is currently running a job and cannot be deleted."}))
                }
                Some(_) => {
                    runners.remove(&id);
                    Reply::new(204, "")
                }
                None => json(404, json!({"message": "Not Found"})),
            }
        }
        _ => json(405, json!({})),
    }
}

fn token_file(token: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{token}\n")).unwrap();
    file
}

fn forge(server: &Server, token: &NamedTempFile, organization: &str) -> GithubForge {
    let plan = GithubPlan {
        api: server.url(""),
        scope: GithubScope::Organization(organization.into()),
        login: GithubLogin::TokenFile(token.path().to_str().unwrap().into()),
        group: 1,
    };
    GithubForge::new(&plan, &["linux".to_owned(), "foundry-here".to_owned()])
}

#[test]
fn a_runner_is_registered_listed_and_removed() {
    let runners = Runners::default();
    let kept = Arc::clone(&runners);
    let server = Server::start(move |request| answer(&kept, request));
    let token = token_file(TOKEN);
    let github = forge(&server, &token, "acme");
    let made = github.register_runner("ci-aaaaaaaa").unwrap();
    assert_eq!((made.id.as_str(), made.configuration.as_str()), ("100", "a-jit-configuration"));
    assert_eq!(github.register_runner("ci-aaaaaaaa").unwrap_err().failure, ForgeFailure::NameTaken);
    let listed = github.list_registrations().unwrap();
    assert_eq!(listed[0].labels, ["linux", "foundry-here"]);
    assert!(!listed[0].online);
    runners.lock().unwrap().get_mut(&100).unwrap()["busy"] = true.into();
    assert_eq!(github.remove_registration("100").unwrap(), Removal::Busy);
    runners.lock().unwrap().get_mut(&100).unwrap()["busy"] = false.into();
    assert_eq!(github.remove_registration("100").unwrap(), Removal::Removed);
    assert_eq!(github.remove_registration("100").unwrap(), Removal::Removed, "it is not there");
    for request in server.requests() {
        assert_eq!(request.header("x-github-api-version"), Some("2022-11-28"));
        assert!(request.header("user-agent").unwrap().starts_with("foundry/"));
    }
}

#[test]
fn a_list_is_read_to_its_last_page() {
    let runners = Runners::default();
    for id in 0..250 {
        let one =
            json!({"id": id, "name": format!("r{id}"), "status": "online", "busy": false, "labels": []});
        runners.lock().unwrap().insert(id, one);
    }
    let server = Server::start(move |request| answer(&runners, request));
    let token = token_file(TOKEN);
    let listed = forge(&server, &token, "acme").list_registrations().unwrap();
    assert_eq!(listed.len(), 250);
    assert_eq!(server.requests().len(), 3);
}

/// A runner that goes between two pages moves another one to a page that was read before.
#[test]
fn a_list_that_changes_between_pages_misses_nobody() {
    let runners = Runners::default();
    for id in 0..150 {
        let one = json!({"id": id, "name": "r", "status": "online", "busy": false, "labels": null});
        runners.lock().unwrap().insert(id, one);
    }
    let kept = Arc::clone(&runners);
    let server = Server::start(move |request| {
        let reply = answer(&kept, request);
        if request.nth == 0 {
            kept.lock().unwrap().remove(&0);
        }
        reply.chunked()
    });
    let token = token_file(TOKEN);
    let listed = forge(&server, &token, "acme").list_registrations().unwrap();
    assert!(listed.iter().any(|one| one.id == "100"), "{}", listed.len());
    // The reply to a registration is lost: the name is taken, and the list has it.
    let server = Server::start(move |request| {
        let reply = answer(&runners, request);
        if request.nth == 0 { reply.declaring(100_000) } else { reply }
    });
    let github = forge(&server, &token, "acme");
    assert_eq!(github.register_runner("ci-aaaaaaaa").unwrap_err().failure, ForgeFailure::Unreachable);
    assert_eq!(github.register_runner("ci-aaaaaaaa").unwrap_err().failure, ForgeFailure::NameTaken);
    let listed = github.list_registrations().unwrap();
    assert!(listed.iter().any(|one| one.name == "ci-aaaaaaaa"));
}

#[test]
fn refusals_and_failures_are_told_apart_and_have_no_token() {
    let runners = Runners::default();
    let server = Server::start(move |request| answer(&runners, request));
    let (token, wrong) = (token_file(TOKEN), token_file("ghp_wrong"));
    for (github, said) in [
        (forge(&server, &wrong, "acme"), "401 Bad credentials"),
        (forge(&server, &token, "other"), "the URL is wrong, or the token may not manage runners there"),
    ] {
        let error = github.list_registrations().unwrap_err();
        assert_eq!(error.failure, ForgeFailure::Refused);
        assert!(error.message.contains(said), "{error}");
        assert!(!error.message.contains("ghp_"), "{error}");
    }
    for (reply, failure) in [
        (Reply::new(500, "<html>"), ForgeFailure::Unreachable),
        (Reply::new(429, "{}"), ForgeFailure::Unreachable),
        (Reply::new(403, "{}").with("retry-after", "60"), ForgeFailure::Unreachable),
        (Reply::new(403, "{}").with("x-ratelimit-remaining", "0"), ForgeFailure::Unreachable),
        (Reply::new(403, r#"{"message": "Resource not accessible"}"#), ForgeFailure::Refused),
        (Reply::new(301, "{}").with("location", "http://127.0.0.1:1/"), ForgeFailure::Refused),
        (Reply::new(200, "{\"runners\": null}"), ForgeFailure::Unreachable),
        (Reply::new(200, "half").declaring(100), ForgeFailure::Unreachable),
        (Reply::new(200, "not JSON \u{1b}[2J"), ForgeFailure::Unreachable),
        // Nobody asked for that.
        (Reply::new(200, [0x1f, 0x8b, 8, 0, 0]).with("content-encoding", "gzip"), ForgeFailure::Unreachable),
    ] {
        let shown = format!("{reply:?}");
        let server = Server::start(move |_| reply.clone());
        let error = forge(&server, &token, "acme").list_registrations().unwrap_err();
        assert_eq!(error.failure, failure, "{shown}: {error}");
        assert!(!error.message.contains('\u{1b}'), "{error:?}");
    }
    for text in ["", "\nsecond line", "a b", "\u{1b}[2J"] {
        let error = forge(&server, &token_file(text), "acme").list_registrations().unwrap_err();
        assert!(error.message.contains("has no token in its first line"), "{error}");
    }
    // The runner group is gone.
    for status in [404, 422] {
        let server = Server::start(move |_| Reply::new(status, r#"{"message": "Runner group not found"}"#));
        let error = forge(&server, &token, "acme").register_runner("ci-aaaaaaaa").unwrap_err();
        assert_eq!(error.failure, ForgeFailure::Refused);
        assert!(error.message.contains("Runner group not found"), "{error}");
    }
    // A server of plain HTTP in the place of an encrypted one.
    let plain = Server::start(|_| Reply::new(200, r#"{"runners": []}"#));
    let plan = GithubPlan {
        api: plain.url("").replace("http://", "https://"),
        scope: GithubScope::Organization("acme".into()),
        login: GithubLogin::TokenFile(token.path().to_str().unwrap().into()),
        group: 1,
    };
    let error = GithubForge::new(&plan, &[]).list_registrations().unwrap_err();
    assert_eq!(error.failure, ForgeFailure::Unreachable, "{error}");
    // A server that repeats what it got.
    let server = Server::start(|request| {
        Reply::new(403, json!({"message": request.header("authorization")}).to_string())
    });
    let error = forge(&server, &token, "acme").list_registrations().unwrap_err();
    assert!(error.message.contains("Bearer [hidden]") && !error.message.contains(TOKEN), "{error}");
    std::fs::set_permissions(token.path(), PermissionsExt::from_mode(0o644)).unwrap();
    let error = forge(&server, &token, "acme").list_registrations().unwrap_err();
    assert!(error.message.contains("other users can read"), "{error}");
}
