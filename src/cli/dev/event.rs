//! The events of a session: one line each, from the save to what runs afterwards.

use std::time::Duration;

use serde::Serialize;

use crate::base::{Clock as _, Digest, SystemClock};
use crate::cli::show::{Cell, duration, short_digest, styles};
use crate::cli::{Failure, out};

/// Most changed files that are named.
const MAX_NAMED: usize = 3;

/// Something that happened. `--json` prints it with the variant's name as `type`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum DevEvent {
    /// A build begins.
    Building { action: String, changed: Vec<String> },
    /// A component is in force for new runs.
    Swapped { action: String, changed: Vec<String>, took_ms: Option<u64>, digest: Digest, old: Option<Digest> },
    /// A build came to the same component.
    Unchanged { action: String, changed: Vec<String>, took_ms: Option<u64>, digest: Option<Digest> },
    /// A build failed. `digest` is what new runs continue with.
    BuildFailed { action: String, changed: Vec<String>, error: String, digest: Option<Digest> },
    /// What was built, or the manifest, cannot be run.
    Refused { changed: Vec<String>, why: String },
    /// The manifest is in force for new runs.
    Reloaded { changed: Vec<String> },
    /// The manifest differs in what only a restart can change.
    NeedsRestart { changed: Vec<String>, why: String },
    /// Sources that each build changes itself.
    SourcesKeepChanging { action: String, changed: Vec<String> },
    /// Sources that cannot be read.
    Unseen { action: String, why: String },
    /// Nothing runs yet.
    Waiting,
}

impl DevEvent {
    /// Prints it: for people on standard error, with `json` for programs on standard output.
    pub(super) fn report(&self, json: bool) -> Result<(), Failure> {
        if json {
            return out::json(self).map_err(Failure::from);
        }
        if let Some(line) = self.line() {
            let time: String = SystemClock.now().to_string().chars().skip(11).take(8).collect();
            out::error(&format!("{}  {line}\n", Cell::new(format!("{time}Z")).style(styles::FAINT)));
        }
        Ok(())
    }

    /// The line; `None` for what the progress line shows already.
    fn line(&self) -> Option<String> {
        let good = |text: &str| Cell::new(text).style(styles::GOOD).to_string();
        let bad = |text: &str| Cell::new(text).style(styles::BAD).to_string();
        Some(match self {
            Self::Building { .. } => return None,
            Self::Swapped { action, changed, took_ms, digest, old } => {
                let was = old.map(|old| format!(" (was {})", short_digest(old))).unwrap_or_default();
                let swapped = format!("{} {}{}", good("swapped in"), short_digest(*digest), faint(&was));
                format!("{}{}{swapped}", changes(changed), built(action, *took_ms))
            }
            Self::Unchanged { action, changed, took_ms, digest } => {
                let digest = digest.map(short_digest).unwrap_or_default();
                format!(
                    "{}{}the same component as before {}",
                    changes(changed),
                    built(action, *took_ms),
                    faint(&digest)
                )
            }
            Self::BuildFailed { changed, error, digest, .. } => {
                format!("{}{}; {}", changes(changed), bad(error), goes_on(*digest))
            }
            Self::Refused { changed, why } => format!("{}{}: {}", changes(changed), bad("refused"), Cell::new(why)),
            Self::Reloaded { changed } => format!("{}{} for new runs", changes(changed), good("in force")),
            Self::NeedsRestart { changed, why } => {
                let restart = Cell::new("not in force").style(styles::WARN);
                format!("{}{restart}: {}; until then nothing changes", changes(changed), Cell::new(why))
            }
            Self::SourcesKeepChanging { action, changed } => format!(
                "{} whenever {} is built: what a build writes is not a source: remove it from `build.watch`; the next save builds again",
                changes(changed).trim_end_matches([' ', '→']),
                Cell::new(action)
            ),
            Self::Unseen { action, why } => format!("{}: {}", Cell::new(action), Cell::new(why)),
            Self::Waiting => "nothing runs yet: the next save builds again".to_owned(),
        })
    }
}

/// The component that new runs use after a failure.
fn goes_on(digest: Option<Digest>) -> String {
    match digest {
        Some(digest) => format!("runs continue with {}", short_digest(digest)),
        None => "there is no component yet".to_owned(),
    }
}

fn faint(text: &str) -> String {
    Cell::new(text).style(styles::FAINT).to_string()
}

/// `changed src/lib.rs and 2 more → `, or nothing if nothing was.
pub(super) fn changes(changed: &[String]) -> String {
    if changed.is_empty() {
        return String::new();
    }
    let named: Vec<String> = changed.iter().take(MAX_NAMED).map(|file| Cell::new(file).to_string()).collect();
    let more = changed.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("changed {}{more} → ", named.join(", "))
}

/// `built train in 1.2 s → `, or whose component it is if nothing was built.
fn built(action: &str, took_ms: Option<u64>) -> String {
    let action = Cell::new(action).style(styles::STRONG);
    match took_ms {
        Some(took) => format!("built {action} in {} → ", duration(Duration::from_millis(took))),
        None => format!("{action} "),
    }
}

#[cfg(test)]
mod tests {
    use super::DevEvent;
    use crate::base::Digest;

    #[test]
    fn each_event_is_one_line() {
        let changed = |files: &[&str]| files.iter().map(|file| (*file).to_owned()).collect::<Vec<_>>();
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let action = || "train".to_owned();
        let lib = || changed(&["train/src/lib.rs"]);
        let all = [
            DevEvent::Swapped { action: action(), changed: lib(), took_ms: Some(1_234), digest: new, old: Some(old) },
            DevEvent::Swapped {
                action: action(),
                changed: changed(&["train.wasm"]),
                took_ms: None,
                digest: new,
                old: None,
            },
            DevEvent::Unchanged {
                action: action(),
                changed: changed(&["a", "b", "c", "d", "e"]),
                took_ms: Some(9),
                digest: Some(old),
            },
            DevEvent::BuildFailed {
                action: action(),
                changed: lib(),
                error: "the build of action train failed (exit status: 1): `./build.sh`".to_owned(),
                digest: Some(old),
            },
            DevEvent::BuildFailed {
                action: action(),
                changed: Vec::new(),
                error: "the build of action train failed (exit status: 1): `./build.sh`".to_owned(),
                digest: None,
            },
            DevEvent::Refused { changed: lib(), why: "see above; runs continue as before".to_owned() },
            DevEvent::Reloaded { changed: changed(&["anacostia.toml"]) },
            DevEvent::NeedsRestart {
                changed: changed(&["anacostia.toml"]),
                why: "`server` can only change with a restart".to_owned(),
            },
            DevEvent::SourcesKeepChanging { action: action(), changed: changed(&["train/made.rs"]) },
            DevEvent::Unseen { action: action(), why: "train cannot be read: it is gone".to_owned() },
            DevEvent::Waiting,
        ];
        let lines: Vec<String> = all.iter().map(|news| news.line().unwrap()).collect();
        insta::assert_snapshot!(anstream::adapter::strip_str(&lines.join("\n")));
        assert_eq!(DevEvent::Building { action: action(), changed: lib() }.line(), None);
    }
}
