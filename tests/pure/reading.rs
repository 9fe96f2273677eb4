//! How manifests are read: what is taken, under which names files appear, what is bounded.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use crate::support::cpu;
use foundry::manifest::{LoadError, MAX_BYTES, Number, VirtualMachine, load_file, load_from, load_text};

const HEADER: &str = "apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\n";

fn one(body: &str) -> VirtualMachine {
    let text = format!("{HEADER}{body}");
    load_text(&text, "vm.yaml").unwrap_or_else(|e| panic!("{e}")).pop().unwrap()
}

fn refusal(text: &str) -> String {
    load_text(text, "vm.yaml").unwrap_err().to_string()
}

#[test]
fn text_fields_keep_the_spelling() {
    let vm =
        one("metadata: {name: 007, labels: {version: 1.10, on: yes, hex: 0x1F, quoted: 'true', none: ''}}");
    assert_eq!(vm.metadata.name.as_deref(), Some("007"));
    let labels: Vec<(&str, &str)> =
        vm.metadata.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let expected = [("hex", "0x1F"), ("none", ""), ("on", "yes"), ("quoted", "true"), ("version", "1.10")];
    assert_eq!(labels, expected);
    assert_eq!(one("metadata: {name: !!str true}").metadata.name.as_deref(), Some("true"));
}

#[test]
fn numbers_are_read_whatever_their_size() {
    let number = |text: &str| one(&format!("spec: {{vcpus: {text}}}")).spec.vcpus.unwrap();
    assert_eq!(number("4"), Number::Whole(4));
    assert_eq!(number("-4"), Number::Whole(-4));
    assert_eq!(number("0.5"), Number::Real(0.5));
    assert_eq!(number("0x10"), Number::Whole(16));
    assert_eq!(number("99999999999999999999"), Number::Real(1e20));
    assert_eq!(number("-.inf"), Number::Real(f64::NEG_INFINITY));
}

#[test]
fn null_is_as_good_as_not_there() {
    let vm = one(
        "metadata:\nspec:\n  vcpus:\n  dataDisks: ~\n  autostart: null\n  bootDisk:\n  networkInterfaces:\n  cloudInit:\n    userData:\n",
    );
    assert_eq!(vm.metadata, one("").metadata);
    let mut expected = one("spec: {}");
    expected.spec.cloud_init = Some(foundry::manifest::CloudInit::default());
    assert_eq!(vm, expected);
}

#[test]
fn what_foundry_printed_can_be_read_again() {
    let vm =
        one("metadata: {name: web, uid: 2f1c, generation: 3, creationTimestamp: '2026-01-01T00:00:00Z'}\n\
         status: {phase: Running, whatever: [1, {a: b}], tagged: !x y}\n");
    assert_eq!(vm.status, None);
    assert_eq!((vm.metadata.uid.as_deref(), vm.metadata.generation), (Some("2f1c"), Some(3)));
    let written = foundry::yaml::write(&vm).unwrap();
    assert_eq!(load_text(&written, "again").unwrap(), [vm]);
}

#[test]
fn documents_are_read_in_order_and_empty_ones_passed_over() {
    let document = |name: &str| format!("{HEADER}metadata: {{name: {name}}}\n");
    let text =
        format!("# two\n---\n---\n{}---\n# nothing\n---\n{}...\n---\n~\n", document("a1"), document("b1"));
    let names: Vec<_> =
        load_text(&text, "vm.yaml").unwrap().into_iter().map(|vm| vm.metadata.name.unwrap()).collect();
    assert_eq!(names, ["a1", "b1"]);
    assert_eq!(refusal(""), "vm.yaml: contains no manifest");
}

