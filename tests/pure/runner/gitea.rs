//! Gitea's API and the service that runners call, as a server on the loopback that keeps runners.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use foundry_forge::GiteaForge;
use foundry_runner::{Forge, ForgeFailure, GiteaPlan, GiteaScope, Removal};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::support::http::{Reply, Request, Server};

const TOKEN: &str = "0123456789abcdef-of-the-test";
const SERVICE: &str = "/api/actions/runner.v1.RunnerService/Register";

/// What Gitea knows.
struct Tea {
    runners: BTreeMap<u64, Value>,
    /// The registration token; an administrator can replace it.
    registration: String,
    /// Whether it knows runners for one job, and how to disable one (Gitea 1.24, 1.27).
    is_new: bool,
    /// A runner that gets a job when it is disabled.
    gets_job: Option<u64>,
}

type Kept = Arc<Mutex<Tea>>;

fn new_tea() -> Kept {
    let tea = Tea {
        runners: BTreeMap::new(),
        registration: "registration-token-1".into(),
        is_new: true,
        gets_job: None,
    };
    Arc::new(Mutex::new(tea))
}

impl Tea {
    fn answer(&mut self, request: &Request) -> Reply {
        let json = |status, value: Value| Reply::new(status, value.to_string());
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        if request.path == SERVICE {
            assert_eq!(request.header("authorization"), None, "the API's token is not sent there");
            return self.register(&asked);
        }
        if request.header("authorization") != Some(&format!("token {TOKEN}")) {
            return json(401, json!({"message": "invalid username, password or token", "url": "x"}));
        }
        let Some(rest) = request.path.strip_prefix("/api/v1/admin/actions/runners") else {
            return json(404, json!({"message": "Not Found"}));
        };
        let id: u64 = rest.trim_start_matches('/').parse().unwrap_or_default();
        match (request.method.as_str(), rest) {
            ("GET", list) if list.starts_with('?') => {
                let runners: Vec<&Value> = self.runners.values().collect();
                let shown = if list.ends_with("page=1") && !runners.is_empty() {
                    json!(runners)
                } else {
                    Value::Null
                };
                json(200, json!({"runners": shown, "total_count": self.runners.len()}))
            }
            ("POST", "/registration-token") => json(200, json!({"token": self.registration})),
            ("PATCH", _) if !self.is_new => json(405, json!({"message": "Method Not Allowed"})),
            ("PATCH", _) => {
                if self.gets_job == Some(id) {
                    self.runners.get_mut(&id).unwrap()["busy"] = true.into();
                }
                let runner = self.runners.get_mut(&id).unwrap();
                runner["disabled"] = asked["disabled"].clone();
                json(200, runner.clone())
            }
            ("GET", _) => match self.runners.get(&id) {
                Some(runner) => json(200, runner.clone()),
                None => json(404, json!({"message": "Not Found"})),
            },
            ("DELETE", _) => match self.runners.remove(&id) {
                Some(_) => Reply::new(204, ""),
                None => json(500, json!({"message": "", "url": "x"})),
            },
            _ => json(405, json!({})),
        }
    }

    fn register(&mut self, asked: &Value) -> Reply {
        if asked["token"] != self.registration {
            let message =
                json!({"code": "unauthenticated", "message": "runner registration token not found"});
            return Reply::new(401, message.to_string());
        }
        let id = self.runners.len() as u64 + 7;
        let labels: Vec<Value> =
            asked["labels"].as_array().unwrap().iter().map(|name| json!({"id": 0, "name": name})).collect();
        let runner = json!({"id": id, "name": asked["name"], "status": "offline", "busy": false,
            "disabled": false, "ephemeral": self.is_new, "labels": labels});
        self.runners.insert(id, runner);
        // The JSON of protocol buffers: 64-bit numbers are texts, and what is false is left out.
        let mut made = json!({"id": id.to_string(), "uuid": "5e4c", "token": "runner-token", "name": asked["name"],
            "status": "RUNNER_STATUS_OFFLINE", "version": asked["version"], "labels": asked["labels"]});
        if self.is_new {
            made["ephemeral"] = true.into();
        }
        Reply::new(200, json!({"runner": made}).to_string())
    }
}

