//! A GitHub App: GitHub's side is a server on the loopback that checks the signatures of the App's tokens.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use foundry_forge::GithubForge;
use foundry_runner::{Forge, ForgeFailure, GithubApp, GithubLogin, GithubPlan, GithubScope};
use jiff::Timestamp;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::http::{Reply, Request, Server};

const ID: &str = "Iv23liTest";

/// What GitHub knows.
struct Hub {
    /// Number of the installation.
    installation: u64,
    suspended: bool,
    /// How far its clock is ahead.
    ahead: i64,
    /// How long its tokens are good.
    good_for: i64,
    /// How many tokens it gave; the last one is good.
    given: usize,
    /// What it answers to a request for a token, in place of one.
    refusal: Option<Reply>,
    asked: Vec<Value>,
    /// How many runners it lists.
    runners: usize,
    /// Whether a token ends with the page that it got.
    ends_after_page: bool,
}

impl Hub {
    fn new() -> Self {
        Self {
            installation: 7,
            suspended: false,
            ahead: 0,
            good_for: 3600,
            given: 0,
            refusal: None,
            asked: Vec::new(),
            runners: 0,
            ends_after_page: false,
        }
    }

    fn now(&self) -> i64 {
        Timestamp::now().as_second() + self.ahead
    }

    fn token(&self) -> String {
        format!("ghs_token-{}", self.given)
    }

    /// Whether a token of the App is one that GitHub takes.
    fn takes(&self, jwt: &str) -> bool {
        let parts: Vec<&str> = jwt.split('.').collect();
        let [header, claims, signature] = parts[..] else { return false };
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        let read = |text: &str| serde_json::from_slice::<Value>(&decode(text)).unwrap();
        let public = std::fs::read_to_string(key_path("app-2048.public.pem")).unwrap();
        let public: String = public.lines().filter(|line| !line.starts_with('-')).collect();
        let public = BASE64_STANDARD.decode(public).unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
        key.verify(format!("{header}.{claims}").as_bytes(), &decode(signature)).unwrap();
        assert_eq!(read(header), json!({"alg": "RS256", "typ": "JWT"}));
        let claims = read(claims);
        let time = |name: &str| claims[name].as_i64().unwrap();
        assert!(time("exp") - time("iat") <= 600);
        let now = self.now();
        claims["iss"] == ID && time("iat") <= now && now < time("exp") && time("exp") <= now + 600
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let reply = self.reply(request);
        let date = Timestamp::from_second(self.now()).unwrap();
        reply.with("Date", &date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
    }

    fn reply(&mut self, request: &Request) -> Reply {
        let json = |status, value: Value| Reply::new(status, value.to_string());
        let login = request.header("authorization").unwrap().strip_prefix("Bearer ").unwrap().to_owned();
        if request.path.contains("/actions/runners?") {
            if login != self.token() {
                return json(401, json!({"message": "Bad credentials"}));
            }
            let page = usize::from(request.path.ends_with("page=2"));
            if self.ends_after_page {
                self.given += 1;
            }
            let names: Vec<Value> = (0..self.runners).map(|id| json!({"id": id, "name": "r"})).collect();
            let shown: Vec<&Value> = names.iter().skip(page * 100).take(100).collect();
            return json(200, json!({"total_count": self.runners, "runners": shown}));
        }
        if !self.takes(&login) {
            return json(401, json!({"message": "'Expiration time' claim ('exp') is too far in the future"}));
        }
        let tokens = format!("/app/installations/{}/access_tokens", self.installation);
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/orgs/acme/installation") => {
                let suspended = self.suspended.then_some("2026-01-01T00:00:00Z");
                json(200, json!({"id": self.installation, "suspended_at": suspended, "account": null}))
            }
            ("POST", path) if path == tokens => {
                self.asked.push(serde_json::from_slice(&request.body).unwrap());
                if let Some(refusal) = &self.refusal {
                    return refusal.clone();
                }
                self.given += 1;
                let ends = Timestamp::from_second(self.now() + self.good_for).unwrap().to_string();
                json(201, json!({"token": self.token(), "expires_at": ends, "permissions": null}))
            }
            _ => json(404, json!({"message": "Not Found"})),
        }
    }
}

