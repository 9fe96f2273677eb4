//! The controller's HTTP: what strangers, forges and users get.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foundry::record::{RunnerNote, RunnerState};
use foundry_jobs::{JobDatabase, JobFilter, PoolRow};
use foundry_listen::{ApiToken, ListenedPool, Listener, ListenerPlan, ListenerState, WebhookSecret};
use foundry_runner::{CommandSpec, ForgePlan, LabelMatch, PoolWish};
use serde_json::json;
use tempfile::TempDir;

use crate::support::webhooks::{Told, ask, ask_socket, send_event, sign, workflow_job};

const SECRET: &str = "a-secret-of-the-test";
const TOKEN: &str = "a-token-of-the-test-";

struct Bench {
    directory: TempDir,
    database: JobDatabase,
    address: String,
    _listener: Listener,
}

fn listened(name: &str, labels: &[&str], secret: &str) -> ListenedPool {
    ListenedPool {
        name: name.into(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        label_match: LabelMatch::Superset,
        forge: ForgePlan::Command(CommandSpec::default()),
        serves: true,
        webhook: Some(WebhookSecret { path: "acme".into(), secret: secret.into() }),
    }
}

impl Bench {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("runner.db");
        let mut database = JobDatabase::open(&path).unwrap();
        let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap();
        for (name, forge_answered) in [("large", Some(now)), ("small", Some(now - 500)), ("removed", None)] {
            let labels = vec!["linux".into()];
            let (mode, trouble) = (PoolWish::Serve, None);
            let row = PoolRow {
                name: name.into(),
                mode,
                min_idle: 0,
                max: 4,
                labels,
                trouble,
                forge_answered,
                seen: now,
            };
            database.record_pool(&row).unwrap();
        }
        let note = RunnerNote::new("small", "t", now).moved(RunnerState::Idle, now);
        database.record_runners("small", &[("small-aaaaaaaa".into(), note)], now).unwrap();
        let shared = Arc::new(ListenerState::new(&path, 120).unwrap());
        shared.set_pools(vec![
            listened("large", &["self-hosted", "linux", "gpu"], SECRET),
            listened("small", &["linux"], SECRET),
            listened("foreign", &[], "another-secret-of-this"),
        ]);
        let plan = ListenerPlan {
            address: Some("127.0.0.1:0".parse().unwrap()),
            socket: Some(directory.path().join("api.sock")),
            token: Some(ApiToken::new(TOKEN).unwrap()),
        };
        let listener = Listener::start(plan, &shared).unwrap();
        let address = listener.address().unwrap().to_string();
        Self { directory, database, address, _listener: listener }
    }

    fn send(&self, body: &[u8], headers: &[(&str, &str)]) -> Told {
        ask(&self.address, "POST /webhooks/acme", headers, body)
    }

    fn api(&self, request: &str, body: &str) -> Told {
        ask_socket(&self.directory.path().join("api.sock"), request, &[], body.as_bytes())
    }

    fn jobs(&self) -> usize {
        self.database.list_jobs(&JobFilter { limit: 1, ..JobFilter::default() }).unwrap().total
    }
}

