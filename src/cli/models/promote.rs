//! `anacostia models promote` and `anacostia models rollback`.

use serde_json::{Value, json};

use super::target::{By, find};
use crate::base::{Clock as _, SystemClock, WriteId};
use crate::cli::load::PathArg;
use crate::cli::records::Records;
use crate::cli::remote::segment;
use crate::cli::runtime::runtime;
use crate::cli::show::{Cell, plain, styles};
use crate::cli::{End, Failure, open, out};
use crate::manifest::{Pipeline, nearest};
use crate::model::{AliasMove, ModelDetail};
use crate::store::AliasTarget;

#[derive(Debug, clap::Args)]
pub(crate) struct PromoteArgs {
    /// The model
    model: String,
    /// The version: its number, `latest`, or an alias that names it
    version: String,
    /// The alias, such as `production`; it is created if the model has none of this name
    alias: String,
    #[command(flatten)]
    path: PathArg,
    #[command(flatten)]
    by: By,
    /// Print the move as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RollbackArgs {
    /// The model
    model: String,
    /// The alias
    alias: String,
    #[command(flatten)]
    path: PathArg,
    #[command(flatten)]
    by: By,
    /// Print the move as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn promote(args: PromoteArgs) -> Result<End, Failure> {
    let (pipeline, model) = read(&args.path, &args.model)?;
    let version = find_version(&model, &args.version)?;
    let (by, note) = args.by.texts();
    let to = AliasTarget { model: args.model, alias: args.alias, version: Some(version), by, note };
    let is_there = model.aliases.iter().any(|it| it.alias == to.alias && it.version == version);
    let moved = change(&pipeline, &to)?;
    tell(&to, &moved, is_there, args.json)
}

pub(crate) fn roll_back(args: RollbackArgs) -> Result<End, Failure> {
    let (pipeline, model) = read(&args.path, &args.model)?;
    if !model.aliases.iter().any(|it| it.alias == args.alias) {
        return Err(Failure::usage(no_alias(&model, &args.alias)));
    }
    let (by, note) = args.by.texts();
    let to = AliasTarget { model: args.model, alias: args.alias, version: None, by, note };
    let moved = change(&pipeline, &to)?;
    tell(&to, &moved, false, args.json)
}

fn read(path: &PathArg, model: &str) -> Result<(Pipeline, ModelDetail), Failure> {
    let records = Records::open(path)?;
    let model = find(&records, model)?;
    Ok((records.pipeline, model))
}

/// Returns the number of the version that `text` means.
fn find_version(model: &ModelDetail, text: &str) -> Result<u64, Failure> {
    let name = &model.name;
    let none_yet = || Failure::usage(format!("`{name}` has no version yet"));
    if text == "latest" {
        return if model.newest_version == 0 { Err(none_yet()) } else { Ok(model.newest_version) };
    }
    if let Some(alias) = model.aliases.iter().find(|alias| alias.alias == text) {
        return Ok(alias.version);
    }
    match text.trim_start_matches('v').parse() {
        Ok(version) if (1..=model.newest_version).contains(&version) => Ok(version),
        Ok(_) if model.newest_version == 0 => Err(none_yet()),
        Ok(version) => {
            let newest = model.newest_version;
            Err(Failure::usage(format!("`{name}` has no version {version}: its newest is {newest}")))
        }
        Err(_) => Err(Failure::usage(format!(
            "{}; a version is named by its number (3), `latest`, or an alias that names it",
            no_alias(model, text)
        ))),
    }
}

/// Says that a model has no such alias, and which ones it has.
fn no_alias(model: &ModelDetail, alias: &str) -> String {
    let names: Vec<&str> = model.aliases.iter().map(|it| it.alias.as_str()).collect();
    let hint = match (nearest(alias, names.iter().copied()), names.as_slice()) {
        (Some(near), _) => format!("; did you mean `{}`?", plain(near)),
        (None, []) => String::new(),
        (None, names) => format!("; it has {}", plain(&names.join(", "))),
    };
    format!("`{}` has no alias `{}`{hint}", model.name, plain(alias))
}

