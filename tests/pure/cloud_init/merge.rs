//! The user's cloud-config on top of the generated one.

use foundry::cloud_init::{build_seed_files, check_user_data, find_ineffective_keys, read_seed_secrets};
use foundry::plan::{SeedPlan, UserData};
use proptest::collection::vec;
use proptest::prelude::*;

use super::support::{HASH, KEY, plan, seed};

/// A seed whose generated part is short.
fn small() -> SeedPlan {
    let mut seed = seed();
    (seed.fqdn, seed.password_hash) = (None, None);
    seed
}

fn merged(seed: &SeedPlan, user: &str) -> String {
    let mut seed = seed.clone();
    seed.user_data = UserData::Merged(user.into());
    check_user_data(user).unwrap();
    build_seed_files(&plan(), &seed, "i").unwrap().user_data
}

/// What the merged user-data has besides the lines of the generated one, in order.
fn added(user: &str) -> String {
    let generated = build_seed_files(&plan(), &small(), "i").unwrap().user_data;
    let old: Vec<&str> = generated.lines().collect();
    merged(&small(), user).lines().filter(|l| !old.contains(l)).map(|l| format!("{l}\n")).collect()
}

#[test]
fn what_the_user_adds_is_added_as_it_was_written() {
    let table = [
        ("packages: [nginx, 'yes']", "packages:\n  - nginx\n  - \"yes\"\n"),
        ("#cloud-config\npackage_update: yes\n", "package_update: yes\n"),
        (
            "write_files:\n- {path: /x, permissions: 0644}",
            "write_files:\n  - path: /x\n    permissions: 0644\n",
        ),
        ("runcmd:\n- |\n  set -e\n  echo hi\n", "runcmd:\n  - |\n    set -e\n    echo hi\n"),
        ("hostname: other", "hostname: other\n"),
        ("ssh_pwauth: true", "ssh_pwauth: true\n"),
        ("users: [default]", "  - default\n"),
        ("users: [{name: root, shell: /bin/sh}]", "    shell: /bin/sh\n"),
        (
            "users: [{name: root, shell: /bin/sh}, {name: root, gecos: it}]",
            "    shell: /bin/sh\n    gecos: it\n",
        ),
        ("users: [{name: bob, uid: 1000}]", "  - name: bob\n    uid: 1000\n"),
        ("users: [{name: root, ssh_authorized_keys: [ssh-rsa BBBB]}]", "      - ssh-rsa BBBB\n"),
        ("x: &a {k: 1}\ny: {<<: *a, l: 2}", "x:\n  k: 1\ny:\n  l: 2\n  k: 1\n"),
    ];
    for (user, expected) in table {
        let lines: String = added(user);
        // `k: 1` stands under two keys; its indentation is the same.
        assert_eq!(lines, expected, "{user}");
    }
}

#[test]
fn the_whole_of_a_merge_can_be_read() {
    let user = "\
users:
  - default
  - {name: root, ssh_authorized_keys: [ssh-rsa BBBB], shell: /bin/zsh}
chpasswd: {users: [{name: bob, type: RANDOM}]}
packages: [nginx]
";
    let expected = format!(
        "\
#cloud-config
hostname: web
fqdn: web.example.com
manage_etc_hosts: localhost
users:
  - name: root
    ssh_authorized_keys:
      - {KEY}
      - ssh-rsa BBBB
    shell: /bin/zsh
  - default
disable_root: false
chpasswd:
  expire: false
  users:
    - name: root
      password: \"{HASH}\"
      type: hash
    - name: bob
      type: RANDOM
ssh_pwauth: false
packages:
  - nginx
"
    );
    assert_eq!(merged(&seed(), user), expected);
}

/// cloud-init takes these for the same key and keeps one of them; a string it takes for a list of one.
#[test]
fn other_spellings_of_a_users_keys_are_merged() {
    for user in [
        "users: [{name: root, ssh-authorized-keys: [ssh-rsa BBBB]}]",
        "users: [{name: root, ssh_authorized_keys: ssh-rsa BBBB}]",
        "users: [{name: root, ssh-authorized-keys: ssh-rsa BBBB}]",
        "users: [{name: root, ssh-authorized_keys: [ssh-rsa BBBB]}]",
    ] {
        assert_eq!(added(user), "      - ssh-rsa BBBB\n", "{user}");
    }
    let twice =
        "users: [{name: root, ssh-authorized-keys: [ssh-rsa BBBB], ssh_authorized_keys: ssh-rsa CCCC}]";
    assert_eq!(added(twice), "      - ssh-rsa BBBB\n      - ssh-rsa CCCC\n");
    assert_eq!(added("users: [{name: root, lock-passwd: false}]"), "    lock_passwd: false\n");
    assert_eq!(
        added("users: [{name: bob, no-create-home: true}]"),
        "  - name: bob\n    no_create_home: true\n"
    );
}

#[test]
fn what_is_about_the_images_own_user_is_known_to_do_nothing_without_it() {
    let all = "password: x\nssh_import_id: [gh:a]\nuser: {name: u}\nsystem_info: {default_user: {name: u}}\n";
    assert_eq!(find_ineffective_keys(all), ["password", "ssh_import_id", "user", "system_info.default_user"]);
    for back in ["users: [default]", "users: [bob, default]", "users: [{name: default}]"] {
        assert!(find_ineffective_keys(&format!("{all}{back}\n")).is_empty(), "{back}");
    }
    assert!(find_ineffective_keys("packages: [a]").is_empty());
}

#[test]
fn a_user_with_thousands_of_keys_is_refused_at_once() {
    let keys: String = (0..50_000).map(|i| format!("a-{i}: 1, ")).collect();
    let told = check_user_data(&format!("users: [{{name: root, {keys}}}]")).unwrap_err();
    assert!(told.contains("has an entry of `users` with 50001 keys"), "{told}");
}

