//! Who imports whom in `src/`: the crates in one direction, no circle of files, and each thing in its one place.
//!
//! The head of a folder (`mod.rs`, `lib.rs`) declares what its files share, and so do its files use it: that pair is one
//! unit. Any other two files that import each other, directly or over others, are a circle, in which none can be read
//! or changed alone. A name that a folder only passes on (`pub use`) counts as an import of the file that defines it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::sources::{files_below, is_at, without_tests};

/// Each crate with those below it.
const CRATES: [(&str, &[&str]); 11] = [
    ("core", &[]),
    ("fetch", &["core"]),
    ("host", &["core", "fetch"]),
    ("runner", &["core"]),
    ("engine", &["core", "fetch", "host", "runner"]),
    ("forge", &["core", "runner"]),
    ("jobs", &["core", "runner"]),
    ("listen", &["core", "runner", "jobs"]),
    ("garm", &["core"]),
    ("gitlab", &["core", "host", "engine"]),
    ("cli", &["core", "fetch", "host", "runner", "engine", "forge", "jobs", "listen", "garm", "gitlab"]),
];

/// A file by its modules: `src/engine/vm/create.rs` is `["vm", "create"]` of its crate.
type Module = Vec<String>;

/// One file of a crate.
#[derive(Default)]
struct File {
    /// Paths that it names, of imports and in its text.
    uses: BTreeSet<Vec<String>>,
    /// Names that it passes on, with where it has them from.
    passes_on: BTreeMap<String, Vec<String>>,
}

#[test]
fn no_circle_of_files() {
    let mut circles = Vec::new();
    for (name, _) in CRATES {
        let files = files_of(&source().join(name));
        assert!(files.len() > 5, "{name} has {} files only: is this its folder?", files.len());
        let graph = graph(&files);
        circles
            .extend(circles_of(&graph).into_iter().map(|circle| format!("{name}: {}", circle.join(" -> "))));
    }
    assert!(circles.is_empty(), "files that import each other:\n{}", circles.join("\n"));
}

#[test]
fn each_type_has_a_name_of_its_own() {
    let mut files_by_type: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in files_below(&source(), "rs") {
        let text = fs::read_to_string(&path).unwrap();
        for name in without_tests(&text).lines().filter_map(declared_type) {
            files_by_type.entry(name.to_owned()).or_default().push(path.display().to_string());
        }
    }
    assert!(files_by_type.len() > 500, "{} types", files_by_type.len());
    files_by_type.retain(|_, files| files.len() > 1);
    assert!(files_by_type.is_empty(), "one name, several types: {files_by_type:#?}");
}

/// The name of the type that a line declares at the top of a file.
fn declared_type(line: &str) -> Option<&str> {
    let line = match line.strip_prefix("pub") {
        Some(rest) => rest.split_once(' ')?.1,
        None => line,
    };
    let (kind, rest) = line.split_once(' ')?;
    let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
    ["struct", "enum", "trait", "type"].contains(&kind).then_some(&rest[..end])
}

#[test]
fn a_circle_of_two_is_seen() {
    let text = |text: &str| parsed(text, &[]);
    let mut files = BTreeMap::new();
    files.insert(module("a"), text("use super::b::Thing;\nfn one() {}"));
    files.insert(module("b"), text("use crate::c;\npub struct Thing;\nfn two() { c::three() }"));
    files.insert(module("c"), text("pub fn three() {}"));
    files.insert(Vec::new(), text("mod a; mod b; mod c;\npub use c::three;"));
    assert!(circles_of(&graph(&files)).is_empty());
    files.insert(module("c"), text("use super::a::one;\npub fn three() {}"));
    assert_eq!(circles_of(&graph(&files)), [["a", "b", "c"]]);
    // A name that the head of the folder passes on is its file's.
    files.insert(module("c"), text("use crate::Thing;\npub fn three() {}"));
    files.insert(Vec::new(), text("mod a; mod b; mod c;\npub use b::Thing;"));
    assert_eq!(circles_of(&graph(&files)), [["b", "c"]]);
}

