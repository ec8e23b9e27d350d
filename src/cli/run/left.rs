//! What `run --once` adds to its result: what waits for a person, because it needs approval or is
//! paused, and the files that it did not take, and why.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::cli::{Failure, show};
use crate::model::{ActionState, Artifact, ArtifactState, NodeKind, Pause, RunState};
use crate::resource::{LeftOut, Waiting};
use crate::scheduler::View;
use crate::store::{ArtifactQuery, AwaitingApproval, PageRequest, RunQuery};

/// Most paths that a message names.
const MAX_NAMED: usize = 3;
/// Most files that a message counts, if each costs a look at a record or a folder.
const MAX_COUNTED: u32 = 100;

/// Describes the actions that wait for approval, what is paused, and the files that were not taken:
/// at most one line for each reason, or nothing. `idle` says that no run took place, so that the
/// user may miss a file that does not count. `path` is the PATH that leads to the pipeline,
/// for the proposed commands.
pub(super) async fn describe(view: &View, idle: bool, path: &str) -> Result<String, Failure> {
    let awaiting = view.store.awaiting_approval(PageRequest { cursor: None, limit: MAX_COUNTED }).await?.items;
    let query = ArtifactQuery { state: Some(ArtifactState::Ignored), ..ArtifactQuery::default() };
    let refused = view.store.artifacts(query, PageRequest { cursor: None, limit: MAX_COUNTED }).await?;
    let mut text = undecided(&awaiting, path) + &paused(view, path).await?;
    text += &waiting(&view.control.waiting());
    text += &not_taken(&refused.items, refused.next_cursor.is_some());
    if idle {
        let LeftOut { by_name, not_included } = left_out(view).await;
        text += &unexpected(&by_name, "ignored by name", "`ignore` in the manifest says which names are temporary");
        text += &unexpected(&not_included, "outside `include`", "that key of the manifest says which files count");
    }
    Ok(text)
}

/// Describes what waits because the pipeline, a resource or an action is paused.
async fn paused(view: &View, path: &str) -> Result<String, Failure> {
    let mut text = paused_pipeline(view, path).await?;
    let pauses = view.store.paused_nodes().await?;
    if pauses.is_empty() {
        return Ok(text);
    }
    let states = vec![RunState::Queued, RunState::Running];
    let query = RunQuery { states, ..RunQuery::default() };
    let unfinished = view.store.runs(query, PageRequest { cursor: None, limit: MAX_COUNTED }).await?;
    let mut ready = Vec::new();
    for run in &unfinished.items {
        let detail = view.store.run_progress(run.id).await?;
        let actions = detail.into_iter().flat_map(|detail| detail.actions);
        ready.extend(actions.filter(|action| action.state == ActionState::Ready).map(|action| action.name));
    }
    for pause in pauses {
        let (count, what) = match pause.kind {
            NodeKind::Resource => (view.store.pending(&pause.name).await?.count, "artifact"),
            NodeKind::Action => (ready.iter().filter(|name| **name == pause.name).count() as u64, "run"),
        };
        text += &held(&pause, count, what, path);
    }
    Ok(text)
}

/// Describes how many artifacts wait because the pipeline is paused.
async fn paused_pipeline(view: &View, path: &str) -> Result<String, Failure> {
    let mut count = 0;
    if view.store.paused().await? {
        for resource in view.pipeline().resources.iter().filter(|resource| resource.watch) {
            count += view.store.pending(&resource.name).await?.count;
        }
    }
    if count == 0 {
        return Ok(String::new());
    }
    let verb = if count == 1 { "waits" } else { "wait" };
    let (count, resume) = (show::plural(count, "artifact"), show::resume_command(path, None));
    Ok(format!("{count} {verb}, because the pipeline is paused; `{resume}` ends that\n"))
}

/// Describes how much waits for the end of a pause.
fn held(pause: &Pause, count: u64, what: &str, path: &str) -> String {
    if count == 0 {
        return String::new();
    }
    let verb = if count == 1 { "waits" } else { "wait" };
    let Pause { kind, name, .. } = pause;
    let (why, count) = (show::plain(&pause.describe()), show::plural(count, what));
    format!("{count} {verb} for {name}, {why}; `{}` ends that\n", show::resume_command(path, Some((*kind, name))))
}

/// Describes the actions that wait for approval, a line for each, with the command that approves
/// it.
fn undecided(awaiting: &[AwaitingApproval], path: &str) -> String {
    let path = show::beside(path);
    let mut text = String::new();
    for AwaitingApproval { run_number, action, approval, .. } in awaiting.iter().take(MAX_NAMED) {
        let who = show::plain(&approval.who);
        let command = format!("anacostia runs approve {run_number} {action}{path}");
        let _ = writeln!(text, "run #{run_number}: {action} waits for approval: {who}; `{command}`, or `reject`");
    }
    let more = awaiting.len().saturating_sub(MAX_NAMED);
    if more > 0 {
        let _ = writeln!(text, "and {more} more: `anacostia runs list{path}` shows them");
    }
    text
}

