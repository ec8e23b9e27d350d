//! Artifacts: the list, and one with who used it.

use std::fmt::Write as _;

use super::{Cell, Column, Table, ago, beside, next_steps, state_mark, styles};
use crate::base::{ByteSize, Timestamp};
use crate::model::{Artifact, ArtifactState};
use crate::store::ArtifactUse;

/// The list of artifacts, newest first, for a terminal with `width` columns.
pub(crate) fn artifact_list(artifacts: &[Artifact], now: Timestamp, width: usize) -> String {
    let mut table = Table::new(&COLUMNS);
    for artifact in artifacts {
        table.row(cells(artifact, now));
    }
    table.render(width)
}

/// The artifacts of a run, each with its role: `input` or `output`.
pub(crate) fn artifacts_of_run(artifacts: &[(&str, &Artifact)], now: Timestamp, width: usize) -> String {
    let columns: Vec<_> = [("WHICH", Column::Word)].into_iter().chain(COLUMNS).collect();
    let mut table = Table::new(&columns);
    for (which, artifact) in artifacts {
        table.row([Cell::new(*which)].into_iter().chain(cells(artifact, now)).collect());
    }
    table.render(width)
}

const COLUMNS: [(&str, Column); 8] = [
    ("RESOURCE", Column::Text),
    ("PATH", Column::Path),
    ("VERSION", Column::Number),
    ("SIZE", Column::Number),
    ("STATE", Column::Word),
    ("RECORDED", Column::Aside),
    ("TAGS", Column::Aside),
    ("NOTE", Column::Aside),
];

fn cells(artifact: &Artifact, now: Timestamp) -> Vec<Cell> {
    vec![
        Cell::new(&artifact.resource),
        Cell::new(&artifact.path),
        Cell::new(artifact.version.to_string()),
        Cell::new(size(artifact)),
        state_mark(artifact.state.as_str()),
        Cell::new(ago(artifact.created_at, now)),
        Cell::new(artifact.tags.join(", ")),
        Cell::new(note(artifact)),
    ]
}

fn size(artifact: &Artifact) -> String {
    if artifact.state == ArtifactState::Ignored { String::new() } else { ByteSize(artifact.size).to_string() }
}

/// A note for display that adds to the state.
fn note(artifact: &Artifact) -> &str {
    match (&artifact.reason, artifact.state) {
        (Some(reason), _) => reason,
        (None, ArtifactState::Current | ArtifactState::Old | ArtifactState::Published) if !artifact.present => {
            "its bytes are gone"
        }
        _ => "",
    }
}

/// An artifact with its uses, for display.
#[derive(Debug)]
pub(crate) struct ArtifactAbout<'a> {
    /// Its record.
    pub(crate) artifact: &'a Artifact,
    /// The number of the run that claimed it.
    pub(crate) claimed_by: Option<u64>,
    /// Who used it, newest first.
    pub(crate) uses: &'a [ArtifactUse],
    /// Whether there are more uses than these.
    pub(crate) more_uses: bool,
}

/// One artifact: what it is, who wrote it and who read it, for a terminal with `width` columns.
/// `path` is the PATH that leads to its pipeline.
pub(crate) fn artifact_detail(about: &ArtifactAbout<'_>, path: &str, now: Timestamp, width: usize) -> String {
    let artifact = about.artifact;
    let title = format!("{}/{} v{}", artifact.resource, artifact.path, artifact.version);
    let mut text = format!("{} {}\n", Cell::new(title).style(styles::STRONG), state_mark(artifact.state.as_str()));
    text.push_str(&facts(about, now, width));
    if !about.uses.is_empty() {
        let _ = write!(text, "\n{}\n{}", Cell::new("Used by").style(styles::STRONG), uses(about, width));
    }
    if artifact.state != ArtifactState::Ignored && artifact.is_readable() {
        let path = beside(path);
        text.push_str(&next_steps(&[("get its bytes", format!("anacostia artifacts cat {}{path}", artifact.id))]));
    }
    text
}

