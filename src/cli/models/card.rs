//! `anacostia models card`.

use std::path::PathBuf;

use serde_json::json;

use super::register::model_name;
use crate::base::{Clock as _, SystemClock};
use crate::cli::load::PathArg;
use crate::cli::records::Records;
use crate::cli::remote::segment;
use crate::cli::runtime::runtime;
use crate::cli::show::{Cell, plain, styles};
use crate::cli::{End, Failure, open, out};
use crate::model::check_card;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model, which is created if there is none of this name
    #[arg(value_parser = model_name)]
    model: String,
    /// The file with the card, in Markdown
    file: PathBuf,
    #[command(flatten)]
    path: PathArg,
    /// Print the model as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn card(args: &Args) -> Result<End, Failure> {
    let shown = plain(&args.file.display().to_string());
    let card = std::fs::read_to_string(&args.file)
        .map_err(|error| Failure::usage(format!("failed to read the model card {shown}: {error}")))?;
    check_card(&card).map_err(|why| Failure::usage(format!("{shown} cannot be used: {why}")))?;
    let pipeline = Records::open(&args.path)?.pipeline;
    let model = if let Some(holder) = open::holder(&pipeline)? {
        let path = format!("models/{}", segment(&args.model));
        open::remote(&holder)?.replace(&path, &json!({ "card": card }))?
    } else {
        let now = SystemClock.now();
        let model = runtime()?.block_on(async {
            let store = open::for_writing(&pipeline, now).await?.store;
            store.set_model_card(&args.model, &card, now).await?;
            store.model(&args.model).await.map_err(Failure::from)
        })?;
        serde_json::to_value(model).map_err(|error| Failure::Work(error.into()))?
    };
    if args.json {
        out::json(&model)?;
    } else {
        let name = Cell::new(&args.model).style(styles::STRONG);
        out::result(&format!("{name} has the card {shown}\n"))?;
    }
    Ok(End::Well)
}
