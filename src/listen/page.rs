//! The page that a browser shows: pools, runners and jobs. It is whole without scripts, and loads itself again.

use std::fmt::{self, Display, Write as _};

use foundry_core::error::Error;
use foundry_jobs::{JobDatabase, JobFilter, JobStatus, RunnerPoolStatus, RunnerStatus};

/// How many jobs are shown.
const JOBS: usize = 50;

/// The colours follow the browser's; a table that is wider than a phone scrolls by itself.
pub(crate) const STYLE: &str = include_str!("page.css");

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="10">
<title>Runners</title>
<link rel="stylesheet" href="/page.css">
</head>
<body>
<h1>Runners</h1>
"#;

/// A text of others in HTML: the five characters that mean something there are written as entities.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c if c.is_control() => f.write_char(' '),
            c => f.write_char(c),
        })
    }
}

/// Renders the page.
///
/// # Errors
/// If the database cannot be used.
pub(crate) fn render_page(database: &JobDatabase) -> Result<String, Error> {
    let pools = database.pool_statuses()?;
    let runners: Vec<RunnerStatus> =
        database.list_present_runners(None)?.into_iter().map(RunnerStatus::from).collect();
    let found = database.list_jobs(&JobFilter { limit: JOBS, ..JobFilter::default() })?;
    let jobs: Vec<JobStatus> = found.jobs.into_iter().map(JobStatus::from).collect();
    let mut page = HEAD.to_owned();
    // Writing into a text does not fail.
    let _ = write!(page, "{}{}{}", pool_table(&pools), runner_table(&runners), job_table(&jobs, found.total));
    page += "</body>\n</html>\n";
    Ok(page)
}

/// A table, or a sentence in its place; cells are HTML.
fn table(title: &str, headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut html = format!("<h2>{title}</h2>\n");
    if rows.is_empty() {
        return html + "<p>None.</p>\n";
    }
    let cells = |tag: &str, cells: &[String]| -> String {
        cells
            .iter()
            .map(|cell| if cell.starts_with("<td") { cell.clone() } else { format!("<{tag}>{cell}</{tag}>") })
            .collect()
    };
    let head: Vec<String> = headers.iter().map(|header| (*header).to_owned()).collect();
    let _ = writeln!(html, "<div><table>\n<tr>{}</tr>", cells("th", &head));
    for row in rows {
        let _ = writeln!(html, "<tr>{}</tr>", cells("td", row));
    }
    html + "</table></div>\n"
}

fn pool_table(pools: &[RunnerPoolStatus]) -> String {
    let rows: Vec<Vec<String>> = pools
        .iter()
        .map(|pool| {
            let counts = pool.runners.by_state().into_iter().map(|(_, count)| count.to_string());
            let trouble = pool.trouble.as_deref().unwrap_or_default();
            let mut row = vec![Escaped(&pool.name).to_string(), pool.mode.to_owned()];
            row.extend(counts);
            row.extend([pool.max.to_string(), pool.queued.to_string()]);
            row.push(format!("<td class=\"wide bad\">{}</td>", Escaped(trouble)));
            row
        })
        .collect();
    let headers =
        ["Pool", "Mode", "Starting", "Idle", "Busy", "Ending", "Failed", "Most", "Jobs that wait", "Trouble"];
    table("Pools", &headers, &rows)
}

fn runner_table(runners: &[RunnerStatus]) -> String {
    let row = |one: &RunnerStatus| {
        let reason = one.reason.as_deref().unwrap_or_default();
        [&one.name, &one.pool, &one.state, &one.since, reason].map(|text| Escaped(text).to_string()).to_vec()
    };
    let rows: Vec<Vec<String>> = runners.iter().map(row).collect();
    table("VMs", &["Name", "Pool", "State", "Since", "Reason"], &rows)
}

fn job_table(jobs: &[JobStatus], total: usize) -> String {
    let row = |job: &JobStatus| {
        let name = Escaped(&job.name);
        let link = if job.url.is_empty() {
            name.to_string()
        } else {
            format!("<a rel=\"noreferrer\" href=\"{}\">{name}</a>", Escaped(&job.url))
        };
        let result = job.result.as_deref().unwrap_or(job.state);
        let class = match result {
            "success" => "good",
            "failure" | "timed_out" | "lost" | "expired" => "bad",
            _ => "",
        };
        let text = |text: &str| Escaped(text).to_string();
        vec![
            link,
            text(&job.repository),
            text(job.pool.as_deref().unwrap_or_default()),
            format!("<td class=\"{class}\">{}</td>", Escaped(result)),
            text(job.runner.as_deref().unwrap_or_default()),
            text(&job.queued),
        ]
    };
    let rows: Vec<Vec<String>> = jobs.iter().map(row).collect();
    let title = if total > jobs.len() { format!("Jobs, the last {JOBS}") } else { "Jobs".to_owned() };
    table(&title, &["Job", "Repository", "Pool", "State", "VM", "Waits since"], &rows)
}
