//! Merges the user's cloud-config into the generated one.
//!
//! Mappings merge key by key; where both have a single value, the user's wins; lists are the generated
//! entries, then those of the user's that are not among them. Entries of lists of users are told apart by
//! their `name` and merge like mappings. To merge a second time changes nothing, which matters because
//! `get --with-secrets` returns the merged text as `userData`.

use crate::yaml::node::{NodeContent, Mapping, Node};

/// The paths of lists whose entries are known by their `name`.
const LISTS_BY_NAME: [&[&str]; 2] = [&["users"], &["chpasswd", "users"]];

/// Merges the user's cloud-config into the generated one.
pub(super) fn merged(generated: &Mapping, user: &Mapping) -> Mapping {
    mappings(generated, user, &mut Vec::new())
}

fn mappings(ours: &Mapping, theirs: &Mapping, path: &mut Vec<String>) -> Mapping {
    let mut result = ours.clone();
    for (key, value) in theirs.iter() {
        path.push(key.text().to_owned());
        let both = ours.value(key).map(|own| nodes(own, value, path));
        path.pop();
        result.set(key.clone(), both.unwrap_or_else(|| value.clone()));
    }
    result
}

fn nodes(ours: &Node, theirs: &Node, path: &mut Vec<String>) -> Node {
    match (ours.content(), theirs.content()) {
        (NodeContent::Mapping(a), NodeContent::Mapping(b)) => mappings(a, b, path).into(),
        (NodeContent::Sequence(a), NodeContent::Sequence(b)) if is_by_name(path) => Node::sequence(by_name(a, b)),
        (NodeContent::Sequence(a), NodeContent::Sequence(b)) => Node::sequence(joined(a, b)),
        _ => theirs.clone(),
    }
}

fn is_by_name(path: &[String]) -> bool {
    LISTS_BY_NAME.iter().any(|known| path == *known)
}

fn joined(ours: &[Node], theirs: &[Node]) -> Vec<Node> {
    ours.iter().chain(theirs.iter().filter(|item| !ours.contains(item))).cloned().collect()
}

/// All of the user's entries with the name of a generated one become one with it; the others follow.
fn by_name(ours: &[Node], theirs: &[Node]) -> Vec<Node> {
    let mut result: Vec<Node> = ours.iter().map(|own| with_namesakes(own, theirs)).collect();
    let names: Vec<&Node> = ours.iter().filter_map(name).collect();
    let others = theirs.iter().filter(|t| !name(t).is_some_and(|n| names.contains(&n)) && !ours.contains(t));
    result.extend(others.cloned());
    result
}

/// The user's namesakes are merged with each other first: a second merge sees only their union.
fn with_namesakes(own: &Node, theirs: &[Node]) -> Node {
    let namesakes = theirs.iter().filter(|t| name(t).is_some() && name(t) == name(own));
    match namesakes.cloned().reduce(|a, b| nodes(&a, &b, &mut Vec::new())) {
        Some(theirs) => nodes(own, &theirs, &mut Vec::new()),
        None => own.clone(),
    }
}

fn name(node: &Node) -> Option<&Node> {
    node.get("name")
}
