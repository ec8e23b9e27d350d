//! `/settings`: what the host works with: its address, its health, its store, its limits, and the
//! manifest as it was read.

use std::path::{Path, PathBuf};

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::base::{ByteSize, TimeSpan};
use crate::manifest::{Pipeline, RunRetention};
use crate::model::Durability;
use crate::scheduler::{SlotUse, View};
use crate::ui::Pages;
use crate::ui::page::{self, Head, Section};

/// Most files whose sizes are added up. A page must not read a whole disk.
const FILES: usize = 20_000;
/// Folders in the state folder: the name, and what is in it.
const FOLDERS: [(&str, &str); 2] = [("logs", "Log lines"), ("components", "Components")];

#[derive(Debug, Serialize)]
struct Content {
    file: String,
    /// The manifest as it is written, with `${…}` unexpanded.
    manifest: String,
    /// Facts about how the server is reached.
    server: Vec<(&'static str, String)>,
    store: Vec<(&'static str, String)>,
    places: Vec<Place>,
    limits: Vec<(&'static str, String)>,
    slots: Vec<Slot>,
    actions: Vec<ActionRow>,
}

/// Something on this machine's disk.
#[derive(Debug, Serialize)]
struct Place {
    what: &'static str,
    path: String,
    size: String,
}

/// A named limit on how many attempts run at once.
#[derive(Debug, Serialize)]
struct Slot {
    name: String,
    limit: u32,
    in_use: u64,
    waiting: u64,
}

/// Where the component of an action is.
#[derive(Debug, Serialize)]
struct ActionRow {
    name: String,
    file: String,
    digest: Option<String>,
}

/// `GET /settings`
pub(in crate::ui) async fn show(State(pages): State<Pages>) -> Response {
    let (view, pipeline) = (&pages.view, pages.view.pipeline());
    let components = view.components();
    let actions = pipeline.actions.iter().map(|action| ActionRow {
        name: action.name.clone(),
        file: view.written(&["actions", &action.name, "component"]).unwrap_or_default(),
        digest: components.get(&action.name).map(|info| info.digest.hex().chars().take(12).collect()),
    });
    let content = Content {
        file: pipeline.file.display().to_string(),
        manifest: pipeline.text.clone(),
        server: server(&pipeline),
        store: store(view, &pipeline),
        places: places(&pipeline).await,
        limits: limits(&pipeline),
        slots: view.control.concurrency().into_iter().map(slot).collect(),
        actions: actions.collect(),
    };
    let head = Head::of(Section::Settings, "settings.html", "Settings");
    page::answer(&pages, Ok((head, content))).await
}

fn server(pipeline: &Pipeline) -> Vec<(&'static str, String)> {
    let token = if pipeline.token.is_some() { "required" } else { "not required" };
    let mut facts = vec![("Configured address", pipeline.listen.to_string()), ("Token", token.to_owned())];
    if !pipeline.hosts.is_empty() {
        facts.push(("Other names", pipeline.hosts.join(", ")));
    }
    facts.extend(pipeline.public_url.clone().map(|url| ("Address for people", url)));
    facts
}

fn store(view: &View, pipeline: &Pipeline) -> Vec<(&'static str, String)> {
    let durability = match pipeline.durability {
        Durability::Normal => "normal: survives the end of the host",
        Durability::Full => "full: survives a power cut too",
    };
    let mut facts = vec![("Kind", pipeline.store.kind().to_owned()), ("Location", pipeline.store.location())];
    facts.extend(view.store.schema_version().map(|version| ("Schema", format!("version {version}"))));
    facts.extend([
        ("Durability", durability.to_owned()),
        ("Starts of a host", view.store.epoch().to_string()),
        ("Events", view.store.newest_event().borrow().to_string()),
    ]);
    facts
}

fn limits(pipeline: &Pipeline) -> Vec<(&'static str, String)> {
    let logs = ByteSize(pipeline.max_log_bytes);
    let logs = match pipeline.retention.keep_logs_for {
        Some(span) => format!("{logs}, of the last {}", TimeSpan(span)),
        None => logs.to_string(),
    };
    vec![
        ("Runs at once", pipeline.max_concurrent_runs.to_string()),
        ("Attempts at once", pipeline.max_concurrent_actions.to_string()),
        ("Runs that are kept", kept_runs(&pipeline.retention.runs)),
        ("Log lines that are kept", logs),
    ]
}

fn kept_runs(RunRetention { keep_for, keep_last, keep_tags }: &RunRetention) -> String {
    let newest = keep_last.map(|count| format!("the newest {count}"));
    let young = keep_for.map(|span| format!("those that ended in the last {}", TimeSpan(span)));
    let mut kept: Vec<String> = newest.into_iter().chain(young).collect();
    if kept.is_empty() {
        return "all".to_owned();
    }
    kept.extend((!keep_tags.is_empty()).then(|| format!("those with the tag {}", keep_tags.join(" or "))));
    kept.join(", ")
}

fn slot((name, used): (String, SlotUse)) -> Slot {
    Slot { name, limit: used.limit, in_use: used.in_use.into(), waiting: used.waiting.into() }
}

/// Returns what lies where, with sizes.
async fn places(pipeline: &Pipeline) -> Vec<Place> {
    let records: Vec<PathBuf> = pipeline.store.local_paths().into_iter().map(Path::to_owned).collect();
    let folders = FOLDERS.map(|(name, what)| (what, pipeline.state.join(name)));
    let look = move || {
        let records = records.into_iter().map(|path| {
            let size = beside(&path).into_iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum();
            Place { what: "Records", path: path.display().to_string(), size: ByteSize(size).to_string() }
        });
        let folders = folders.into_iter().map(|(what, path)| {
            let (size, is_whole) = size(&path);
            let more = if is_whole { "" } else { "more than " };
            Place { what, path: path.display().to_string(), size: format!("{more}{}", ByteSize(size)) }
        });
        records.chain(folders).collect()
    };
    // The sizes are those of files, so they are read on a blocking thread.
    tokio::task::spawn_blocking(look).await.unwrap_or_else(|error| {
        tracing::error!("failed to look at the sizes of files: {error}");
        Vec::new()
    })
}

/// Returns the files in the same folder whose names begin with that of a file, itself among them.
fn beside(file: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return Vec::new() };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(FILES);
    let belongs = |path: &PathBuf| {
        path.file_name().is_some_and(|other| other.as_encoded_bytes().starts_with(name.as_encoded_bytes()))
    };
    entries.map(|entry| entry.path()).filter(belongs).collect()
}

/// Returns the bytes of the files below a folder, and whether all were counted. A folder that
/// cannot be read has none.
fn size(folder: &Path) -> (u64, bool) {
    let (mut sum, mut count, mut folders) = (0, 0, vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            count += 1;
            if count > FILES {
                return (sum, false);
            }
            match entry.metadata() {
                Ok(about) if about.is_dir() => folders.push(entry.path()),
                Ok(about) => sum += about.len(),
                // It was removed meanwhile.
                Err(_) => {}
            }
        }
    }
    (sum, true)
}

#[cfg(test)]
mod tests {
    use super::{beside, size};

    #[test]
    fn sizes_are_those_of_all_files_of_a_store_and_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        for (name, bytes) in [("m.db", 10), ("m.db-wal", 20), ("other", 40), ("sub/log", 80)] {
            std::fs::write(at(name), vec![0; bytes]).unwrap();
        }
        let mut files = beside(&at("m.db"));
        files.sort();
        assert_eq!(files, [at("m.db"), at("m.db-wal")]);
        assert_eq!(size(folder.path()), (150, true));
        assert_eq!(size(&at("nowhere")), (0, true));
    }
}
