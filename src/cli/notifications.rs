//! `anacostia notifications`: what was sent, and what became of it.

use super::load::PathArg;
use super::records::Records;
use super::{End, Failure, out, show};
use crate::base::{Clock as _, SystemClock};
use crate::http::bodies::List;
use crate::model::Notification;
use crate::store::{NotificationQuery, PageRequest};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// Only those of `[notify.NAME]`
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
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

pub(crate) fn notifications(args: Args) -> Result<End, Failure> {
    let records = Records::open(&args.path)?;
    let page = PageRequest { cursor: args.cursor, limit: args.limit };
    let page = records.ask(records.store.notifications(NotificationQuery { name: args.name.clone() }, page))?;
    if args.json {
        out::json(&List::<Notification>::from(page))?;
    } else if page.items.is_empty() {
        out::error(&match (args.name, records.pipeline.notify.is_empty()) {
            (_, true) => "Nobody is notified: the manifest has no `[notify.NAME]`.\n".to_owned(),
            (Some(name), _) => format!("There are no notifications to `{name}`.\n"),
            (None, _) => "There are no notifications yet.\n".to_owned(),
        });
    } else {
        out::result(&show::notification_list(&page.items, SystemClock.now(), out::result_width()))?;
        if let Some(cursor) = page.next_cursor {
            out::error(&format!("There are more: add `--cursor {cursor}`.\n"));
        }
    }
    Ok(End::Well)
}