#[test]
fn crates_depend_downwards() {
    for (name, below) in CRATES {
        for (path, text) in texts(&source().join(name)) {
            for (other, _) in CRATES {
                let is_named = text.contains(&format!("foundry_{other}"));
                assert!(
                    !is_named || other == name || below.contains(&other),
                    "{}: foundry_{other} is above {name}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn bindings_and_the_terminal_have_one_place() {
    for (path, text) in texts(&source()) {
        let at = path.strip_prefix(source()).unwrap().to_string_lossy().into_owned();
        let code = without_comments(&text);
        let is_in = |place: &str| at.starts_with(place);
        let names = |word: &str| code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word);
        let is_path = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let has_bindings = code.match_indices("virt::").any(|(at, _)| is_path(at));
        assert!(!has_bindings || is_in("host/libvirt/"), "{at} names the bindings of libvirt");
        assert!(!names("unsafe") || is_in("host/libvirt/"), "{at} has unsafe code");
        assert!(!names("clap") || is_in("cli/"), "{at} names the command line");
        let prints =
            ["println", "eprintln", "print", "eprint"].iter().any(|word| code.contains(&format!("{word}!(")));
        assert!(!prints, "{at} prints by itself: cli/ui.rs does that");
        let waits = is_in("engine/") && code.contains("clock.sleep(") && at != "engine/poll.rs";
        assert!(!waits, "{at} has a waiting loop of its own: engine/poll.rs has the only one");
    }
}

/// The files besides those of the command line that read variables.
const READ_VARIABLES: [&str; 3] = [
    "host/local/directories.rs",
    // Proxies are given in variables, to curl(1) too; fetch knows no host.
    "fetch/transfer/http/proxy.rs",
    // qemu-img is looked for in PATH.
    "fetch/convert/sandbox.rs",
];

/// Literals that begin so are paths of this machine's kernel and accounts, from `/` or from another root.
const OF_THIS_MACHINE: [&str; 10] = [
    "\"/proc\"",
    "\"/proc/",
    "\"proc/",
    "\"/sys\"",
    "\"/sys/",
    "\"sys/",
    "\"/etc/passwd\"",
    "\"etc/passwd\"",
    "\"/etc/group\"",
    "\"etc/group\"",
];

#[test]
fn this_machine_has_one_place() {
    for (path, text) in texts(&source()) {
        let at = path.strip_prefix(source()).unwrap().to_string_lossy().into_owned();
        let code = without_comments(&text);
        let first_of = |words: &[&'static str]| words.iter().copied().find(|word| code.contains(word));
        let reads = first_of(&["env::var", "env::temp_dir", "env::home_dir"]).is_some();
        let may_read = at.starts_with("cli/") || READ_VARIABLES.contains(&at.as_str());
        assert!(!reads || may_read, "{at} reads the environment: host/local/directories.rs does that");
        let is_checked = at.starts_with("engine/") || at.starts_with("host/");
        let is_exempt = ["host/local/", "host/memory/"].iter().any(|place| at.starts_with(place))
            // A list of virt-aa-helper's: paths are compared with it.
            || at == "engine/doctor/confinement.rs";
        let found = first_of(&OF_THIS_MACHINE);
        assert!(
            !is_checked || is_exempt || found.is_none(),
            "{at} has {found:?}: host/local reads this machine"
        );
    }
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn module(name: &str) -> Module {
    vec![name.to_owned()]
}

/// Files of Rust below a folder, without tests of their own.
fn texts(folder: &Path) -> Vec<(PathBuf, String)> {
    let sources = files_below(folder, "rs")
        .into_iter()
        .filter(|path| !is_at(path, &["tests", "tests.rs", "domain_tests.rs"]));
    sources
        .map(|path| (path.clone(), without_tests(&fs::read_to_string(&path).unwrap()).to_owned()))
        .collect()
}

fn files_of(folder: &Path) -> BTreeMap<Module, File> {
    let named: Vec<(Module, String)> = texts(folder)
        .into_iter()
        .filter(|(path, _)| !path.ends_with("main.rs"))
        .map(|(path, text)| (module_of(path.strip_prefix(folder).unwrap()), text))
        .collect();
    let parents: Vec<Module> = named.iter().map(|(module, _)| module.clone()).collect();
    let children = |of: &Module| -> Vec<String> {
        let is_child = |m: &&Module| m.len() == of.len() + 1 && m.starts_with(of);
        parents.iter().filter(is_child).filter_map(|m| m.last().cloned()).collect()
    };
    named.iter().map(|(module, text)| (module.clone(), parsed(text, &children(module)))).collect()
}

fn module_of(path: &Path) -> Module {
    let mut parts: Module =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    parts
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// What a file imports, passes on, and names by a path.
fn parsed(text: &str, children: &[String]) -> File {
    let text = without_comments(text);
    let mut file = File::default();
    let mut local: BTreeMap<String, Vec<String>> =
        children.iter().map(|child| (child.clone(), vec!["self".to_owned(), child.clone()])).collect();
    let mut rest = String::new();
    for statement in text.split_inclusive(';') {
        let Some((is_public, tree)) = import_of(statement) else {
            rest.push_str(statement);
            continue;
        };
        for (path, name) in leaves(tree, &[]) {
            local.insert(name.clone(), path.clone());
            if is_public {
                file.passes_on.insert(name, path);
            } else {
                file.uses.insert(path);
            }
        }
    }
    for path in rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        let parts: Vec<String> = path.split("::").map(str::to_owned).collect();
        if parts.len() < 2 || parts[0].is_empty() {
            continue;
        }
        match local.get(&parts[0]) {
            _ if matches!(parts[0].as_str(), "crate" | "super" | "self") => _ = file.uses.insert(parts),
            Some(from) => _ = file.uses.insert([from.as_slice(), &parts[1..]].concat()),
            None => {}
        }
    }
    file
}

/// The tree of a `use`, and whether others see its names.
fn import_of(statement: &str) -> Option<(bool, &str)> {
    let at = statement.rfind("\nuse ").or_else(|| statement.starts_with("use ").then_some(0));
    let public = statement.rfind("pub use ").or_else(|| statement.rfind(") use "));
    let (start, is_public) = match (at, public) {
        (_, Some(start)) => (start, true),
        (Some(start), None) => (start, false),
        (None, None) => return None,
    };
    let tree = statement[start..].split_once("use ")?.1.trim_end_matches(';');
    Some((is_public, tree))
}

/// `a::{b, c as d}` is `a::b` by the name of `b` and `a::c` by that of `d`.
fn leaves(tree: &str, before: &[String]) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    for branch in branches(tree) {
        let parts = |text: &str| -> Vec<String> {
            text.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        if let Some((head, group)) = branch.split_once('{') {
            let before = [before, &parts(head)].concat();
            found.extend(leaves(group.trim_end().trim_end_matches('}'), &before));
            continue;
        }
        let (path, name) =
            branch.split_once(" as ").map_or((branch.as_str(), None), |(p, n)| (p, Some(n.trim())));
        let mut path = [before, &parts(path)].concat();
        path.pop_if(|last| last == "self" && !before.is_empty());
        let name = name.map(str::to_owned).or_else(|| path.last().cloned());
        found.extend(name.map(|name| (path, name)));
    }
    found
}

/// The parts between commas that are in no braces.
fn branches(tree: &str) -> Vec<String> {
    let mut depth = 0;
    let mut parts = vec![String::new()];
    for c in tree.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Each file with those whose items it uses; the heads of its own folders left out.
fn graph(files: &BTreeMap<Module, File>) -> BTreeMap<Module, BTreeSet<Module>> {
    let used = |module: &Module, file: &File| -> BTreeSet<Module> {
        let defining = file.uses.iter().filter_map(|path| definer(files, module, path, 8));
        defining.filter(|other| other != module && !module.starts_with(other)).collect()
    };
    files.iter().map(|(module, file)| (module.clone(), used(module, file))).collect()
}

/// The file that defines what a path in a file leads to. A path to a module alone uses nothing of it yet.
fn definer(files: &BTreeMap<Module, File>, from: &Module, path: &[String], depth: usize) -> Option<Module> {
    let absolute = absolute(files, from, path)?;
    let file =
        (0..=absolute.len()).rev().map(|n| absolute[..n].to_vec()).find(|part| files.contains_key(part))?;
    let name = absolute.get(file.len())?;
    match files[&file].passes_on.get(name) {
        Some(further) if depth > 0 => {
            let further = [further.as_slice(), &absolute[file.len() + 1..]].concat();
            definer(files, &file, &further, depth - 1)
        }
        _ => Some(file),
    }
}

fn absolute(files: &BTreeMap<Module, File>, from: &Module, path: &[String]) -> Option<Vec<String>> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([from.as_slice(), &path[1..]].concat()),
        "super" => Some([&from[..from.len().checked_sub(ups)?], &path[ups..]].concat()),
        first => {
            let child = [from.as_slice(), &[first.to_owned()]].concat();
            files.contains_key(&child).then(|| [from.as_slice(), path].concat())
        }
    }
}

/// Sets of files in which each leads to each other one.
fn circles_of(graph: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<Vec<String>> {
    let reach: BTreeMap<&Module, BTreeSet<&Module>> =
        graph.keys().map(|from| (from, reached(graph, from))).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for (from, to) in &reach {
        if !to.contains(from) || !seen.insert(*from) {
            continue;
        }
        let circle: Vec<&Module> = to.iter().copied().filter(|other| reach[other].contains(from)).collect();
        seen.extend(&circle);
        circles.push(circle.iter().map(|module| module.join("::")).collect());
    }
    circles
}

fn reached<'a>(graph: &'a BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&Module> = graph[from].iter().collect();
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(graph.get(next).into_iter().flatten());
        }
    }
    found
}

/// Advice is data below the command line, and in it only `words` knows how a command is typed. Examples in the help stand
/// in the attributes of the arguments.
#[test]
fn commands_are_typed_in_words_only() {
    let names: Vec<String> = foundry::command()
        .get_subcommands()
        .map(|command| format!("foundry {}", command.get_name()))
        .collect();
    for (name, _) in CRATES {
        for (path, text) in texts(&source().join(name)) {
            if path.starts_with(source().join("cli/words")) {
                continue;
            }
            for line in without_attributes(&without_comments(&text)).lines() {
                let typed = names.iter().find(|name| {
                    line.split_once(name.as_str())
                        .is_some_and(|(_, rest)| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
                });
                assert!(typed.is_none(), "{}: {line}", path.display());
            }
        }
    }
}

/// The text without attributes of clap, which may have several lines.
fn without_attributes(text: &str) -> String {
    let mut rest = text;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once("#[command(") {
        kept.push_str(before);
        rest = after.split_once(")]").map_or("", |(_, rest)| rest);
    }
    kept + rest
}