fn key_path(name: &str) -> PathBuf {
    PathBuf::from("tests/data/keys").join(name)
}

/// GitHub with an App that uses a copy of a key.
struct World {
    hub: Arc<Mutex<Hub>>,
    server: Server,
    directory: TempDir,
    app: GithubApp,
}

impl World {
    fn new(hub: Hub, key: &str) -> Self {
        let hub = Arc::new(Mutex::new(hub));
        let kept = Arc::clone(&hub);
        let server = Server::start(move |request| kept.lock().unwrap().answer(request));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.pem");
        std::fs::write(&file, std::fs::read(key_path(key)).unwrap()).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let app =
            GithubApp { id: ID.into(), private_key_file: file.display().to_string(), installation: None };
        Self { hub, server, directory, app }
    }

    fn forge(&self) -> GithubForge {
        self.forge_of("acme")
    }

    fn forge_of(&self, organization: &str) -> GithubForge {
        let plan = GithubPlan {
            api: self.server.url(""),
            scope: GithubScope::Organization(organization.into()),
            login: GithubLogin::App(self.app.clone()),
            group: 1,
        };
        GithubForge::new(&plan, &[])
    }

    fn given(&self) -> usize {
        self.hub.lock().unwrap().given
    }

    /// The error of a list, which has no secret.
    fn refusal(&self, forge: &GithubForge) -> String {
        let error = forge.list_registrations().unwrap_err();
        let shown = format!("{error} {error:?} {forge:?}");
        for secret in ["ghs_", "eyJ", "PRIVATE"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert_eq!(error.failure, ForgeFailure::Refused, "{error}");
        error.message
    }
}

#[test]
fn both_forms_of_a_key_sign_and_a_token_is_kept() {
    for key in ["app-2048.pkcs1.pem", "app-2048.pkcs8.pem"] {
        let world = World::new(Hub::new(), key);
        let forge = world.forge();
        for _ in 0..3 {
            forge.list_registrations().unwrap();
        }
        assert_eq!(world.given(), 1, "{key}");
        assert_eq!(world.server.requests().len(), 5, "one for the installation, one for the token");
        let asked = &world.hub.lock().unwrap().asked;
        assert_eq!(asked[0], json!({"permissions": {"organization_self_hosted_runners": "write"}}));
        assert!(!format!("{forge:?}").contains("ghs_"));
    }
}

#[test]
fn a_token_near_its_end_or_refused_is_replaced() {
    let world = World::new(Hub { good_for: 299, ..Hub::new() }, "app-2048.pkcs1.pem");
    let forge = world.forge();
    for _ in 0..2 {
        forge.list_registrations().unwrap();
    }
    assert_eq!(world.given(), 2, "a token for less than five minutes is not kept");
    let world = World::new(Hub::new(), "app-2048.pkcs1.pem");
    let forge = world.forge();
    forge.list_registrations().unwrap();
    // GitHub has forgotten it.
    world.hub.lock().unwrap().given += 1;
    forge.list_registrations().unwrap();
    assert_eq!(world.given(), 3);
    // It ends between two pages.
    {
        let mut hub = world.hub.lock().unwrap();
        (hub.runners, hub.ends_after_page) = (150, true);
    }
    assert_eq!(forge.list_registrations().unwrap().len(), 150);
}

#[test]
fn an_app_that_was_installed_anew_is_found_again() {
    let mut world = World::new(Hub::new(), "app-2048.pkcs1.pem");
    let forge = world.forge();
    forge.list_registrations().unwrap();
    {
        let mut hub = world.hub.lock().unwrap();
        hub.installation = 8;
        hub.given += 1;
    }
    forge.list_registrations().unwrap();
    // One that the manifest names is not replaced by another.
    world.app.installation = Some(7);
    let error = world.refusal(&world.forge());
    assert!(error.contains("404 Not Found: the App has no such installation"), "{error}");
    world.app.installation = Some(8);
    world.forge().list_registrations().unwrap();
}

#[test]
fn the_servers_clock_is_used_if_it_differs() {
    for ahead in [-3600, -600, -120, 20, 120, 600, 3600] {
        let world = World::new(Hub { ahead, ..Hub::new() }, "app-2048.pkcs1.pem");
        let forge = world.forge();
        forge.list_registrations().unwrap_or_else(|e| panic!("{ahead}: {e}"));
        forge.list_registrations().unwrap();
        assert_eq!(world.given(), 1, "{ahead}: its end is judged by the server's clock, too");
    }
}

#[test]
fn what_github_refuses_is_said_without_secrets() {
    let key = "app-2048.pkcs1.pem";
    let refused = |refusal: Reply| World::new(Hub { refusal: Some(refusal), ..Hub::new() }, key);
    let suspended = World::new(Hub { suspended: true, ..Hub::new() }, key);
    assert!(suspended.refusal(&suspended.forge()).contains("is suspended"));
    let mut wrong = World::new(Hub::new(), key);
    wrong.app.id = "other".into();
    let error = wrong.refusal(&wrong.forge());
    assert!(error.contains("the App's id or private key is wrong"), "{error}");
    assert_eq!(wrong.server.requests().len(), 1, "it is not tried again without a reason");
    let not_there = World::new(Hub::new(), key);
    let error = not_there.refusal(&not_there.forge_of("nowhere"));
    assert!(error.contains("the App is not installed there"), "{error}");
    let message = json!({"message": "The permissions requested are not granted to this installation."});
    let world = refused(Reply::new(422, message.to_string()));
    let error = world.refusal(&world.forge());
    assert!(
        error.contains("422 The permissions requested") && error.contains("the App may not manage"),
        "{error}"
    );
    let world = refused(Reply::new(403, r#"{"message": "This installation has been suspended"}"#));
    assert!(world.refusal(&world.forge()).contains("has been suspended"));
    for reply in [
        Reply::new(500, "<html>"),
        Reply::new(403, "{}").with("retry-after", "60"),
        Reply::new(201, "{\"token\": null, \"expires_at\": null}"),
        Reply::new(201, "{\"token\": \"a b\", \"expires_at\": \"2050-01-01T00:00:00Z\"}"),
        Reply::new(201, "{\"token\": \"ghs_x\", \"expires_at\": \"tomorrow\"}"),
        Reply::new(201, "<html>"),
    ] {
        let shown = format!("{reply:?}");
        let world = refused(reply);
        let error = world.forge().list_registrations().unwrap_err();
        assert_eq!(error.failure, ForgeFailure::Unreachable, "{shown}: {error}");
        assert!(!error.message.contains("ghs_"), "{error}");
    }
}

#[test]
fn an_unfit_key_is_refused_in_words() {
    for (key, said) in [
        ("short-1024.pkcs1.pem", "is an RSA key of less than 2048 bits"),
        ("ec.pkcs8.pem", "is not an RSA key"),
        ("encrypted.pkcs8.pem", "is encrypted"),
        ("app-2048.public.pem", "has no private key in PEM"),
    ] {
        let world = World::new(Hub::new(), key);
        let error = world.refusal(&world.forge());
        assert!(error.starts_with(&world.app.private_key_file) && error.contains(said), "{key}: {error}");
    }
    let world = World::new(Hub::new(), "app-2048.pkcs1.pem");
    let file = &world.app.private_key_file;
    let whole = std::fs::read_to_string(file).unwrap();
    let damaged: Vec<&str> = whole.lines().take(10).chain(["-----END RSA PRIVATE KEY-----"]).collect();
    for (text, said) in [(damaged.join("\n"), "is no valid RSA key"), (String::new(), "has no private key")] {
        std::fs::write(file, text).unwrap();
        let error = world.refusal(&world.forge());
        assert!(error.contains(said), "{error}");
    }
    std::fs::write(file, whole).unwrap();
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o640)).unwrap();
    assert!(world.refusal(&world.forge()).contains("other users can read"));
    let forge = world.forge();
    drop(world.directory);
    assert!(forge.list_registrations().unwrap_err().message.contains("cannot read"));
    assert_eq!(world.server.requests().len(), 0, "nothing was sent");
}
