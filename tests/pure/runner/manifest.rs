//! The manifest of a pool: what is read, what is refused and how.

use foundry_runner::{
    DemandPlan, ForgePlan, GithubLogin, GithubPlan, GithubScope, JobEvent, JobState, LabelMatch, PoolOffer,
    PoolWish, RunnerPoolPlan, choose_pool, load_runner_pools,
};

use crate::support::manifests;

const POOL: &str = "
apiVersion: foundry.cofront.xyz/v1alpha1
kind: RunnerPool
metadata: {name: linux}
spec:
  forge: {github: {url: https://github.com/acme, tokenFile: /etc/foundry/token}}
  labels: [linux, x64]
  size: {max: 4}
  template:
    vcpus: 2
    memoryGiB: 4
    bootDisk: {sizeGiB: 20, image: runner.qcow2}
    networkInterfaces: [{network: default}]
    cloudInit: {userData: {packages: [git]}}
";

fn plan(text: &str) -> Result<RunnerPoolPlan, String> {
    let pools = load_runner_pools(text, "pool.yaml").map_err(|e| e.to_string())?;
    assert_eq!(pools.len(), 1);
    RunnerPoolPlan::from_manifest(&pools[0], &manifests::defaults(), "foundry-here")
        .map_err(|e| e.to_string())
}

#[test]
fn a_short_manifest_has_sensible_numbers() {
    let plan = plan(POOL).unwrap();
    let rules = &plan.rules;
    assert_eq!((rules.min_idle, rules.max, rules.max_starting, rules.keep_failed), (1, 4, 2, 1));
    assert_eq!((rules.timeouts.start, rules.timeouts.job, rules.timeouts.max_age), (300, 21_600, 43_200));
    assert_eq!(plan.wish, PoolWish::Serve);
    assert_eq!(plan.template.spec.autostart, Some(false));
    let ForgePlan::Github(GithubPlan { api, scope, group, .. }) = plan.forge else {
        panic!("{:?}", plan.forge)
    };
    assert_eq!((api.as_str(), scope.api_path().as_str(), group), ("https://api.github.com", "/orgs/acme", 1));
    assert!(plan.guest.run.contains("ACTIONS_RUNNER_INPUT_JITCONFIG"));
}

#[test]
fn what_changes_the_vms_changes_their_digest() {
    let digest = |text: &str| plan(text).unwrap().rules.template;
    let same = digest(POOL);
    assert_eq!(digest(&POOL.replace("max: 4", "max: 5")), same);
    for (from, to) in [("vcpus: 2", "vcpus: 3"), ("[linux, x64]", "[linux]"), ("[git]", "[jq]")] {
        assert_ne!(digest(&POOL.replace(from, to)), same, "{to}");
    }
}

#[test]
fn servers_of_github_have_their_own_api() {
    for (url, api, path) in [
        ("https://github.com/acme/shop", "https://api.github.com", "/repos/acme/shop"),
        ("https://github.com/enterprises/acme/", "https://api.github.com", "/enterprises/acme"),
        ("https://acme.ghe.com/org", "https://api.acme.ghe.com", "/orgs/org"),
        ("https://git.example.com/org", "https://git.example.com/api/v3", "/orgs/org"),
        ("http://127.0.0.1:8080/org", "http://127.0.0.1:8080/api/v3", "/orgs/org"),
    ] {
        let plan = plan(&POOL.replace("https://github.com/acme", url)).unwrap();
        let ForgePlan::Github(GithubPlan { api: found, scope, .. }) = plan.forge else { panic!("{url}") };
        assert_eq!((found.as_str(), scope.api_path().as_str()), (api, path), "{url}");
    }
    assert_eq!(GithubScope::Enterprise("e".into()).api_path(), "/enterprises/e");
    for url in [
        "github.com/acme",
        "https://github.com",
        "https://github.com/a/b/c",
        "https://github.com/../x",
        "https://u:p@github.com/acme",
        "https://github.com/a%20b",
        "http://git.example.com/org",
        "http://localhost:80@git.example.com/org",
        "ftp://x/y",
    ] {
        let error = plan(&POOL.replace("https://github.com/acme", url)).unwrap_err();
        assert!(error.contains("spec.forge.github."), "{url}: {error}");
    }
}

#[test]
fn a_github_app_takes_the_place_of_a_token() {
    let with = |app: &str| plan(&POOL.replace("tokenFile: /etc/foundry/token", app));
    let plan =
        with("app: {id: Iv23liX, privateKeyFile: /etc/foundry/app.pem, installationId: 4711}").unwrap();
    let ForgePlan::Github(GithubPlan { login: GithubLogin::App(app), .. }) = plan.forge else {
        panic!("{:?}", plan.forge)
    };
    assert_eq!((app.id.as_str(), app.installation), ("Iv23liX", Some(4711)));
    assert_eq!(app.private_key_file, "/etc/foundry/app.pem");
    let plan = with("app: {id: 123456, privateKeyFile: /k}").unwrap();
    assert!(format!("{:?}", plan.forge).contains("id: \"123456\""), "a number needs no quotes");
    for (app, said) in [
        ("tokenFile: /t, app: {id: '1', privateKeyFile: /k}", "exactly one of tokenFile and app"),
        ("runnerGroupId: 1", "exactly one of tokenFile and app"),
        ("app: {id: '1', privateKeyFile: /k, pem: x}", "unknown field"),
    ] {
        let error = with(app).unwrap_err();
        assert!(error.contains(said), "{app}: {error}");
    }
    let error = with("app: {id: 'a b', privateKeyFile: key.pem, installationId: 0}").unwrap_err();
    for field in ["id", "privateKeyFile", "installationId"] {
        assert!(error.contains(&format!("spec.forge.github.app.{field}:")), "{error}");
    }
}

#[test]
fn a_server_of_forgejo_has_a_scope() {
    let with = |forge: &str| {
        let github = "{github: {url: https://github.com/acme, tokenFile: /etc/foundry/token}}";
        plan(&POOL.replace(github, &format!("{{forgejo: {{{forge}}}}}")))
    };
    for (scope, path) in [
        ("instance", "/admin"),
        ("user", "/user"),
        ("org/acme", "/orgs/acme"),
        ("repo/acme/shop.git", "/repos/acme/shop.git"),
    ] {
        let plan =
            with(&format!("url: 'https://git.example.com/sub/', scope: {scope}, tokenFile: /t")).unwrap();
        let ForgePlan::Forgejo(forgejo) = plan.forge else { panic!("{:?}", plan.forge) };
        assert_eq!(forgejo.scope.api_path(), path);
        assert_eq!((forgejo.url.as_str(), &forgejo.guest_url), ("https://git.example.com/sub", &forgejo.url));
        assert_eq!(plan.guest.directory, "/home/runner");
    }
    for (scope, repository, is_covered) in [
        ("org/acme", "Acme/shop", true),
        ("org/acme", "acme2/shop", false),
        ("repo/acme/shop", "ACME/Shop", true),
        ("repo/acme/shop", "acme/other", false),
        ("instance", "x/y", true),
        ("user", "x/y", true),
    ] {
        let plan = with(&format!("url: https://x, scope: {scope}, tokenFile: /t")).unwrap();
        assert_eq!(plan.forge.covers(repository), is_covered, "{scope} {repository}");
    }
    let local =
        with("url: 'http://127.0.0.1:3000', guestUrl: 'http://10.0.0.1:3000/', scope: user, tokenFile: /t");
    let ForgePlan::Forgejo(forgejo) = local.unwrap().forge else { panic!() };
    assert_eq!(forgejo.guest_url, "http://10.0.0.1:3000");
    let gitea = POOL.replace(
        "github: {url: https://github.com/acme, ",
        "gitea: {url: https://g.example.com, scope: user, ",
    );
    assert!(matches!(plan(&gitea).unwrap().forge, ForgePlan::Gitea(_)));
    for scope in ["", "acme", "org/", "org/a/b", "repo/a", "repo/../x", "instance/x", "org/a b", "org/a%2f"] {
        let error = with(&format!("url: https://x, scope: '{scope}', tokenFile: /t")).unwrap_err();
        assert!(error.contains("spec.forge.forgejo.scope:"), "{scope}: {error}");
    }
    let text = POOL.replace("[linux, x64]", "['linux:docker://node']").replace(
        "{github: {url: https://github.com/acme, tokenFile: /etc/foundry/token}}",
        "{forgejo: {url: 'http://git.example.com', guestUrl: 'git', tokenFile: t}}",
    );
    let error = plan(&text).unwrap_err();
    for path in ["url", "guestUrl", "scope", "tokenFile"].map(|field| format!("spec.forge.forgejo.{field}:"))
    {
        assert!(error.contains(&path), "{path}\n{error}");
    }
    assert!(error.contains("spec.labels[0]: \"linux:docker://node\" cannot have ':'"), "{error}");
}

#[test]
fn all_problems_are_told_together() {
    let text = POOL
        .replace("name: linux", "name: Linux_1")
        .replace("[linux, x64]", "['a,b', '']")
        .replace("{max: 4}", "{max: 0, minIdle: 1.5, maxConcurrentStarts: 99}")
        .replace("tokenFile: /etc/foundry/token", "tokenFile: token")
        .replace("  labels:", "  mode: stop\n  timeouts: {start: 5, job: 10s, maxAge: tomorrow}\n  labels:")
        .replace("{network: default}", "{network: default, ip: 10.0.0.1/24}")
        .replace("vcpus: 2", "vcpus: 0")
        .replace("cloudInit: {", "cloudInit: {fqdn: a.example.com, ");
    let error = plan(&text).unwrap_err();
    for path in [
        "metadata.name:",
        "spec.labels[0]:",
        "spec.labels[1]:",
        "spec.size.max:",
        "spec.size.minIdle:",
        "spec.size.maxConcurrentStarts:",
        "spec.forge.github.tokenFile:",
        "spec.mode:",
        "spec.timeouts.start:",
        "spec.timeouts.job:",
        "spec.timeouts.maxAge:",
        "spec.template.networkInterfaces[0].ip:",
        "spec.template.vcpus:",
        "spec.template.cloudInit.fqdn:",
    ] {
        assert!(error.contains(path), "{path}\n{error}");
    }
}

#[test]
fn contradictions_are_refused() {
    for (from, to, said) in [
        ("{max: 4}", "{max: 4, minIdle: 5}", "is more than max"),
        ("  size:", "  retry: {initial: 5m, max: 1m}\n  size:", "is shorter than initial"),
        (
            "{github: {url",
            "{command: {register: [/x]}, github: {url",
            "exactly one of github, forgejo, gitea and command",
        ),
        (
            "  forge: {github: {url: https://github.com/acme, tokenFile: /etc/foundry/token}}\n",
            "",
            "exactly one",
        ),
        ("    vcpus: 2\n", "    vcpus: 2\n    autostart: true\n", "cannot be true"),
        ("name: linux", "name: try", "is the name of the pool of trials"),
        ("{max: 4}", "{max: 4, minIdle: 0}", "spec.size.minIdle: \"0\" must be a whole number from 1 to 500"),
        (
            "  size:",
            "  demand: {static: {}, webhook: {secretFile: /x}}\n  size:",
            "one of static and webhook",
        ),
        ("  size:", "  demand: {webhook: {path: a/b, secretFile: /x}}\n  size:", "spec.demand.webhook.path"),
        ("  size:", "  demand: {webhook: {}}\n  size:", "anybody could send jobs"),
        ("  size:", "  labelMatch: some\n  size:", "must be exact or superset"),
        ("  size:", "  timeouts: {queued: 1s}\n  size:", "spec.timeouts.queued"),
        ("  size:", "  guest: {user: '-x', directory: rel, run: ' '}\n  size:", "spec.guest.directory"),
    ] {
        let error = plan(&POOL.replace(from, to)).unwrap_err();
        assert!(error.contains(said), "{to}: {error}");
    }
    let command = POOL.replace(
        "{github: {url: https://github.com/acme, tokenFile: /etc/foundry/token}}",
        "{command: {register: [forge], list: []}}",
    );
    let error = plan(&command).unwrap_err();
    for field in ["register", "list", "unregister"] {
        assert!(error.contains(&format!("spec.forge.command.{field}:")), "{error}");
    }
}

#[test]
fn what_is_no_pool_is_said_with_its_line() {
    for (from, to, said) in [
        (
            "kind: RunnerPool",
            "kind: VirtualMachine",
            "pool.yaml:3:7: kind is \"VirtualMachine\", not \"RunnerPool\"",
        ),
        ("kind: RunnerPool\n", "", "kind is missing; write 'kind: RunnerPool'"),
        ("  labels:", "  label:", "did you mean 'labels'?"),
        ("size: {max", "size: {maximum", "unknown field"),
        ("vcpus: 2", "vcpu: 2", "did you mean 'vcpus'?"),
        ("labels: [linux, x64]", "labels: linux", "spec.labels"),
    ] {
        let error = plan(&POOL.replace(from, to)).unwrap_err();
        assert!(error.contains(said), "{to}: {error}");
    }
    assert!(load_runner_pools("", "pool.yaml").unwrap_err().to_string().contains("contains no pool"));
    assert!(load_runner_pools("a: [", "pool.yaml").is_err());
}

#[test]
fn every_example_is_a_pool() {
    let files = manifests::yaml_files("examples/runners");
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        plan(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}

/// The unit's command is one that foundry takes.
#[test]
fn the_unit_starts_what_there_is() {
    let unit = std::fs::read_to_string("examples/runners/foundry-runner.service").unwrap();
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/")).unwrap();
    <foundry::Cli as clap::Parser>::try_parse_from(command.split_whitespace()).unwrap();
    // In /run/foundry all foundries take turns; a unit's own directory is deleted when it stops.
    assert!(unit.contains("RuntimeDirectory=foundry-runner\n") && !unit.contains(" /run/foundry/"), "{unit}");
}

#[test]
fn a_pool_with_a_webhook_may_have_no_idle_runner() {
    let text = POOL.replace(
        "{max: 4}",
        "{max: 4, minIdle: 0}
  demand: {webhook: {secretFile: /etc/foundry/hook}}",
    );
    let plan = plan(&text).unwrap();
    assert_eq!(plan.rules.min_idle, 0);
    let webhook = DemandPlan::Webhook { path: "linux".into(), secret_file: "/etc/foundry/hook".into() };
    assert_eq!(plan.demand, webhook);
}

#[test]
fn a_job_counts_for_the_most_modest_pool_that_has_its_labels() {
    let plan_of = |url: &str| plan(&POOL.replace("https://github.com/acme", url)).unwrap().forge;
    let (acme, shop, all) = (
        plan_of("https://github.com/acme"),
        plan_of("https://github.com/Acme/Shop"),
        plan_of("https://github.com/enterprises/e"),
    );
    let labels = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let chosen = |pools: &[(&str, &str, LabelMatch, &ForgePlan)], asked: &str| {
        let owned: Vec<_> =
            pools.iter().map(|(name, own, how, forge)| (*name, labels(own), *how, *forge)).collect();
        let offers: Vec<PoolOffer<'_>> = owned
            .iter()
            .map(|(pool, labels, label_match, forge)| PoolOffer {
                pool,
                labels,
                label_match: *label_match,
                forge,
                serves: !pool.starts_with("paused"),
            })
            .collect();
        let job = JobEvent {
            repository: "acme/shop".into(),
            labels: labels(asked),
            ..super::database::job("1", JobState::Queued)
        };
        choose_pool(&offers, &job).map(str::to_owned)
    };
    use LabelMatch::{Exact, Superset};
    let both = [("big", "linux x64 gpu", Superset, &acme), ("few", "linux x64", Superset, &acme)];
    assert_eq!(chosen(&both, "self-hosted Linux").as_deref(), Some("few"));
    assert_eq!(chosen(&both, "gpu").as_deref(), Some("big"));
    assert_eq!(chosen(&both, "windows"), None);
    let paused = [("paused", "linux", Exact, &acme), ("serving", "linux x64", Superset, &acme)];
    assert_eq!(chosen(&paused, "linux").as_deref(), Some("serving"));
    assert_eq!(chosen(&paused[..1], "linux").as_deref(), Some("paused"));
    assert_eq!(chosen(&[("x", "linux x64", Exact, &acme)], "linux"), None);
    assert_eq!(chosen(&[("x", "linux X64", Exact, &shop)], "x64 self-hosted linux").as_deref(), Some("x"));
    assert_eq!(chosen(&[("x", "linux", Exact, &all)], "linux").as_deref(), Some("x"));
    assert_eq!(chosen(&[("x", "linux", Exact, &plan_of("https://github.com/other"))], "linux"), None);
    assert_eq!(chosen(&[("x", "linux", Exact, &plan_of("https://github.com/acme/tool"))], "linux"), None);
    assert_eq!(
        chosen(&[("b", "linux", Exact, &acme), ("a", "linux", Exact, &acme)], "linux").as_deref(),
        Some("a")
    );
}

#[test]
fn a_forge_that_reports_no_jobs_has_no_webhook() {
    let forgejo = "{forgejo: {url: https://git.example.com, scope: org/acme, tokenFile: /etc/foundry/token}}";
    let text =
        POOL.replace("{github: {url: https://github.com/acme, tokenFile: /etc/foundry/token}}", forgejo);
    assert!(plan(&text).is_ok());
    let error = plan(&text.replace("  size:", "  demand: {webhook: {secretFile: /x}}\n  size:")).unwrap_err();
    assert!(error.contains("Forgejo reports no jobs by webhooks"), "{error}");
}