#[test]
fn a_signed_job_is_noted_for_one_pool() {
    let bench = Bench::new();
    let send = |action, id, labels: &[&str], runner| {
        send_event(&bench.address, SECRET, &workflow_job(action, id, labels, runner))
    };
    let told = send("queued", 1, &["Self-Hosted", "Linux"], None);
    assert_eq!((told.status, told.json()), (202, json!({"accepted": true, "job": "1", "pool": "small"})));
    assert_eq!(send("queued", 1, &["linux"], None).status, 202, "again");
    assert_eq!(send("queued", 2, &["gpu", "linux"], None).json()["pool"], "large");
    let told = send("queued", 3, &["windows"], None);
    assert_eq!((told.status, told.json()["accepted"].clone()), (200, json!(false)));
    assert_eq!(bench.jobs(), 2, "a job that is no pool's is not kept");
    assert_eq!(
        bench.database.count_queued().unwrap().into_iter().collect::<Vec<_>>(),
        [("large".into(), 1), ("small".into(), 1)]
    );
    send("completed", 1, &["linux"], Some("small-aaaaaaaa"));
    send("in_progress", 1, &["linux"], Some("small-aaaaaaaa"));
    send("in_progress", 2, &["linux", "gpu"], Some("large-aaaaaaaa"));
    assert_eq!(
        bench.database.list_runners_at_work().unwrap().into_iter().collect::<Vec<_>>(),
        ["large-aaaaaaaa"]
    );
    let metrics = ask(&bench.address, "GET /metrics", &[], b"").body;
    for line in [
        "foundry_runner_webhooks_total{outcome=\"accepted\"} 6",
        "foundry_runner_webhooks_total{outcome=\"unmatched\"} 1",
        "foundry_runner_jobs_total{pool=\"small\",result=\"success\"} 1",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    for hidden in ["acme/shop", "aaaaaaaa", SECRET, TOKEN] {
        assert!(!metrics.contains(hidden), "{hidden}\n{metrics}");
    }
}

#[test]
fn what_is_not_a_forges_own_event_is_refused() {
    let bench = Bench::new();
    let body = workflow_job("queued", 1, &["linux"], None);
    let good = format!("sha256={}", sign(SECRET.as_bytes(), &body));
    let json = ("content-type", "application/json");
    let event = ("x-github-event", "workflow_job");
    let signed = ("x-hub-signature-256", good.as_str());
    let other = format!("sha256={}", sign(b"another-secret-of-this", &body));
    let empty = format!("sha256={}", sign(b"", &body));
    let form = ("content-type", "application/x-www-form-urlencoded");
    for (headers, status) in [
        (&[json, event][..], 401),
        (&[json, event, ("x-hub-signature-256", "sha256=00")], 401),
        (&[json, event, ("x-hub-signature-256", &empty)], 401),
        (&[json, event, ("x-hub-signature", &good)], 401),
        (&[form, event, signed], 415),
        (&[event, signed], 415),
        (&[json, signed], 200),
        (&[json, ("x-github-event", "ping"), signed], 200),
    ] {
        let told = bench.send(&body, headers);
        assert_eq!(told.status, status, "{headers:?} {told:?}");
        assert!(!told.body.contains("large") && !told.body.contains(SECRET), "{told:?}");
    }
    // Who knows the secret of one pool sends no job to another.
    let told = bench.send(&body, &[json, event, ("x-hub-signature-256", &other)]);
    assert_eq!(told.json()["accepted"], json!(false), "{told:?}");
    assert_eq!(ask(&bench.address, "POST /webhooks/other", &[json, event, signed], &body).status, 404);
    assert_eq!(ask(&bench.address, "GET /webhooks/acme", &[], b"").status, 405);
    let sign_it = |body: &[u8]| send_event(&bench.address, SECRET, body).status;
    assert_eq!(sign_it(b"{\"action\":"), 400);
    assert_eq!(sign_it(&vec![b' '; (2 << 20) + 1]), 413);
    assert_eq!(bench.jobs(), 0);
}

#[test]
fn strangers_see_health_and_numbers_only() {
    let bench = Bench::new();
    let get =
        |path: &str, headers: &[(&str, &str)]| ask(&bench.address, &format!("GET {path}"), headers, b"");
    assert_eq!(get("/healthz", &[]).body, "ok\n");
    let ready = get("/readyz", &[]);
    assert_eq!((ready.status, ready.json()), (503, json!({"ready": false, "pools": 2, "withoutForge": 1})));
    for path in ["/v1/pools", "/v1/runners", "/v1/jobs", "/v1/jobs/1", "/v1/pools/small"] {
        assert_eq!(get(path, &[]).status, 401, "{path}");
        assert_eq!(get(path, &[("authorization", "Bearer wrong")]).status, 401, "{path}");
    }
    let refused = ask(&bench.address, "POST /v1/pools/small/drain", &[], b"");
    assert_eq!(refused.status, 401);
    let token = format!("Bearer {TOKEN}");
    assert_eq!(get("/v1/pools", &[("authorization", &token)]).json()[2]["name"], "small");
    assert_eq!(get("/nothing", &[]).status, 404);
    // Another site in the user's browser, which sends the token by itself.
    for header in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        let headers = [("authorization", token.as_str()), header];
        assert_eq!(ask(&bench.address, "POST /v1/pools/small/drain", &headers, b"").status, 403);
        assert_eq!(ask(&bench.address, "DELETE /v1/runners/small-aaaaaaaa", &headers, b"").status, 403);
        assert_eq!(get("/v1/pools", &headers).status, 200);
    }
    assert_eq!(bench.database.pool_override("small").unwrap(), foundry_jobs::PoolOverride::default());
}

#[test]
fn the_socket_shows_and_asks() {
    let bench = Bench::new();
    use std::os::unix::fs::PermissionsExt as _;
    let rights = std::fs::metadata(bench.directory.path().join("api.sock")).unwrap().permissions().mode();
    assert_eq!(rights & 0o777, 0o660);
    for id in 1..=3 {
        send_event(&bench.address, SECRET, &workflow_job("queued", id, &["linux"], None));
    }
    let pool = bench.api("GET /v1/pools/small", "").json();
    assert_eq!(
        (&pool["queued"], &pool["runners"]["idle"], &pool["mode"]),
        (&json!(3), &json!(1), &json!("serve"))
    );
    let jobs = bench.api("GET /v1/jobs?page=2&limit=2&status=queued&repository=acme/shop", "").json();
    assert_eq!((&jobs["total"], jobs["jobs"].as_array().unwrap().len()), (&json!(3), 1));
    assert_eq!(bench.api("GET /v1/jobs/2", "").json()["jobs"][0]["repository"], "acme/shop");
    assert_eq!(bench.api("GET /v1/runners/small-aaaaaaaa", "").json()["state"], "idle");
    for (request, body, status) in [
        ("GET /v1/pools/none", "", 404),
        ("GET /v1/runners/none", "", 404),
        ("GET /v1/jobs/none", "", 404),
        ("GET /v1/jobs?status=x", "", 400),
        ("GET /v1/jobs?limit=1000", "", 400),
        ("GET /v1/jobs?page=0", "", 400),
        ("POST /v1/pools/small/scale", "{\"max\": 0}", 400),
        ("POST /v1/pools/small/scale", "{\"maximum\": 2}", 400),
        ("POST /v1/pools/small/explode", "", 404),
        ("POST /v1/pools/none/pause", "", 404),
        ("DELETE /v1/runners/none", "", 404),
        ("POST /v1/pools/small/scale", "{\"minIdle\": 1, \"max\": 2}", 200),
        ("POST /v1/pools/small/pause", "", 200),
        ("POST /v1/pools/small/rotate", "", 200),
        ("DELETE /v1/runners/small-aaaaaaaa?force=true", "", 200),
    ] {
        let told = bench.api(request, body);
        assert_eq!(told.status, status, "{request}: {told:?}");
    }
    let noted = bench.database.pool_override("small").unwrap();
    assert_eq!((noted.mode, noted.min_idle, noted.max), (Some(PoolWish::Pause), Some(1), Some(2)));
    assert_eq!(bench.database.runner_wishes().unwrap()["small-aaaaaaaa"].as_str(), "kill");
    bench.api("POST /v1/pools/small/resume", "");
    assert_eq!(bench.database.pool_override("small").unwrap().mode, None);
}