fn change(pipeline: &Pipeline, to: &AliasTarget) -> Result<Value, Failure> {
    let AliasTarget { model, alias, version, by, note } = to;
    if let Some(holder) = open::holder(pipeline)? {
        let place = format!("models/{}", segment(model));
        let remote = open::remote(&holder)?;
        return match version {
            Some(version) => {
                let body = json!({ "alias": alias, "version": version, "by": by, "note": note });
                remote.change(&format!("{place}/promote"), &body)
            }
            None => remote.change(&format!("{place}/rollback"), &json!({ "alias": alias, "by": by, "note": note })),
        };
    }
    // Fails if a host has opened the store meanwhile.
    let now = SystemClock.now();
    let moved = runtime()?.block_on(async {
        let store = open::for_writing(pipeline, now).await?.store;
        store.move_alias(to.clone(), WriteId::new(), now).await.map_err(Failure::from)
    })?;
    serde_json::to_value(moved).map_err(|error| Failure::Work(error.into()))
}

/// Prints what the alias names now. `is_there` says that it named that before.
fn tell(to: &AliasTarget, moved: &Value, is_there: bool, json: bool) -> Result<End, Failure> {
    if json {
        out::json(moved)?;
        return Ok(End::Well);
    }
    let moved: AliasMove = serde_json::from_value(moved.clone()).map_err(|error| Failure::Work(error.into()))?;
    let was = moved.before.map(|before| format!(" (was {before})")).unwrap_or_default();
    let then = match (is_there, to.version) {
        (true, _) => "already".to_owned(),
        (_, Some(_)) => format!("now{was}"),
        (_, None) => format!("again{was}"),
    };
    let alias = Cell::new(&moved.alias).style(styles::STRONG);
    out::result(&format!("{alias} {}\n", Cell::new(format!("of {} is version {} {then}", to.model, moved.version))))?;
    Ok(End::Well)
}

#[cfg(test)]
mod tests {
    use super::find_version;
    use crate::base::{ArtifactId, Timestamp};
    use crate::cli::Failure;
    use crate::model::{ModelAlias, ModelDetail};

    fn model(newest_version: u64, aliases: &[(&str, u64)]) -> ModelDetail {
        let at = Timestamp::from_micros(0);
        let alias = |(alias, version): &(&str, u64)| ModelAlias {
            alias: (*alias).to_owned(),
            version: *version,
            artifact_id: ArtifactId::new(),
            since: at,
            rollback_to: None,
        };
        let aliases = aliases.iter().map(alias).collect();
        ModelDetail { name: "penguins".to_owned(), created_at: at, newest_version, aliases, card: None }
    }

    #[test]
    fn a_version_is_named_by_its_number_latest_or_an_alias() {
        let model = model(4, &[("candidate", 3), ("production", 1)]);
        let found = ["2", "v4", "latest", "candidate", "production"].map(|text| find_version(&model, text).unwrap());
        assert_eq!(found, [2, 4, 4, 3, 1]);
    }

    #[test]
    fn a_version_that_is_not_there_is_refused_with_what_is() {
        let refused = |model: &ModelDetail, text: &str| match find_version(model, text) {
            Err(Failure::Usage(error)) => error.to_string(),
            other => panic!("{other:?}"),
        };
        let some = model(4, &[("candidate", 3), ("production", 1)]);
        assert_eq!(refused(&some, "5"), "`penguins` has no version 5: its newest is 4");
        assert_eq!(refused(&some, "0"), "`penguins` has no version 0: its newest is 4");
        let how = "a version is named by its number (3), `latest`, or an alias that names it";
        assert_eq!(
            refused(&some, "prodution"),
            format!("`penguins` has no alias `prodution`; did you mean `production`?; {how}")
        );
        assert_eq!(refused(&some, "x"), format!("`penguins` has no alias `x`; it has candidate, production; {how}"));
        let none = model(0, &[]);
        assert_eq!(["1", "latest"].map(|text| refused(&none, text)), ["`penguins` has no version yet"; 2]);
        assert_eq!(refused(&none, "x"), format!("`penguins` has no alias `x`; {how}"));
    }
}
