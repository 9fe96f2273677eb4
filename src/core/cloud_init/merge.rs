//! Merges the user's cloud-config into the generated one.
//!
//! Mappings are merged key by key. For single values, the user's overrides the generated one. Lists contain the
//! generated entries, then the user's entries that are not among them. Entries of lists of users are identified by
//! their `name` and merged like mappings. Merging a second time changes nothing; this matters because `get
//! --with-secrets` returns the merged text as `userData`.

use crate::yaml::node::{Mapping, Node, NodeContent};

/// Paths of lists whose entries are identified by `name`.
const LISTS_BY_NAME: [&[&str]; 2] = [&["users"], &["chpasswd", "users"]];

/// Merges the user's cloud-config into the generated one.
pub(super) fn merge_configs(generated: &Mapping, user: &Mapping) -> Mapping {
    merge_mappings(generated, user, &mut Vec::new())
}

fn merge_mappings(ours: &Mapping, theirs: &Mapping, path: &mut Vec<String>) -> Mapping {
    let mut result = ours.clone();
    for (key, value) in theirs.iter() {
        path.push(key.text().to_owned());
        let both = ours.value_of_key(key).map(|own| merge_nodes(own, value, path));
        path.pop();
        result.insert(key.clone(), both.unwrap_or_else(|| value.clone()));
    }
    result
}

fn merge_nodes(ours: &Node, theirs: &Node, path: &mut Vec<String>) -> Node {
    match (ours.content(), theirs.content()) {
        (NodeContent::Mapping(a), NodeContent::Mapping(b)) => merge_mappings(a, b, path).into(),
        (NodeContent::Sequence(a), NodeContent::Sequence(b)) if is_by_name(path) => {
            Node::from_nodes(merge_by_name(a, b))
        }
        (NodeContent::Sequence(a), NodeContent::Sequence(b)) => Node::from_nodes(join_lists(a, b)),
        _ => theirs.clone(),
    }
}

fn is_by_name(path: &[String]) -> bool {
    LISTS_BY_NAME.iter().any(|known| path == *known)
}

fn join_lists(ours: &[Node], theirs: &[Node]) -> Vec<Node> {
    ours.iter().chain(theirs.iter().filter(|item| !ours.contains(item))).cloned().collect()
}

/// Merges lists by name. All entries of the user's with the name of a generated entry are merged with it; the others
/// follow.
fn merge_by_name(ours: &[Node], theirs: &[Node]) -> Vec<Node> {
    let mut result: Vec<Node> = ours.iter().map(|own| merge_namesakes(own, theirs)).collect();
    let names: Vec<&Node> = ours.iter().filter_map(entry_name).collect();
    let others =
        theirs.iter().filter(|t| !entry_name(t).is_some_and(|n| names.contains(&n)) && !ours.contains(t));
    result.extend(others.cloned());
    result
}

/// Merges an entry with the user's entries of the same name. Those are first merged with each other, because a second
/// merge would see only their union.
fn merge_namesakes(own: &Node, theirs: &[Node]) -> Node {
    let namesakes = theirs.iter().filter(|t| entry_name(t).is_some() && entry_name(t) == entry_name(own));
    // Without a path, so that lists inside an entry are joined and not merged by name.
    match namesakes.cloned().reduce(|a, b| merge_nodes(&a, &b, &mut Vec::new())) {
        Some(theirs) => merge_nodes(own, &theirs, &mut Vec::new()),
        None => own.clone(),
    }
}

fn entry_name(node: &Node) -> Option<&Node> {
    node.get("name")
}