fn start(tea: &Kept) -> Server {
    let kept = Arc::clone(tea);
    Server::start(move |request| kept.lock().unwrap().answer(request))
}

fn token_file(token: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{token}\n")).unwrap();
    file
}

fn forge(server: &Server, token: &NamedTempFile) -> GiteaForge {
    let plan = GiteaPlan {
        url: server.url(""),
        guest_url: "https://git.example.com".into(),
        scope: GiteaScope::Instance,
        token_file: token.path().to_str().unwrap().into(),
    };
    GiteaForge::new(&plan, &["linux".to_owned(), "foundry-here".to_owned()])
}

#[test]
fn a_runner_is_registered_in_its_place_listed_and_removed() {
    let tea = new_tea();
    let server = start(&tea);
    let token = token_file(TOKEN);
    let gitea = forge(&server, &token);
    assert_eq!(gitea.list_registrations().unwrap(), [], "null is an empty list");
    let made = gitea.register_runner("ci-aaaaaaaa").unwrap();
    assert_eq!(made.id, "7");
    let file: Value = serde_json::from_str(&made.configuration).unwrap();
    assert_eq!(
        file,
        json!({"id": 7, "uuid": "5e4c", "name": "ci-aaaaaaaa", "token": "runner-token",
            "address": "https://git.example.com", "labels": ["linux:host", "foundry-here:host"], "ephemeral": true})
    );
    let listed = gitea.list_registrations().unwrap();
    assert_eq!(listed[0].labels, ["linux", "foundry-here"]);
    assert!(!listed[0].online && !listed[0].busy);
    let set_busy = |busy: bool| tea.lock().unwrap().runners.get_mut(&7).unwrap()["busy"] = busy.into();
    set_busy(true);
    assert_eq!(gitea.remove_registration("7").unwrap(), Removal::Busy);
    assert_eq!(tea.lock().unwrap().runners[&7]["disabled"], false, "nothing was changed");
    set_busy(false);
    assert_eq!(gitea.remove_registration("7").unwrap(), Removal::Removed);
    assert_eq!(gitea.remove_registration("7").unwrap(), Removal::Removed, "it is not there");
}

/// The registration token can register any number of runners, so it stays on the host.
#[test]
fn the_registration_token_reaches_no_guest_and_can_be_replaced() {
    let tea = new_tea();
    let server = start(&tea);
    let token = token_file(TOKEN);
    let gitea = forge(&server, &token);
    for number in 1..3 {
        tea.lock().unwrap().registration = format!("registration-token-{number}");
        let made = gitea.register_runner("ci-aaaaaaaa").unwrap();
        assert!(!made.configuration.contains("registration-token") && !made.configuration.contains(TOKEN));
        assert!(!format!("{made:?} {gitea:?}").contains("-token-"));
    }
    // It was replaced just now; the server repeats what it got.
    let server = Server::start(|request| match request.path.as_str() {
        SERVICE => Reply::new(401, json!({"message": "registration-token-9 is unknown"}).to_string()),
        _ => Reply::new(200, json!({"token": "registration-token-9"}).to_string()),
    });
    let error = forge(&server, &token).register_runner("ci-aaaaaaaa").unwrap_err();
    assert!(error.message.contains("401 [hidden] is unknown"), "{error}");
}

