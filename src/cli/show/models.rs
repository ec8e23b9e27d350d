//! The model registry: the list of models, and one with its versions and the moves of its aliases.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Cell, Column, Table, ago, beside, next_steps, plain, styles};
use crate::base::{ByteSize, RunId, Timestamp, check_name, double};
use crate::model::{AliasMove, ModelDetail, ModelVersion, RegisteredModel};

/// The list of models, for a terminal with `width` columns.
pub(crate) fn model_list(models: &[RegisteredModel], now: Timestamp, width: usize) -> String {
    let mut table = Table::new(&[
        ("MODEL", Column::Word),
        ("NEWEST", Column::Number),
        ("ALIASES", Column::Prose),
        ("REGISTERED", Column::Aside),
    ]);
    for model in models {
        let aliases: Vec<String> = model.aliases.iter().map(|it| format!("{} = {}", it.alias, it.version)).collect();
        table.row(vec![
            Cell::new(&model.name).style(styles::STRONG),
            Cell::new(version(model.newest_version)),
            Cell::new(aliases.join(", ")),
            Cell::new(ago(model.created_at, now)),
        ]);
    }
    table.render(width)
}

fn version(number: u64) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

/// A model with its versions and moves, for display.
#[derive(Debug)]
pub(crate) struct ModelAbout<'a> {
    /// Its record.
    pub(crate) model: &'a ModelDetail,
    /// Its versions, newest first.
    pub(crate) versions: &'a [ModelVersion],
    /// Whether there are more versions than these.
    pub(crate) more_versions: bool,
    /// The moves of its aliases, newest first.
    pub(crate) moves: &'a [AliasMove],
    /// Whether there are more moves than these.
    pub(crate) more_moves: bool,
    /// The metrics that are shown for each version.
    pub(crate) metric_names: &'a [String],
    /// Their last values in the runs of the versions.
    pub(crate) metrics: &'a BTreeMap<(RunId, String), f64>,
}

/// One model, for a terminal with `width` columns. `path` is the PATH that leads to its pipeline.
pub(crate) fn model_detail(about: &ModelAbout<'_>, path: &str, now: Timestamp, width: usize) -> String {
    let model = about.model;
    let mut text = format!("{}\n", Cell::new(&model.name).style(styles::STRONG));
    for alias in &model.aliases {
        let since = ago(alias.since, now);
        let _ = writeln!(text, "  {} is version {}, since {since}", plain(&alias.alias), alias.version);
    }
    section(&mut text, "Versions", &versions(about, now, width), about.more_versions);
    section(&mut text, "History", &moves(about, now, width), about.more_moves);
    if let Some(card) = model.card.as_deref().filter(|card| !card.trim().is_empty()) {
        let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("  {}\n", plain(line)) };
        section(&mut text, "Card", &card.trim_end().lines().map(line).collect::<String>(), false);
    }
    let path = beside(path);
    let newest = about.versions.first().map(|version| version.version);
    if let Some(newest) = newest.filter(|newest| model.aliases_of(*newest).next().is_none()) {
        let mut names = model.aliases.iter().map(|alias| alias.alias.as_str());
        // What has other characters would have to be quoted for the shell.
        let alias = names.rfind(|alias| check_name(alias).is_ok()).unwrap_or("production");
        let command = format!("anacostia models promote {} {newest} {alias}{path}", model.name);
        text.push_str(&next_steps(&[("use the newest version", command)]));
    }
    text
}

fn section(text: &mut String, title: &str, content: &str, more: bool) {
    if content.is_empty() {
        return;
    }
    let _ = write!(text, "\n{}\n{content}", Cell::new(title).style(styles::STRONG));
    if more {
        let _ = writeln!(text, "  {}", Cell::new("… and earlier ones: see `--limit`").style(styles::FAINT));
    }
}

fn versions(about: &ModelAbout<'_>, now: Timestamp, width: usize) -> String {
    if about.versions.is_empty() {
        return String::new();
    }
    let before = [
        ("VERSION", Column::Number),
        ("ALIASES", Column::Text),
        ("ARTIFACT", Column::Path),
        ("SIZE", Column::Number),
        ("RUN", Column::Number),
    ];
    let metrics = about.metric_names.iter().map(|name| (name.as_str(), Column::Number));
    let after = [("REGISTERED", Column::Aside), ("BY", Column::Aside), ("NOTE", Column::Aside)];
    let columns = before.into_iter().chain(metrics).chain(after).map(|(name, column)| (name.to_owned(), column));
    let mut table = Table::with_names(columns).indent(2);
    for it in about.versions {
        let aliases: Vec<&str> = about.model.aliases_of(it.version).collect();
        let mut row = vec![
            Cell::new(it.version.to_string()).style(styles::STRONG),
            Cell::new(aliases.join(", ")).style(styles::GOOD),
            Cell::new(format!("{}/{}", it.artifact.resource, it.artifact.path)),
            Cell::new(ByteSize(it.artifact.size).to_string()),
            Cell::new(it.run_number.map(|run| format!("#{run}")).unwrap_or_default()),
        ];
        row.extend(about.metric_names.iter().map(|name| {
            let value = it.run_id.and_then(|run| about.metrics.get(&(run, name.clone())));
            Cell::new(value.map(|value| double::text(*value)).unwrap_or_default())
        }));
        let gone = if it.artifact.is_readable() { "" } else { "its bytes are gone" };
        let by = it.by.as_deref().or(it.action.as_deref()).unwrap_or_default();
        row.extend([
            Cell::new(ago(it.registered_at, now)),
            Cell::new(by),
            Cell::new(it.note.as_deref().filter(|_| gone.is_empty()).unwrap_or(gone)),
        ]);
        table.row(row);
    }
    table.render(width)
}

