//! `anacostia gc`: frees disk space.
//!
//! A running host does it, because it alone binds runs to components and writes to the store. If
//! none is running, the store is opened as by a host, so that none can start meanwhile.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::load::PathArg;
use super::records::Records;
use super::runtime::runtime;
use super::show::{Cell, Column, Table, plural};
use super::{End, Failure, build, open, out};
use crate::base::{ByteSize, Clock as _, Digest, SystemClock};
use crate::http::bodies::{FreedBody, GcBody};
use crate::manifest::Pipeline;
use crate::scheduler::{KeptComponents, Space};
use crate::store::{HostStore, StorePart, components, logs};

/// How long a host may take. It goes on if nobody waits.
const PATIENCE: Duration = Duration::from_hours(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    path: PathArg,
    /// Only print what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Print what was removed as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn gc(args: &Args) -> Result<End, Failure> {
    // Fails if nothing is on record yet: there is nothing to free then, and no store is created.
    let pipeline = Records::open(&args.path)?.pipeline;
    // Before anything is removed.
    let parts = open::upkeep(&pipeline, &args.path.shown())?.parts()?;
    let freed = match open::holder(&pipeline)? {
        Some(holder) => {
            let body = serde_json::to_value(GcBody { dry_run: args.dry_run }).map_err(anyhow::Error::from)?;
            let answer = open::remote(&holder)?.change_within("gc", &body, PATIENCE)?;
            serde_json::from_value(answer).map_err(anyhow::Error::from)?
        }
        None => without_a_host(&pipeline, args.dry_run)?,
    };
    let rows = rows(&freed, &parts);
    if args.json {
        let part = |row: &Row| json!({"name": row.name, "count": row.count, "bytes": row.bytes});
        let records: Vec<_> = rows.iter().filter(|row| row.of_records).map(part).collect();
        out::json(&json!({
            "dry_run": freed.dry_run, "records": records, "trimmed_runs": freed.records.trimmed_runs,
            "components": freed.components, "logs": freed.logs, "compiled_code": freed.compiled_code,
        }))?;
    } else {
        out::result(&summary(&freed, &rows))?;
    }
    Ok(End::Well)
}

fn without_a_host(pipeline: &Pipeline, dry_run: bool) -> Result<FreedBody, Failure> {
    let used = pipeline.components().filter_map(|used| Some(build::identity(used.file)?.1));
    let in_force: BTreeSet<Digest> = used.collect();
    runtime()?.block_on(async {
        // A host binds runs to components at any time: none may start meanwhile.
        let HostStore { store, lease: _lease } = open::for_host(pipeline, SystemClock.now()).await?;
        let stored = components::open(&pipeline.state);
        let space = Space {
            components: KeptComponents::new(Arc::clone(&store), stored, &pipeline.retention),
            store,
            logs: logs::open(&pipeline.state, pipeline.max_log_bytes)?,
            compiled: open::compiled_code(pipeline).into(),
            clock: Arc::new(SystemClock),
        };
        let given_back = space.give_back(pipeline, &in_force, dry_run).await;
        Ok(FreedBody::new(dry_run, given_back.whole()?))
    })
}

/// A part of what was removed.
struct Row {
    name: &'static str,
    count: u64,
    bytes: u64,
    /// Whether the bytes are in the store, whose file does not become smaller.
    of_records: bool,
}

/// Returns the parts. `parts` says what one record of each takes.
fn rows(freed: &FreedBody, parts: &[StorePart]) -> Vec<Row> {
    let records = &freed.records;
    let counts = [
        ("runs", records.runs),
        ("attempts", records.attempts),
        ("reads and writes", records.accesses),
        ("metrics", records.metrics),
        ("params", records.params),
        ("tags of runs", records.tags),
        ("denied calls", records.denials),
        ("network requests", records.requests),
    ];
    let files = [
        ("kept components", &freed.components),
        ("log segments", &freed.logs),
        ("files of compiled code", &freed.compiled_code),
    ];
    let of_records = counts.into_iter().map(|(name, count)| {
        let part = parts.iter().find(|part| part.name == name && part.count > 0);
        let share = |part: &StorePart| u128::from(part.bytes) * u128::from(count) / u128::from(part.count);
        let bytes = part.map_or(0, |part| u64::try_from(share(part)).unwrap_or(u64::MAX));
        Row { name, count, bytes, of_records: true }
    });
    let of_files =
        files.into_iter().map(|(name, freed)| Row { name, count: freed.files, bytes: freed.bytes, of_records: false });
    of_records.chain(of_files).collect()
}

fn summary(freed: &FreedBody, rows: &[Row]) -> String {
    let what = if freed.dry_run { "WOULD REMOVE" } else { "REMOVED" };
    let mut table = Table::new(&[(what, Column::Word), ("COUNT", Column::Number), ("SIZE", Column::Number)]);
    for row in rows.iter().filter(|row| row.count > 0 || !row.of_records) {
        let size = ByteSize(row.bytes).to_string();
        table.row(vec![
            Cell::new(row.name),
            Cell::new(row.count.to_string()),
            Cell::new(if row.of_records { format!("about {size}") } else { size }),
        ]);
    }
    let all = rows.iter().map(|row| row.bytes).sum();
    table.row(vec![Cell::new("all"), Cell::new(""), Cell::new(ByteSize(all).to_string())]);
    let mut text = table.render(out::result_width());
    let trimmed = freed.records.trimmed_runs;
    if trimmed > 0 {
        let (verb, whose) = if trimmed == 1 { ("stays", "its") } else { ("stay", "their") };
        let lost = if freed.dry_run { "would lose" } else { "lost" };
        let runs = plural(trimmed, "old run");
        let _ = writeln!(
            text,
            "{runs} {verb} for the sake of lineage, and {lost} {whose} metrics, params, requests and denied calls."
        );
    }
    if !freed.dry_run && rows.iter().any(|row| row.of_records && row.count > 0) {
        text.push_str("The store keeps the space of records for new ones.\n");
    }
    text
}
