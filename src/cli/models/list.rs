//! `anacostia models list`.

use crate::base::{Clock as _, SystemClock};
use crate::cli::load::PathArg;
use crate::cli::records::Records;
use crate::cli::show::model_list;
use crate::cli::{End, Failure, out};
use crate::http::bodies::List;
use crate::model::RegisteredModel;
use crate::store::PageRequest;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// At most this many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Continue where the previous page ended
    #[arg(long)]
    cursor: Option<String>,
    /// Print the page as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn list(args: Args) -> Result<End, Failure> {
    let records = Records::open(&args.path)?;
    let page = records.ask(records.store.models(PageRequest { cursor: args.cursor, limit: args.limit }))?;
    if args.json {
        out::json(&List::<RegisteredModel>::from(page))?;
    } else if page.items.is_empty() {
        out::error(
            "no models yet: add `model = \"NAME\"` to the resource that an action publishes its models to, or register an \
             artifact with `anacostia models register`\n",
        );
    } else {
        out::result(&model_list(&page.items, SystemClock.now(), out::result_width()))?;
        if let Some(cursor) = page.next_cursor {
            out::error(&format!("There are more: add `--cursor {cursor}`.\n"));
        }
    }
    Ok(End::Well)
}