fn moves(about: &ModelAbout<'_>, now: Timestamp, width: usize) -> String {
    if about.moves.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        ("WHEN", Column::Word),
        ("ALIAS", Column::Text),
        ("VERSION", Column::Number),
        ("WAS", Column::Number),
        ("HOW", Column::Word),
        ("BY", Column::Text),
        ("NOTE", Column::Aside),
    ])
    .indent(2);
    for it in about.moves {
        table.row(vec![
            Cell::new(ago(it.at, now)),
            Cell::new(&it.alias),
            Cell::new(it.version.to_string()).style(styles::STRONG),
            Cell::new(it.before.map(|before| before.to_string()).unwrap_or_default()),
            Cell::new(if it.rolled_back { "rolled back" } else { "promoted" }),
            Cell::new(it.mover().unwrap_or_default()),
            Cell::new(it.note.as_deref().unwrap_or_default()),
        ]);
    }
    table.render(width)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::samples;
    use super::{ModelAbout, model_detail, model_list};
    use crate::base::{ArtifactId, RunId};
    use crate::model::{AliasMove, Artifact, ModelAlias, ModelDetail, ModelVersion, RegisteredModel};

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn alias(alias: &str, version: u64) -> ModelAlias {
        ModelAlias {
            alias: alias.to_owned(),
            version,
            artifact_id: ArtifactId::new(),
            since: samples::at(5),
            rollback_to: None,
        }
    }

    fn models() -> Vec<RegisteredModel> {
        let aliases = vec![alias("candidate \u{1b}[31m", 3), alias("production", 2)];
        let penguins =
            RegisteredModel { name: "penguins".to_owned(), created_at: samples::at(0), newest_version: 4, aliases };
        let others =
            RegisteredModel { name: "others".to_owned(), newest_version: 0, aliases: vec![], ..penguins.clone() };
        vec![others, penguins]
    }

    fn versions(run: RunId) -> Vec<ModelVersion> {
        let version = |version: u64, artifact: Artifact| ModelVersion {
            version,
            artifact,
            run_id: Some(run).filter(|_| version != 1),
            run_number: Some(30 + version).filter(|_| version != 1),
            action: Some("promote".to_owned()).filter(|_| version != 1),
            registered_at: samples::at(1),
            by: Some("ann".to_owned()).filter(|_| version == 1),
            note: Some("trained elsewhere".to_owned()).filter(|_| version == 1),
        };
        let artifact = |path: &str| samples::artifact(path, 1, 12_288);
        let gone = Artifact { present: false, ..artifact("m2.json") };
        vec![
            version(4, artifact("m4.json")),
            version(3, artifact("m3.json")),
            version(2, gone),
            version(1, artifact("m1.json")),
        ]
    }

    fn moves(run: RunId) -> Vec<AliasMove> {
        let moved = |seq: u64, version, before| AliasMove {
            seq,
            alias: "production".to_owned(),
            version,
            before,
            rolled_back: false,
            by: None,
            note: None,
            run_id: Some(run),
            run_number: Some(30 + version),
            action: Some("promote".to_owned()),
            at: samples::at(4),
        };
        let by_hand = AliasMove {
            by: Some("ann".to_owned()),
            run_id: None,
            run_number: None,
            action: None,
            ..moved(3, 2, Some(3))
        };
        let back = AliasMove { rolled_back: true, note: Some("too slow on the old machines".to_owned()), ..by_hand };
        vec![back, moved(2, 3, Some(2)), moved(1, 2, None)]
    }

    #[test]
    fn model_list_at_several_widths() {
        let text = [120, 60].map(|width| model_list(&models(), samples::at(65), width)).join("\n");
        insta::assert_snapshot!(plain(&text));
    }

    #[test]
    fn a_model_is_shown_with_its_versions_history_and_card() {
        let run = RunId::new();
        let (versions, moves, names) = (versions(run), moves(run), vec!["accuracy".to_owned()]);
        let metrics = BTreeMap::from([((run, "accuracy".to_owned()), 0.976_543_21)]);
        let card = Some("# Penguins\n\nTells three species apart.\n".to_owned());
        let model = ModelDetail::new(models().remove(1), card);
        let about = ModelAbout {
            model: &model,
            versions: &versions,
            more_versions: false,
            moves: &moves,
            more_moves: true,
            metric_names: &names,
            metrics: &metrics,
        };
        let text = [140, 80].map(|width| model_detail(&about, "pipelines/a", samples::at(65), width));
        insta::assert_snapshot!(plain(&text.join("\n────\n\n")));
    }
}
