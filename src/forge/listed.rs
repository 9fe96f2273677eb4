//! A runner in a list of a forge, as JSON.

use foundry_runner::Registration;
use serde::Deserialize;
use serde_json::Value;

/// A runner as `command` prints it, and as forges list it. Ids of GitHub, Gitea and Forgejo are numbers. They have `status`
/// in place of `online`: Forgejo says there, too, whether it works (`active`). Labels of GitHub and Gitea are objects.
/// Forgejo knows a new runner's labels only when it has connected; foundry's own label is its description.
#[derive(Debug, Deserialize)]
pub(crate) struct ListedRunner {
    id: Value,
    name: String,
    #[serde(default)]
    online: Option<bool>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    busy: Option<bool>,
    #[serde(default)]
    labels: Option<Vec<Value>>,
    #[serde(default)]
    description: Option<String>,
}

impl ListedRunner {
    /// The registration; `None` if its id is neither a text nor a number.
    pub(crate) fn into_registration(self) -> Option<Registration> {
        let labels = self.labels.unwrap_or_default();
        let text = |label: &Value| label.as_str().or_else(|| label.get("name")?.as_str()).map(str::to_owned);
        let status = self.status.as_deref().unwrap_or_default();
        Some(Registration {
            id: id_text(&self.id)?,
            name: self.name,
            online: self.online.unwrap_or(["online", "idle", "active"].contains(&status)),
            busy: self.busy.unwrap_or(status == "active"),
            labels: labels.iter().filter_map(text).chain(self.description).collect(),
        })
    }
}

/// An id as text: letters, digits, `-`, `_` and `.` only, because it becomes part of a URL and of a command's environment.
pub(crate) fn id_text(id: &Value) -> Option<String> {
    let text =
        id.as_str().map_or_else(|| id.as_u64().map(|n| n.to_string()), |text| Some(text.to_owned()))?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (!text.is_empty() && text.chars().all(is_plain) && text.len() <= 200 && !text.starts_with('.'))
        .then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_forms_are_read() {
        let read = |value: Value| serde_json::from_value::<ListedRunner>(value).unwrap().into_registration();
        let own = read(json!({"id": "a-1", "name": "x", "online": true, "labels": ["l"]})).unwrap();
        assert_eq!(
            (own.id.as_str(), own.online, own.busy, own.labels),
            ("a-1", true, false, vec!["l".into()])
        );
        let github = json!({"id": 23, "name": "x", "os": "linux", "status": "online", "busy": true,
            "labels": [{"id": 1, "name": "l", "type": "custom"}], "runner_group_id": 1, "ephemeral": true});
        let github = read(github).unwrap();
        assert_eq!((github.id.as_str(), github.online, github.busy), ("23", true, true));
        assert_eq!(github.labels, ["l"]);
        let forgejo = json!({"id": 5, "uuid": "u", "name": "x", "version": "", "owner_id": 0, "repo_id": 0,
            "description": "foundry-here", "labels": null, "status": "active", "ephemeral": true});
        let forgejo = read(forgejo).unwrap();
        assert_eq!((forgejo.id.as_str(), forgejo.online, forgejo.busy), ("5", true, true));
        assert_eq!(forgejo.labels, ["foundry-here"]);
        for (status, online) in [("idle", true), ("offline", false), ("", false)] {
            let read = read(json!({"id": 5, "name": "x", "status": status})).unwrap();
            assert_eq!((read.online, read.busy), (online, false), "{status}");
        }
        for id in [json!("../x"), json!(""), json!(null), json!(-1), json!("a b"), json!("..")] {
            assert_eq!(read(json!({"id": id, "name": "x", "labels": null})), None);
        }
    }
}