#[test]
fn a_document_is_counted_as_it_is_separated() {
    let text = format!("{HEADER}---\n---\n{HEADER}spek: 1\n");
    assert_eq!(refusal(&text), "vm.yaml:7:1: document 3: spek: unknown field; did you mean 'spec'?");
    // One VM behind an empty document is not "document 2" to anybody.
    assert_eq!(
        refusal(&format!("---\n---\n{HEADER}spek: 1\n")),
        "vm.yaml:5:1: spek: unknown field; did you mean 'spec'?"
    );
}

#[test]
fn anchors_and_merge_keys_are_applied() {
    let vm = one(
        "spec:\n  dataDisks:\n    - &disk {device: vdb, sizeGB: 10}\n    - {<<: *disk, device: vdc}\n    \
         - {<<: [{device: vdd}, *disk]}\n",
    );
    let disks: Vec<_> =
        vm.spec.data_disks.into_iter().map(|d| (d.device.unwrap(), d.size_gb.unwrap())).collect();
    let ten = Number::Whole(10);
    assert_eq!(disks, [("vdb".into(), ten), ("vdc".into(), ten), ("vdd".into(), ten)]);
    // A quoted one is a key like any other.
    assert_eq!(refusal(&format!("{HEADER}spec: {{'<<': {{}}}}\n")).matches("unknown field").count(), 1);
}

#[test]
fn user_data_may_be_text_or_a_mapping() {
    let user_data = |body: &str| {
        one(&format!("spec:\n  cloudInit:\n    userData:{body}")).spec.cloud_init.unwrap().user_data
    };
    assert_eq!(user_data(" |\n      packages: [git]\n").as_deref(), Some("packages: [git]\n"));
    let written = user_data("\n      mode: 0755\n      on: [yes, 'yes', 2024-01-01]\n      n: ~\n").unwrap();
    for part in ["mode: 0755\n", "\non:\n", "- yes\n", "- \"yes\"\n", "- 2024-01-01\n", "n: ~\n"] {
        assert!(written.contains(part), "{part:?} is not in {written:?}");
    }
}

#[test]
fn each_document_gets_its_own_user_data() {
    let document =
        |package: &str| format!("{HEADER}spec: {{cloudInit: {{userData: {{packages: [{package}]}}}}}}\n");
    let text = format!("---\n{}---\n# empty\n---\n{}", document("git"), document("vim"));
    let vms = load_text(&text, "vm.yaml").unwrap();
    let texts: Vec<_> = vms.into_iter().map(|vm| vm.spec.cloud_init.unwrap().user_data.unwrap()).collect();
    assert!(texts[0].contains("git") && !texts[0].contains("vim"), "{texts:?}");
    assert!(texts[1].contains("vim") && !texts[1].contains("git"), "{texts:?}");
}

#[test]
fn aliases_reach_into_user_data() {
    let vm = one(
        "metadata: {labels: {zone: &zone Europe/Berlin}}\nspec: {cloudInit: {userData: {timezone: *zone}}}\n",
    );
    assert_eq!(vm.spec.cloud_init.unwrap().user_data.as_deref(), Some("timezone: Europe/Berlin\n"));
}

#[test]
fn byte_order_mark_and_windows_line_ends_are_taken() {
    let text = format!("\u{feff}{HEADER}metadata:\n  name: web\n").replace('\n', "\r\n");
    assert_eq!(load_text(&text, "vm.yaml").unwrap()[0].metadata.name.as_deref(), Some("web"));
    let broken = format!("\u{feff}{HEADER}spek: 1\n").replace('\n', "\r\n");
    assert!(refusal(&broken).starts_with("vm.yaml:3:1: spek"), "{}", refusal(&broken));
    assert!(refusal("\u{feff}kind: [\n").starts_with("vm.yaml:1:7"), "{}", refusal("\u{feff}kind: [\n"));
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let said = |path: &str| load_file(Path::new(path)).unwrap_err().to_string();
    assert_eq!(said("tests/no-such.yaml"), "cannot read tests/no-such.yaml: no such file");
    assert_eq!(said("tests"), "cannot read tests: it is a directory");
}