#[test]
fn windows_line_ends_are_read_as_any() {
    assert_eq!(added("#cloud-config\r\npackages: [nginx]\r\n"), "packages:\n  - nginx\n");
}

#[test]
fn a_key_that_is_there_is_not_added_again() {
    let user = format!("users: [{{name: root, ssh_authorized_keys: ['{KEY}']}}]");
    assert_eq!(added(&user), "");
}

#[test]
fn the_users_scalar_wins_over_the_generated_one_and_his_hash_is_recovered() {
    let text = merged(&seed(), "chpasswd: {expire: true, users: [{name: root, password: $6$other$x}]}");
    assert!(text.contains("expire: true\n"), "{text}");
    assert_eq!(read_seed_secrets(&text).password_hash.as_deref(), Some("$6$other$x"));
    let text = merged(&seed(), "packages: [a]");
    assert_eq!(read_seed_secrets(&text).password_hash.as_deref(), Some(HASH));
}

#[test]
fn what_would_lose_the_generated_part_is_refused() {
    let table = [
        ("users: default", "`users` is a single value; it must be a list"),
        ("users:", "`users` is nothing; it must be a list"),
        ("users: {bob: {}}", "`users` is a mapping; it must be a list"),
        ("network: {version: 2}", "has `network`, which cloud-init only reads in the network-config"),
        ("chpasswd: [a]", "`chpasswd` is a list; it must be a mapping"),
        (
            "users: [{name: root, ssh_authorized_keys: }]",
            "`ssh_authorized_keys` is nothing; it must be a list",
        ),
        (
            "users: [{name: root, ssh-authorized-keys: {a: b}}]",
            "`ssh_authorized_keys` is a mapping; it must be",
        ),
        ("chpasswd: {users: root}", "`chpasswd.users` is a single value; it must be a list"),
        ("", "contains no YAML"),
        ("#cloud-config\n", "contains no YAML"),
        ("[a, b]", "is a list, not a mapping"),
        ("just text", "is a single value, not a mapping"),
        ("a: 1\n---\nb: 2\n", "contains 2 YAML documents instead of one"),
        ("#!/bin/sh\n", "is a script; only a cloud-config can be merged"),
        ("## template: jinja\n#cloud-config\na: 1\n", "is a template; only a cloud-config"),
        ("Content-Type: multipart/mixed\n", "is a MIME message; only"),
        ("#cloud-config-archive\n- a\n", "is a cloud-config archive; only"),
        ("a: 1\nb: 2\na: 3\n", "duplicate key `a` at line 3 column 1"),
        ("a:\n  - [b\n", "unclosed bracket '[' at line 2 column 5"),
        (
            "a: !custom x",
            "a value that begins with `!` is a tag, and this tag is not allowed here; put such text in quotes at line 1 column 12",
        ),
        ("? [a]\n: b\n", "a key must be a single value"),
        ("a: *b", "line 1 column"),
        ("a: \u{7f}", "U+007F must be written as an escape in double quotes, at line 1 column 4"),
    ];
    for (user, message) in table {
        let told = check_user_data(user).expect_err(user);
        assert!(told.contains(message), "{user:?}: {told}");
    }
}

#[test]
fn a_config_that_writes_an_e_mail_is_not_taken_for_one() {
    let user = "write_files:\n- path: /mail\n  content: |\n    MIME-Version: 1.0\n    Subject: hi\nmime-version: x\n";
    let text = merged(&small(), user).to_ascii_lowercase();
    assert!(!text.contains("mime-version:"), "{text}");
}

/// Cloud-configs in which most keys meet one that is generated.
fn user_config() -> impl Strategy<Value = String> {
    let entry = prop_oneof![
        Just("default".to_owned()),
        Just("{name: root}".to_owned()),
        Just("{name: root, shell: /bin/sh}".to_owned()),
        Just("{name: root, shell: [list], ssh_authorized_keys: x}".to_owned()),
        Just("{name: root, ssh_authorized_keys: [a, b, a]}".to_owned()),
        Just("{name: root, password: p, type: text}".to_owned()),
        Just("{name: bob, uid: 1}".to_owned()),
        Just("{name: bob, uid: 2}".to_owned()),
        Just("[root]".to_owned()),
        Just("{no_name: true}".to_owned()),
    ];
    let entries = vec(entry, 0..6).prop_map(|e| format!("[{}]", e.join(", ")));
    let users = entries.clone().prop_map(|e| format!("users: {e}"));
    let chpasswd =
        (entries, any::<bool>()).prop_map(|(e, x)| format!("chpasswd: {{users: {e}, expire: {x}}}"));
    let other = proptest::sample::select(vec![
        "hostname: [a]",
        "fqdn: {a: b}",
        "ssh_pwauth: ~",
        "runcmd: [a, a, [b]]",
        "disable_root: yes",
        "'on': off",
    ]);
    vec(prop_oneof![users, chpasswd, other.prop_map(str::to_owned)], 1..5).prop_map(|lines| {
        let mut seen = std::collections::HashSet::new();
        let first = |l: &String| seen.insert(l.split(':').next().map(str::to_owned));
        lines.into_iter().filter(first).map(|l| l + "\n").collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merging_again_changes_nothing(user in user_config()) {
        let once = merged(&seed(), &user);
        prop_assert_eq!(merged(&seed(), &once), once);
    }

    #[test]
    fn the_generated_keys_survive_every_list(user in user_config()) {
        let once = merged(&seed(), &user);
        let replaced = user.contains("ssh_authorized_keys: x");
        prop_assert!(replaced || once.contains(KEY), "{}", once);
    }
}
