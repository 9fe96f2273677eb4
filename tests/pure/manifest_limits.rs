//! Manifests that are made to exhaust their reader: the command refuses them within seconds and 300 MiB of address
//! space, whatever comes.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::command::{Ran, foundry};
use crate::support::deadline::{ChildInTime as _, CommandInTime as _};
use crate::support::manifests::SMALL;

/// All that the process may map, libraries and stacks included; what it uses is half of that.
const MEMORY: u64 = 300 << 20;

/// Runs `foundry render FILE` under the limit.
fn render(file: &str, stdin: Stdio) -> Ran {
    let inner = foundry(&["render", file]);
    let mut command = Command::new("prlimit");
    command.arg(format!("--as={MEMORY}")).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().stdin(stdin);
    let begun = Instant::now();
    let ran = Ran::from(command.output_in_time().unwrap());
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    ran
}

/// Renders a text from a file.
fn of_text(text: &str) -> Ran {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    render(file.path().to_str().unwrap(), Stdio::null())
}

/// One error that says why, and is no wall of text.
#[track_caller]
fn assert_refused(ran: &Ran, code: i32, why: &str) {
    assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{:.2000}", ran.stderr);
    assert!(ran.stderr.contains(why), "{why}\nis not in\n{:.2000}", ran.stderr);
    assert_eq!(ran.stderr.matches("error:").count(), 1, "{:.2000}", ran.stderr);
    assert!(ran.stderr.len() < 16 << 10, "{} bytes: {:.2000}", ran.stderr.len(), ran.stderr);
}

/// A manifest with other lines in `spec`.
fn with(spec: &str) -> String {
    format!("{}\n  {spec}\n", SMALL.trim_end())
}

#[test]
fn an_honest_manifest_is_far_below_the_limits() {
    let ran = of_text(SMALL);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn a_file_of_any_size_is_refused_after_its_first_mebibyte() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(100 << 20).unwrap();
    let path = file.path().to_str().unwrap();
    let why = "larger than 1048576 bytes, the limit for a manifest";
    assert_refused(&render(path, Stdio::null()), 1, why);
    assert_refused(&render("-", File::open(path).unwrap().into()), 1, why);
    assert_refused(&render("/dev/zero", Stdio::null()), 1, why);
    assert_refused(&render("-", File::open("/dev/zero").unwrap().into()), 1, why);
    let mut yes = Command::new("yes").arg("a: &a [*a]").stdout(Stdio::piped()).spawn().unwrap();
    let ran = render("-", yes.stdout.take().unwrap().into());
    // It ends by itself when nobody reads.
    yes.wait_in_time().unwrap();
    assert_refused(&ran, 1, why);
}

#[test]
fn texts_that_grow_when_they_are_read_are_refused() {
    let level = |i: u32| format!("l{i}: &l{i} [{}]\n", vec![format!("*l{}", i - 1); 10].join(", "));
    let laughs = format!("l0: &l0 [a, b]\n{}", (1..9).map(level).collect::<String>());
    let long = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 50_000].join(", "));
    for (text, why) in [
        (laughs, "after expanding aliases"),
        (long, "after expanding aliases"),
        ("[".repeat(500_000), "1:"),
        ("{a: ".repeat(200_000), "1:"),
        ("- ".repeat(500_000), "1:"),
        ("? ".repeat(500_000), "1:"),
        ((0..1400).map(|i| format!("{}a:\n", " ".repeat(i))).collect(), "nested deeper than 64 levels"),
        ("---\n".repeat(260_000), "contains no manifest"),
        ("--- a\n".repeat(170_000), "document 1: expected a mapping"),
        ("a: 1\n".repeat(200_000), "duplicate key \"a\""),
        ((0..90_000).map(|i| format!("k{i}: 1\n")).collect(), "kind is missing"),
        (format!("{}: x\n", "k".repeat(1_000_000)), "1:"),
    ] {
        assert_refused(&of_text(&text), 1, why);
    }
}

/// As many as fit into a file, of everything that there may be several of.
#[test]
fn very_many_of_a_thing_are_refused_in_few_words() {
    let disks = list(30_000, |i| format!("{{device: vd{i}, sizeGB: 1}}"));
    let interfaces = SMALL.replace("[{network: default}]", &list(60_000, |_| "{network: n}".to_owned()));
    let keys = list(90_000, |i| format!("k{i}"));
    let labels: String = (0..60_000).map(|i| format!("k{i}: v, ")).collect();
    for (text, why) in [
        (with(&format!("dataDisks: {disks}")), "spec.dataDisks[0].device"),
        (with(&format!("dataDisks: {}", list(200_000, |_| "{}".to_owned()))), "spec.dataDisks[0].device"),
        (interfaces, "spec.networkInterfaces: has 60000 interfaces; the maximum is 64"),
        (with(&format!("cloudInit: {{sshAuthorizedKeys: {keys}}}")), "spec.cloudInit.sshAuthorizedKeys[0]"),
        (
            SMALL.replace("{name: small}", &format!("{{name: small, labels: {{{labels}}}}}")),
            "metadata.labels",
        ),
        ([SMALL; 3000].join("---"), "small"),
        (vec![SMALL.replace("vcpus: 1", "vcpus: 0"); 3000].join("---"), "spec.vcpus"),
    ] {
        assert_refused(&of_text(&text), 2, why);
    }
}

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    format!("[{}]", (0..count).map(item).collect::<Vec<_>>().join(","))
}

#[test]
fn enormous_numbers_and_names_are_wrong_values() {
    for (wrong, why) in [
        (SMALL.replace("vcpus: 1", "vcpus: 18446744073709551616"), "spec.vcpus"),
        (SMALL.replace("vcpus: 1", "vcpus: 1e308"), "spec.vcpus"),
        (SMALL.replace("vcpus: 1", &format!("vcpus: {}", "9".repeat(500_000))), "spec.vcpus"),
        (SMALL.replace("vcpus: 1", "vcpus: -.inf"), "spec.vcpus"),
        (SMALL.replace("sizeGB: 1", "sizeGB: 9223372036854775807"), "spec.bootDisk.sizeGB"),
        (SMALL.replace("name: small", &format!("name: {}", "a".repeat(900_000))), "metadata.name"),
        (SMALL.replace("memoryGiB: 0.5", "memoryGiB: 1e308"), "spec.memoryGiB"),
        (with(&format!("storagePool: {}", "a".repeat(900_000))), "spec.storagePool"),
    ] {
        assert_refused(&of_text(&wrong), 2, why);
    }
}
