//! Runs over each kind of metadata store, beside the least that the store costs: one round trip a
//! commit, by bare code with the same driver.
//!
//! The servers are those of the tests: PostgreSQL syncs nothing (`durability = "normal"` waits for
//! no sync either), and Redis syncs every write to a file in memory, where the machine has that.

use anyhow::Result;
use tokio_postgres::NoTls;

use crate::Bench;
use crate::burst::{self, BURST, CONCURRENT_RUNS};
use crate::floor::{self, Commit};
use crate::host::chain;
use crate::latency;
use crate::servers::TestServer;
use crate::table::{Figure, Row, quantile};

pub(crate) fn all(bench: &Bench) -> Result<Vec<Row>> {
    let folder = bench.workspace.scratch()?;
    let mut rows = measure(bench, "SQLite", |_| String::new(), floor::sqlite(folder.path())?)?;

    let server = TestServer::postgres()?;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port);
    let section = |name: &str| format!("[metadata_store]\nkind = \"postgres\"\nurl = \"{url}\"\nschema = \"{name}\"\n");
    rows.extend(measure(bench, "PostgreSQL", section, postgres(&url)?)?);

    let server = TestServer::redis()?;
    let url = format!("redis://127.0.0.1:{}", server.port);
    let section = |name: &str| format!("[metadata_store]\nkind = \"redis\"\nurl = \"{url}\"\nprefix = \"{name}\"\n");
    rows.extend(measure(bench, "Redis", section, redis(&url)?)?);
    Ok(rows)
}

/// Measures latency and bursts over a store. `section` returns the part of a manifest for records
/// of that name.
fn measure(bench: &Bench, store: &str, section: impl Fn(&str) -> String, mut commit: Commit) -> Result<Vec<Row>> {
    let floors = &bench.floors;
    let round_trip = floor::commit_over(bench.effort.of(5_000, 500), &mut commit)?;
    let (bare, bare_p95) = floors.latency(round_trip);
    let pipeline = bench.workspace.pipeline_of("{}", 1, &(chain(&["stamp"], "stamp") + &section("latency")))?;
    let mut spans = latency::spans(bench, &pipeline, pipeline.start()?)?;

    let (pipeline, host) = burst::awake(bench, &section("burst"))?;
    let mut rates = (0..bench.effort.of(15, 3))
        .map(|round| burst::of_host(&pipeline, &host, &format!("burst{round}-")))
        .collect::<Result<Vec<_>>>()?;
    host.stop()?;
    let folder = bench.workspace.scratch()?;
    let bare_rate = floor::burst_over(folder.path(), BURST, CONCURRENT_RUNS, floors.instance, &mut commit)?;

    Ok(vec![
        Row::new(format!("{store}: one record committed by bare code, p50"), Figure::Seconds(round_trip)),
        Row::new("… file closed → guest's first instruction, p50", Figure::Seconds(quantile(&mut spans, 0.5)))
            .floor(Figure::Seconds(bare)),
        Row::new("… p95", Figure::Seconds(quantile(&mut spans, 0.95))).floor(Figure::Seconds(bare_p95)),
        Row::new("… three-action runs, burst of 500 files", Figure::PerSecond(quantile(&mut rates, 0.5)))
            .floor(Figure::PerSecond(bare_rate)),
    ])
}

fn postgres(url: &str) -> Result<Commit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (client, connection) = runtime.block_on(tokio_postgres::connect(url, NoTls))?;
    runtime.spawn(connection);
    let create = "create table bare (id bigserial primary key, path text unique, digest bytea, state text)";
    runtime.block_on(client.batch_execute(create))?;
    let insert = "insert into bare (path, digest, state) select path, $2, 'new' from unnest($1::text[]) as it (path)";
    let insert = runtime.block_on(client.prepare(insert))?;
    Ok(Box::new(move |names| {
        runtime.block_on(client.execute(&insert, &[&names, &&[7_u8; 32][..]]))?;
        Ok(())
    }))
}

fn redis(url: &str) -> Result<Commit> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    Ok(Box::new(move |names| {
        let mut commands = redis::pipe();
        commands.atomic();
        for name in names {
            commands.hset_multiple(format!("bare:{name}"), &[("digest", "7777777"), ("state", "new")]).ignore();
        }
        Ok(commands.query::<()>(&mut connection)?)
    }))
}