/// Describes files and folders that could not be recorded and so started no run.
fn waiting(waiting: &BTreeMap<String, Waiting>) -> String {
    let count: u64 = waiting.values().map(|waiting| waiting.count).sum();
    if count == 0 {
        return String::new();
    }
    let all = waiting.iter().flat_map(|(name, waiting)| waiting.paths.iter().map(move |path| (name, path)));
    let mut named: Vec<String> =
        all.take(MAX_NAMED).map(|(name, path)| format!("{name}/{} is {}", path.path, path.reason)).collect();
    let more = count.saturating_sub(named.len() as u64);
    if more > 0 {
        named.push(format!("and {more} more: `anacostia artifacts list --waiting` beside a running host shows them"));
    }
    let folders = waiting.values().flat_map(|waiting| &waiting.paths).filter(|path| path.is_folder).count() as u64;
    let counts =
        [(count.saturating_sub(folders), "file"), (folders, "folder")].into_iter().filter(|(count, _)| *count > 0);
    let what = counts.map(|(count, noun)| show::plural(count, noun)).collect::<Vec<_>>().join(" and ");
    format!("{what} {}: {}\n", if count == 1 { "waits" } else { "wait" }, named.join("; "))
}

/// Describes what is on record as unusable, such as files that this user may not read. `further`
/// says that there are more than these.
fn not_taken(refused: &[Artifact], further: bool) -> String {
    if refused.is_empty() {
        return String::new();
    }
    let why = |artifact: &Artifact| artifact.reason.clone().unwrap_or_else(|| "it cannot be used".to_owned());
    let named = refused.iter().take(MAX_NAMED);
    let mut named: Vec<String> = named.map(|it| format!("{}/{}: {}", it.resource, it.path, why(it))).collect();
    if refused.len() > named.len() {
        named.push("`anacostia artifacts list --state ignored` shows the others".to_owned());
    }
    format!("{} not taken: {}\n", counted(refused.len(), further), named.join("; "))
}

/// Describes files that do not count: how they are left out, and which key says so.
fn unexpected(paths: &[String], how: &str, key: &str) -> String {
    if paths.is_empty() {
        return String::new();
    }
    let most = MAX_COUNTED as usize;
    let mut named: Vec<&str> = paths.iter().take(MAX_NAMED).map(String::as_str).collect();
    if paths.len() > named.len() {
        named.push("…");
    }
    format!("{} {how}: {}; {key}\n", counted(paths.len(), paths.len() >= most), named.join(", "))
}

/// Returns the paths, with their resources, that the manifest keeps from counting.
async fn left_out(view: &View) -> LeftOut {
    let (most, mut all) = (MAX_COUNTED as usize, LeftOut::default());
    for (name, resource) in view.resources.iter() {
        if view.pipeline().resources.iter().any(|it| it.name == *name && it.watch) {
            let LeftOut { by_name, not_included } = resource.left_out(most).await;
            all.by_name.extend(by_name.into_iter().map(|path| format!("{name}/{path}")));
            all.not_included.extend(not_included.into_iter().map(|path| format!("{name}/{path}")));
        }
    }
    all.by_name.truncate(most);
    all.not_included.truncate(most);
    all
}

/// Returns a number of files with its verb, such as `1 file is` or `at least 100 files are`.
fn counted(count: usize, further: bool) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    format!("{}{} {verb}", if further { "at least " } else { "" }, show::plural(count as u64, "file"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{unexpected, waiting};
    use crate::base::Timestamp;
    use crate::resource::{Waiting, WaitingPath};

    #[test]
    fn waiting_files_are_named() {
        let path = |name: &str| WaitingPath {
            path: name.to_owned(),
            reason: "still open for writing by process 7 (cp)".to_owned(),
            since: Timestamp::from_micros(0),
            is_folder: name.ends_with('/'),
        };
        let held = |count, names: &[&str]| {
            BTreeMap::from([(
                "raw".to_owned(),
                Waiting { count, paths: names.iter().map(|name| path(name)).collect() },
            )])
        };
        assert_eq!(waiting(&BTreeMap::new()), "");
        let one = waiting(&held(1, &["x.csv"]));
        assert_eq!(one, "1 file waits: raw/x.csv is still open for writing by process 7 (cp)\n");
        assert!(waiting(&held(1, &["x/"])).starts_with("1 folder waits: raw/x/ is "));
        assert!(waiting(&held(3, &["x/", "y", "z"])).starts_with("2 files and 1 folder wait: raw/x/ is "));
        assert_eq!(
            waiting(&held(5, &["a", "b", "c", "d", "e"])),
            "5 files wait: raw/a is still open for writing by process 7 (cp); raw/b is still open for writing by process 7 (cp); \
             raw/c is still open for writing by process 7 (cp); and 2 more: `anacostia artifacts list --waiting` beside a running \
             host shows them\n"
        );
    }

    #[test]
    fn files_that_do_not_count_are_counted_and_some_of_them_named() {
        let files = |count: usize| (0..count).map(|at| format!("raw/{at}.tmp")).collect::<Vec<_>>();
        let ignored = |paths: &[String]| unexpected(paths, "ignored by name", "a key says so");
        let end = "; a key says so\n";
        assert_eq!(ignored(&[]), "");
        assert_eq!(ignored(&files(1)), format!("1 file is ignored by name: raw/0.tmp{end}"));
        assert_eq!(ignored(&files(4)), format!("4 files are ignored by name: raw/0.tmp, raw/1.tmp, raw/2.tmp, …{end}"));
        assert!(ignored(&files(100)).starts_with("at least 100 files are ignored by name: "));
    }
}
