//! `anacostia store copy`: copies all records to another store.

use std::path::Path;

use serde_json::json;

use crate::base::{Clock as _, SystemClock};
use crate::cli::load::{PathArg, load_for_records};
use crate::cli::progress::Progress;
use crate::cli::runtime::runtime;
use crate::cli::show::{Cell, Column, Table, short_digest};
use crate::cli::{End, Failure, out};
use crate::manifest::store_at;
use crate::store::{self, CopiedRecords, CopyProgress};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store to copy: a manifest or a folder with one, the file of a SQLite database, or a URL
    /// such as postgres://anna@db.example.com/lab?schema=penguins or
    /// redis://cache.example.com?prefix=penguins
    from: String,
    /// The store to make, named in the same way. Nothing may be on record there
    to: String,
    /// Print what was copied as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn copy(args: &Args) -> Result<End, Failure> {
    let named = |text: &str| -> Result<_, Failure> {
        let path = Path::new(text);
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "toml") {
            return Ok(load_for_records(&PathArg::from(text))?.store);
        }
        store_at(text, &|name| std::env::var(name).ok()).map_err(Failure::usage)
    };
    let (from, to) = (named(&args.from)?, named(&args.to)?);
    let (from_place, to_place) = (from.location(), to.location());
    let holder = runtime()?.block_on(store::holder(&from))?;
    let progress = Progress::start(&format!("Copying {from_place} to {to_place}"));
    let mut tell = |at: CopyProgress| progress.show(&how_far(at));
    let copied = store::copy_store(&from, &to, SystemClock.now(), &mut tell)?;
    drop(progress);
    let copied = copied.ok_or_else(|| Failure::usage(format!("nothing is on record in {from_place}")))?;
    if args.json {
        let body = |of: &CopiedRecords| json!({"kind": of.kind, "count": of.count, "digest": of.digest});
        let items: Vec<_> = copied.iter().map(body).collect();
        out::json(&json!({"from": from_place, "to": to_place, "items": items}))?;
    } else {
        out::result(&table(&copied))?;
    }
    if let Some(holder) = holder {
        let lost = format!("what it recorded since the copy began is only in {from_place}");
        out::error(&format!("warning: a host is running on {from_place} ({holder}): {lost}\n"));
    }
    let next = "name it in `[metadata_store]` of the manifest, and start the host";
    out::error(&format!("All records were read back from {to_place}, and are the same. To go on with them, {next}.\n"));
    Ok(End::Well)
}

fn how_far(CopyProgress { written, verified, all }: CopyProgress) -> String {
    if verified == 0 { format!("{written} of {all} records") } else { format!("{verified} of {all} read back") }
}

fn table(copied: &[CopiedRecords]) -> String {
    let mut table = Table::new(&[("RECORDS", Column::Word), ("COUNT", Column::Number), ("DIGEST", Column::Word)]);
    for of in copied.iter().filter(|of| of.count > 0) {
        table.row(vec![Cell::new(of.kind), Cell::new(of.count.to_string()), Cell::new(short_digest(of.digest))]);
    }
    let all: u64 = copied.iter().map(|of| of.count).sum();
    table.row(vec![Cell::new("all"), Cell::new(all.to_string()), Cell::new("")]);
    table.render(out::result_width())
}
