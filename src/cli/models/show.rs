//! `anacostia models show`.

use std::collections::BTreeMap;

use serde_json::json;

use super::target::find;
use crate::base::{Clock as _, SystemClock};
use crate::cli::load::PathArg;
use crate::cli::records::Records;
use crate::cli::show::{ModelAbout, model_detail};
use crate::cli::{End, Failure, out};
use crate::http::bodies::List;
use crate::model::{AliasMove, ModelVersion};
use crate::store::{FactQuery, PageRequest};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model
    model: String,
    #[command(flatten)]
    path: PathArg,
    /// Show the last value of this metric in the run of each version; may be given several times
    #[arg(long, value_name = "NAME")]
    metric: Vec<String>,
    /// At most this many versions and moves
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn show(args: &Args) -> Result<End, Failure> {
    let records = Records::open(&args.path)?;
    let model = find(&records, &args.model)?;
    let page = || PageRequest { cursor: None, limit: args.limit };
    let versions = records.ask(records.store.model_versions(&model.name, page()))?;
    let moves = records.ask(records.store.alias_moves(&model.name, page()))?;
    if args.json {
        let (versions, moves) = (List::<ModelVersion>::from(versions), List::<AliasMove>::from(moves));
        out::json(&json!({ "model": model, "versions": versions, "moves": moves }))?;
        return Ok(End::Well);
    }
    let mut metrics = BTreeMap::new();
    for run in versions.items.iter().filter_map(|version| version.run_id) {
        for name in &args.metric {
            let query = FactQuery { run: Some(run), name: Some(name.clone()), ..FactQuery::default() };
            let last = records.ask(records.store.metrics(query, PageRequest { cursor: None, limit: 1 }))?.items.pop();
            if let Some(last) = last {
                metrics.insert((run, name.clone()), last.value);
            }
        }
    }
    let about = ModelAbout {
        model: &model,
        versions: &versions.items,
        more_versions: versions.next_cursor.is_some(),
        moves: &moves.items,
        more_moves: moves.next_cursor.is_some(),
        metric_names: &args.metric,
        metrics: &metrics,
    };
    out::result(&model_detail(&about, &args.path.shown(), SystemClock.now(), out::result_width()))?;
    Ok(End::Well)
}