#[test]
fn streams_that_cannot_be_read_are_named() {
    struct Broken(io::ErrorKind);
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
    }
    let said = |kind| load_from(Broken(kind), "standard input").unwrap_err().to_string();
    assert_eq!(said(io::ErrorKind::PermissionDenied), "cannot read standard input: permission denied");
    assert_eq!(said(io::ErrorKind::BrokenPipe), "cannot read standard input: broken pipe");
}

#[test]
fn bytes_that_are_not_text_are_refused_with_their_line() {
    let error = load_from(&b"kind: x\nname: \xff\n"[..], "vm.yaml").unwrap_err();
    assert_eq!(error.to_string(), "vm.yaml: not UTF-8 text (line 2, byte 15)");
    assert!(matches!(error, LoadError::NotAManifest { at: None, .. }));
}

#[test]
fn no_more_is_read_than_a_manifest_can_be() {
    let mut taken = 0;
    struct Endless<'a>(&'a mut usize);
    impl Read for Endless<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(b' ');
            *self.0 += buffer.len();
            Ok(buffer.len())
        }
    }
    let error = load_from(Endless(&mut taken), "-").unwrap_err();
    assert_eq!(error.to_string(), "-: larger than 1048576 bytes, the limit for a manifest");
    assert!(taken < 2 * MAX_BYTES + 64 * 1024, "{taken}");
    let largest = format!("{HEADER}#{}", " ".repeat(MAX_BYTES - HEADER.len() - 1));
    assert_eq!(load_text(&largest, "vm.yaml").unwrap().len(), 1);
    assert!(refusal(&format!("{largest} ")).contains("larger than"));
}

/// Texts of the largest size, each a way to make a reader slow or deep.
#[test]
fn the_largest_hostile_text_is_done_with_soon() {
    let patterns = [
        "[",
        "{",
        "- ",
        "? ",
        "a: ",
        "&a ",
        "*a ",
        "!",
        "!!x ",
        "'",
        "\"",
        "|\n",
        "#",
        "\t",
        "%",
        "---\n",
        "- - ",
        "<<: ",
        "{a: ",
        "[[],",
        "a: b\n",
        "- a\n",
        "\\",
        ": ",
        ",",
        "@",
        "- &a x\n",
        "x",
        "é",
        "[a, ",
        "\n",
        "- |\n  x\n",
    ];
    for pattern in patterns {
        for head in ["", HEADER, "[", "\""] {
            let text = format!("{head}{}", pattern.repeat((MAX_BYTES - head.len()) / pattern.len()));
            timed(&format!("{head:?} {pattern:?}"), &text);
        }
    }
    let keys: String = (0..60_000).map(|i| format!("key{i}: {i}\n")).collect();
    timed("many keys", &keys);
    let anchors: String = (0..40_000).map(|i| format!("- &a{i} x\n- *a{i}\n")).collect();
    timed("many anchors", &anchors);
    let lists = format!("- &a [{}]\n{}", "x,".repeat(200_000), "- *a\n".repeat(100_000));
    timed("one long alias", &lists);
    let merged: String = (0..20_000).map(|_| "- {<<: *m}\n").collect();
    timed(
        "many merges",
        &format!("- &m {{{}}}\n{merged}", (0..1000).map(|i| format!("k{i}: 1, ")).collect::<String>()),
    );
    let user_data = format!(
        "{HEADER}spec: {{cloudInit: {{userData: {{a: &a [{}], b: [{}]}}}}}}",
        "x,".repeat(9_000),
        "*a,".repeat(1000)
    );
    timed("aliases in user data", &user_data);
}

fn timed(what: &str, text: &str) {
    // Whether it is a manifest does not matter here; most are not.
    let (_, took) = cpu::time(|| load_text(text, "vm.yaml"));
    assert!(took < Duration::from_secs(5), "{what} took {took:?}");
}
