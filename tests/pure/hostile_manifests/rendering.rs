//! Very many hostile manifests on their way from text to what libvirt and cloud-init are told.
//!
//! Each is refused with a message that names the place, or rendered so that XML and YAML have the shape that they have
//! with harmless words, and every word is where it belongs. `FOUNDRY_TEST_SEED` chooses others than the usual ones.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::support::deadline::{ChildInTime as _, CommandInTime as _};
use foundry::domain_xml::check_patch;
use foundry::manifest::{LoadError, load_text};
use foundry::plan::VmPlan;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::{Value, json};

use super::slots::{Found, Slot, TEMPLATES, cloud_config, slots, template};
use crate::support::manifests::{defaults, yaml_files};
use crate::support::rendered::{check, check_image, rendered, shape};
use crate::support::stray::is_stray;
use crate::support::words::{hostile, yaml_piece};

/// How many run at once.
const SHARDS: u32 = 2;

/// What a run has shown.
#[derive(Default)]
struct Seen {
    refused: usize,
    rendered: usize,
    /// What PyYAML is to make of each user-data.
    configs: BTreeMap<String, Value>,
}

impl Seen {
    /// A property would prove nothing if nearly all were refused, or none.
    fn assert_both(&self) {
        let few = (self.refused + self.rendered) / 20;
        assert!(
            self.refused > few && self.rendered > few,
            "{} refused, {} rendered",
            self.refused,
            self.rendered
        );
        println!("{} refused, {} rendered", self.refused, self.rendered);
    }
}

/// Runs a property on many cases, in several threads, each with its own part of the seed.
fn many<S: Strategy>(cases: u32, strategy: impl Fn() -> S + Sync, property: impl Fn(S::Value) + Sync) {
    let (cases, seed) = (cases / SHARDS, seed());
    std::thread::scope(|scope| {
        for shard in 0..u64::from(SHARDS) {
            let (strategy, property) = (&strategy, &property);
            scope.spawn(move || {
                let config = ProptestConfig {
                    cases,
                    failure_persistence: None,
                    rng_seed: RngSeed::Fixed(seed.wrapping_mul(1000) + shard),
                    max_shrink_iters: 10_000,
                    ..ProptestConfig::default()
                };
                let test = |case| {
                    property(case);
                    Ok(())
                };
                let outcome = TestRunner::new(config).run(&strategy(), test);
                outcome.unwrap_or_else(|e| panic!("FOUNDRY_TEST_SEED={seed}, shard {shard}: {e}"));
            });
        }
    });
}