/// A job that comes between the question and the removal is kept.
#[test]
fn a_runner_is_disabled_before_it_is_removed() {
    let tea = new_tea();
    let server = start(&tea);
    let token = token_file(TOKEN);
    let gitea = forge(&server, &token);
    gitea.register_runner("ci-aaaaaaaa").unwrap();
    tea.lock().unwrap().gets_job = Some(7);
    assert_eq!(gitea.remove_registration("7").unwrap(), Removal::Busy);
    let runner = tea.lock().unwrap().runners[&7].clone();
    assert_eq!((&runner["busy"], &runner["disabled"]), (&json!(true), &json!(false)));
    // One that cannot be removed is enabled again.
    let kept = Arc::clone(&tea);
    tea.lock().unwrap().gets_job = None;
    tea.lock().unwrap().runners.get_mut(&7).unwrap()["busy"] = false.into();
    let broken = Server::start(move |request| match request.method.as_str() {
        "DELETE" => Reply::new(500, "{}"),
        _ => kept.lock().unwrap().answer(request),
    });
    let error = forge(&broken, &token).remove_registration("7").unwrap_err();
    assert_eq!(error.failure, ForgeFailure::Unreachable);
    assert_eq!(tea.lock().unwrap().runners[&7]["disabled"], false);
}

#[test]
fn an_older_server_is_said_and_leaves_nothing() {
    let tea = new_tea();
    let server = start(&tea);
    let token = token_file(TOKEN);
    let gitea = forge(&server, &token);
    gitea.register_runner("ci-aaaaaaaa").unwrap();
    tea.lock().unwrap().is_new = false;
    assert_eq!(gitea.remove_registration("7").unwrap(), Removal::Removed, "without disabling it");
    let error = gitea.register_runner("ci-bbbbbbbb").unwrap_err();
    assert_eq!(error.failure, ForgeFailure::Refused);
    assert!(error.message.contains("runners for one job need Gitea 1.24"), "{error}");
    assert!(tea.lock().unwrap().runners.is_empty());
    let server = Server::start(|_| Reply::new(404, "404 page not found"));
    let error = forge(&server, &token).list_registrations().unwrap_err();
    assert!(error.message.contains("or the server is older than Gitea 1.24"), "{error}");
}

#[test]
fn refusals_and_failures_are_told_apart() {
    let tea = new_tea();
    let server = start(&tea);
    let error = forge(&server, &token_file("wrong-token")).register_runner("ci-aaaaaaaa").unwrap_err();
    assert_eq!(error.failure, ForgeFailure::Refused);
    assert!(
        error.message.contains("401 invalid username") && !error.message.contains("wrong-token"),
        "{error}"
    );
    let token = token_file(TOKEN);
    for (reply, failure) in [
        (Reply::new(500, "<html>"), ForgeFailure::Unreachable),
        (Reply::new(503, ""), ForgeFailure::Unreachable),
        (Reply::new(403, r#"{"message": "token scope"}"#), ForgeFailure::Refused),
        (Reply::new(422, "{}"), ForgeFailure::Refused),
        (Reply::new(200, "<html>\u{1b}[2J"), ForgeFailure::Unreachable),
        (Reply::new(200, "{}"), ForgeFailure::Unreachable),
        (Reply::new(200, "null"), ForgeFailure::Unreachable),
        (Reply::new(200, r#"{"runners": [{"name": "x"}], "total_count": 1}"#), ForgeFailure::Unreachable),
    ] {
        let shown = format!("{reply:?}");
        let server = Server::start(move |_| reply.clone());
        let gitea = forge(&server, &token);
        for error in [
            gitea.list_registrations().unwrap_err(),
            gitea.register_runner("ci-aaaaaaaa").unwrap_err(),
            gitea.remove_registration("5").unwrap_err(),
        ] {
            assert_eq!(error.failure, failure, "{shown}: {error}");
            assert!(!error.message.contains('\u{1b}'), "{error:?}");
        }
    }
    // What comes from the service is no runner.
    for made in [
        "{}",
        "null",
        r#"{"runner": null}"#,
        r#"{"runner": {"id": "../7", "ephemeral": true}}"#,
        r#"{"runner": {"id": "7", "uuid": "", "token": null, "ephemeral": true}}"#,
    ] {
        let server = Server::start(move |request| match request.path.as_str() {
            SERVICE => Reply::new(200, made),
            _ => Reply::new(200, r#"{"token": "t"}"#),
        });
        let error = forge(&server, &token).register_runner("ci-aaaaaaaa").unwrap_err();
        assert_eq!(error.failure, ForgeFailure::Unreachable, "{made}: {error}");
    }
}