fn facts(about: &ArtifactAbout<'_>, now: Timestamp, width: usize) -> String {
    let artifact = about.artifact;
    let mut table = Table::new(&[("", Column::Word), ("", Column::Prose)]).indent(2);
    let mut fact = |name: &str, value: String| {
        // Ids and digests are not wrapped, so that they can be copied.
        let value = Cell::new(value);
        table.row(vec![Cell::new(name).style(styles::FAINT), if name == "digest" { value.whole() } else { value }]);
    };
    fact("id", artifact.id.to_string());
    if let Some(digest) = artifact.digest {
        fact("digest", digest.to_string());
        let size = ByteSize(artifact.size).to_string();
        fact("size", if artifact.size < 1024 { size } else { format!("{size} ({} bytes)", artifact.size) });
    }
    fact("recorded", format!("{} ({})", artifact.created_at, ago(artifact.created_at, now)));
    if let Some(number) = about.claimed_by {
        fact("claimed", format!("by run #{number}"));
    }
    if !artifact.tags.is_empty() {
        fact("tags", artifact.tags.join(", "));
    }
    match note(artifact) {
        "" => {}
        note => fact("note", note.to_owned()),
    }
    table.render(width)
}

fn uses(about: &ArtifactAbout<'_>, width: usize) -> String {
    let mut table = Table::new(&[
        ("RUN", Column::Number),
        ("ACTION", Column::Text),
        ("ATTEMPT", Column::Number),
        ("HOW", Column::Word),
        ("BYTES", Column::Number),
    ])
    .indent(2);
    for one in about.uses {
        table.row(vec![
            Cell::new(format!("#{}", one.run_number)).style(styles::STRONG),
            Cell::new(&one.action),
            Cell::new(one.attempt.to_string()),
            Cell::new(one.kind.as_str()),
            Cell::new(ByteSize(one.bytes).to_string()),
        ]);
    }
    let mut text = table.render(width);
    if about.more_uses {
        let _ = writeln!(text, "  {}", Cell::new("… and earlier ones").style(styles::FAINT));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::{ArtifactAbout, artifact_detail, artifact_list};
    use crate::base::RunId;
    use crate::model::{AccessKind, Artifact, ArtifactState};
    use crate::store::ArtifactUse;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn artifacts() -> Vec<Artifact> {
        let one = |path: &str, state| Artifact { state, ..samples::artifact(path, 1, 12_288) };
        vec![
            Artifact {
                tags: vec!["best".to_owned(), "production".to_owned()],
                ..one("deep/down/in/the/folder/2026-03-01/measurements-of-station-7.csv", ArtifactState::Old)
            },
            Artifact { present: false, ..one("gone.csv", ArtifactState::Published) },
            one("new \u{1b}[31m.csv", ArtifactState::New),
            Artifact {
                digest: None,
                reason: Some("it is a FIFO, which holds no bytes that one could read twice".to_owned()),
                ..one("pipe", ArtifactState::Ignored)
            },
        ]
    }

    fn used(run_number: u64, action: &str, kind: AccessKind) -> ArtifactUse {
        let attempt_id = samples::attempt_id(1);
        let run_id = RunId::new();
        ArtifactUse { run_id, run_number, attempt_id, action: action.to_owned(), attempt: 1, kind, bytes: 12_288 }
    }

    #[test]
    fn artifact_list_at_several_widths() {
        let text = [200, 120, 80, 60].map(|width| artifact_list(&artifacts(), samples::at(65), width)).join("\n");
        insta::assert_snapshot!(plain(&text));
    }

    #[test]
    fn an_artifact_is_shown_with_its_writer_and_readers() {
        let artifacts = artifacts();
        let uses = [used(12, "evaluate", AccessKind::Read), used(7, "train", AccessKind::Wrote)];
        let about = ArtifactAbout { artifact: &artifacts[0], claimed_by: Some(7), uses: &uses, more_uses: true };
        let text = [120, 60].map(|width| artifact_detail(&about, "pipelines/a", samples::at(65), width));
        insta::assert_snapshot!(plain(&text.join("\n────\n\n")));
    }

    #[test]
    fn an_artifact_without_content_offers_no_download() {
        let artifacts = artifacts();
        for artifact in [&artifacts[1], &artifacts[3]] {
            let about = ArtifactAbout { artifact, claimed_by: None, uses: &[], more_uses: false };
            let text = plain(&artifact_detail(&about, ".", samples::at(65), 80));
            assert!(!text.contains("artifacts cat") && text.contains("  note      it"), "{text}");
        }
    }
}