/// How many manifests are made: some thousands, or as many as are asked for (a stage of its own in scripts/test.sh).
fn cases() -> u32 {
    std::env::var("FOUNDRY_TEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(6_000)
}

/// The same manifests in each run, unless others are asked for.
fn seed() -> u64 {
    std::env::var("FOUNDRY_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4)
}

/// Reads and judges a text; what is refused must be refused well.
fn planned(text: &str) -> Vec<VmPlan> {
    let manifests = match load_text(text, "vm.yaml") {
        Ok(manifests) => manifests,
        Err(error) => {
            assert_points(&error);
            return Vec::new();
        }
    };
    let judged = manifests.iter().map(|manifest| {
        let plan = VmPlan::from_manifest(manifest, &defaults())?;
        // As the commands do: a damaged manifest may leave a patch without what it changes.
        check_patch(&plan).map(|()| plan)
    });
    let plan = |judged: Result<VmPlan, _>| judged.map_err(|problems| assert_readable(&problems)).ok();
    judged.filter_map(plan).collect()
}

/// A message that cannot talk to a terminal and that a person reads to its end.
fn assert_readable(message: &impl ToString) {
    let message = message.to_string();
    assert!(!message.contains(|c| is_stray(c) && c != '\n'), "{message:?}");
    assert!(message.len() < 32 << 10, "{} bytes: {message}", message.len());
}

fn assert_points(error: &LoadError) {
    assert_readable(error);
    if let LoadError::Several(errors) = error {
        assert!(errors.len() > 1, "{error}");
        return errors.iter().for_each(assert_points);
    }
    let LoadError::NotAManifest { at, message, .. } = error else { panic!("{error}") };
    assert!(at.is_some() || message == "contains no manifest", "{error}");
}

/// A manifest with hostile words in some places.
fn filled(number: usize, words: &[(Index, String)]) -> (Value, Vec<&'static Slot>) {
    let mut manifest = template(number);
    let all: Vec<&Slot> = slots(number).collect();
    for (slot, word) in words {
        slot.get(&all).fill(&mut manifest, word);
    }
    (manifest, all)
}

fn text_of(manifest: &Value, as_json: bool) -> String {
    if as_json { manifest.to_string() } else { foundry::yaml::write(manifest).unwrap() }
}

#[test]
fn hostile_words_stay_words_in_their_places() {
    let harmless: Vec<Vec<String>> =
        (0..TEMPLATES).map(|number| shape(&domain_of(&template(number)))).collect();
    let seen = Mutex::new(Seen::default());
    let strategy = || (0..TEMPLATES, vec((any::<Index>(), hostile()), 1..4), any::<bool>());
    many(cases() / 10 * 7, strategy, |(number, words, as_json)| {
        let (manifest, slots) = filled(number, &words);
        let plans = planned(&text_of(&manifest, as_json));
        let Some(plan) = plans.first() else {
            seen.lock().unwrap().refused += 1;
            return;
        };
        let rendered = rendered(plan);
        check(plan, &rendered);
        assert_eq!(shape(&rendered.domain), harmless[number], "{}", rendered.domain);
        let found = Found::of(&manifest, &rendered);
        slots.iter().for_each(|slot| slot.check(&manifest, &found));
        let mut seen = seen.lock().unwrap();
        seen.rendered += 1;
        // It takes as long as all the rest, and knows nothing of words.
        if seen.rendered % 16 == 0 {
            check_image(&rendered);
        }
        if let (Some(config), Some(seed)) = (cloud_config(&manifest), rendered.seed) {
            seen.configs.insert(seed.user_data, config);
        }
    });
    let seen = seen.into_inner().unwrap();
    seen.assert_both();
    assert_read_by_python(&seen.configs);
}

fn domain_of(manifest: &Value) -> String {
    rendered(&planned(&manifest.to_string())[0]).domain
}

#[test]
fn damaged_texts_are_refused_or_harmless() {
    let examples: Vec<String> =
        yaml_files("examples").iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let templates = (0..TEMPLATES).map(|number| text_of(&template(number), false));
    let texts: Vec<String> = examples.into_iter().chain(templates).collect();
    let seen = Mutex::new(Seen::default());
    let strategy = || (any::<Index>(), vec((any::<Index>(), 0..6_usize, yaml_piece()), 1..3));
    many(cases() / 10 * 3, strategy, |(text, damages)| {
        let text = damages.iter().fold(text.get(&texts).clone(), damaged);
        let plans = planned(&text);
        plans.iter().for_each(|plan| check(plan, &rendered(plan)));
        let mut seen = seen.lock().unwrap();
        if plans.is_empty() { seen.refused += 1 } else { seen.rendered += 1 }
    });
    let seen = seen.into_inner().unwrap();
    seen.assert_both();
}

/// Puts a piece in place of some characters.
fn damaged(mut text: String, (at, length, piece): &(Index, usize, String)) -> String {
    let boundary = |at: usize| (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let begin = boundary(at.index(text.len() + 1));
    let end = boundary((begin + length).min(text.len()));
    text.replace_range(begin..end, piece);
    text
}

/// cloud-init's YAML reader makes of each user-data what its manifest meant.
fn assert_read_by_python(configs: &BTreeMap<String, Value>) {
    let Some(python) = python() else { return };
    let lines = configs.iter().map(|(yaml, value)| format!("{}\n", json!({ "yaml": yaml, "value": value })));
    let lines: Vec<String> = lines.collect();
    let parts: Vec<&[String]> = lines.chunks(lines.len().div_ceil(SHARDS as usize)).collect();
    std::thread::scope(|scope| {
        for part in parts {
            let python = &python;
            scope.spawn(move || assert_same(python, part));
        }
    });
}

fn assert_same(python: &PathBuf, lines: &[String]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/python/other_yaml.py");
    let mut command = Command::new(python);
    let mut child =
        command.args([script, "50"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = lines.concat();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output_in_time().unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\n", lines.len()));
}

/// The Python whose PyYAML is asked; fails where the environment is to have it.
fn python() -> Option<PathBuf> {
    let python = PathBuf::from(std::env::var_os("FOUNDRY_TEST_PYTHON").unwrap_or("/usr/bin/python3".into()));
    let has_yaml = Command::new(&python).args(["-c", "import yaml; yaml.CSafeLoader"]).output_in_time();
    if has_yaml.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    assert!(std::env::var("FOUNDRY_TEST_REQUIRE").as_deref() != Ok("1"), "no Python with PyYAML and libyaml");
    None
}