/// What a stranger may write into a job is shown, and means nothing in HTML.
#[test]
fn the_page_shows_foreign_texts_as_texts() {
    let bench = Bench::new();
    let mut job: serde_json::Value =
        serde_json::from_slice(&workflow_job("completed", 1, &["linux"], Some("small-aaaaaaaa"))).unwrap();
    let hostile = "</td><script>alert('1')</script>&\"\n";
    job["workflow_job"]["name"] = hostile.into();
    job["workflow_job"]["conclusion"] = hostile.into();
    job["workflow_job"]["html_url"] = "https://forge.example/\"onclick=\"x".into();
    assert_eq!(send_event(&bench.address, SECRET, job.to_string().as_bytes()).status, 202);
    let page = bench.api("GET /", "").body;
    let shown = "&lt;/td&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot; ";
    assert_eq!(page.matches(shown).count(), 2, "{page}");
    assert!(
        !page.contains("<script") && page.contains("href=\"https://forge.example/&quot;onclick=&quot;x\""),
        "{page}"
    );
    assert!(page.contains("<td>small-aaaaaaaa</td><td>small</td><td>idle</td>"), "{page}");
    let counts =
        "<td>small</td><td>serve</td><td>0</td><td>1</td><td>0</td><td>0</td><td>0</td><td>4</td><td>0</td>";
    assert!(page.contains(counts), "{page}");
    let style = ask(&bench.address, "GET /page.css", &[], b"");
    assert!(style.status == 200 && style.body.contains("color-scheme: light dark"), "{style:?}");
    for element in ["table", "tr", "th", "div", "h2", "a"] {
        let begun =
            page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
        assert_eq!(begun, page.matches(&format!("</{element}>")).count(), "{element}\n{page}");
    }
    assert_eq!(ask(&bench.address, "GET /", &[], b"").status, 401);
}

/// Others are answered meanwhile, and each connection ends.
#[test]
fn slow_and_broken_clients_hold_nobody_up() {
    let bench = Bench::new();
    let begun = Instant::now();
    let slow: Vec<TcpStream> = (0..40)
        .map(|nth| {
            let mut stream = TcpStream::connect(&bench.address).unwrap();
            let begin =
                ["GET /heal", "POST /webhooks/acme HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{"];
            stream.write_all(begin[nth % 2].as_bytes()).unwrap();
            stream
        })
        .collect();
    assert_eq!(ask(&bench.address, "GET /healthz", &[], b"").status, 200);
    let long = format!("GET /{}", "x".repeat(40_000));
    assert!([400, 414, 431].contains(&ask(&bench.address, &long, &[], b"").status));
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(
            ended.is_ok() || ended.unwrap_err().kind() != std::io::ErrorKind::WouldBlock,
            "{:?}",
            begun.elapsed()
        );
    }
}

#[test]
fn a_socket_is_taken_over_from_the_dead_only() {
    let bench = Bench::new();
    let socket = bench.directory.path().join("api.sock");
    let start = |socket: &std::path::Path| {
        let shared = Arc::new(ListenerState::new(&bench.directory.path().join("runner.db"), 120).unwrap());
        Listener::start(ListenerPlan { socket: Some(socket.to_owned()), ..ListenerPlan::default() }, &shared)
    };
    let error = start(&socket).unwrap_err().to_string();
    assert!(error.contains("FND-1424") || error.contains("cannot listen on"), "{error}");
    let left = bench.directory.path().join("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    assert!(left.exists());
    let listener = start(&left).unwrap();
    assert_eq!(ask_socket(&left, "GET /healthz", &[], b"").status, 200);
    drop(listener);
    assert!(!left.exists());
    let file = bench.directory.path().join("file");
    std::fs::write(&file, "somebody's").unwrap();
    assert!(start(&file).is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "somebody's");
}
