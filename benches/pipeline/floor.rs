//! What the machine can do: the same kinds of work by bare code, with nothing around it.

use std::fs::{self, File};
use std::io::Read as _;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rusqlite::{Connection, params};
use rustix::fs::inotify;
use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, Linker, Val};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

use crate::Effort;
use crate::host::{Workshop, small};
use crate::table::quantile;

/// In seconds.
#[derive(Debug)]
pub(crate) struct Floors {
    /// From closing a file to a thread that waits for that, median.
    pub(crate) wake_up: f64,
    pub(crate) wake_up_p95: f64,
    /// Opening, reading and hashing a small file.
    pub(crate) read_small: f64,
    /// One SQLite commit of one row, WAL, `synchronous = NORMAL`, median.
    pub(crate) commit: f64,
    /// A fresh instance of the guest, one call, and its end; median.
    pub(crate) instance: f64,
}

impl Floors {
    pub(crate) fn measure(effort: Effort, workshop: &Workshop) -> Result<Self> {
        let scratch = workshop.scratch()?;
        let (wake_up, wake_up_p95) = wake_up(scratch.path(), effort.of(500, 100))?;
        Ok(Self {
            wake_up,
            wake_up_p95,
            read_small: read_small(scratch.path(), effort.of(2_000, 200))?,
            commit: commit(scratch.path(), effort.of(5_000, 1_000))?,
            instance: instance(&workshop.guest(), effort.of(5_000, 1_000))?,
        })
    }

    pub(crate) fn text(&self) -> String {
        let us = |seconds: f64| format!("{:.1} µs", seconds * 1e6);
        format!(
            "inotify wake-up {} (p95 {}), read and hash a small file {}, SQLite commit {}, fresh instance called and dropped {}",
            us(self.wake_up),
            us(self.wake_up_p95),
            us(self.read_small),
            us(self.commit),
            us(self.instance)
        )
    }
}

/// From just before a file is closed until the thread that reads the events has the event. Median and p95.
fn wake_up(folder: &Path, count: usize) -> Result<(f64, f64)> {
    let watched = folder.join("watched");
    fs::create_dir(&watched)?;
    let events = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&events, &watched, inotify::WatchFlags::CLOSE_WRITE)?;
    let (tell, told) = mpsc::channel();
    let reader = std::thread::spawn(move || -> Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(events, &mut buffer);
        for _ in 0..count {
            events.next()?;
            tell.send(Instant::now())?;
        }
        Ok(())
    });
    let mut spans = Vec::new();
    for n in 0..count {
        let file = File::create(watched.join(n.to_string()))?;
        let closed = Instant::now();
        drop(file);
        spans.push((told.recv()? - closed).as_secs_f64());
        std::thread::sleep(Duration::from_millis(5));
    }
    reader.join().ok().context("the reader of events failed")??;
    Ok((quantile(&mut spans, 0.5), quantile(&mut spans, 0.95)))
}

fn read_small(folder: &Path, count: usize) -> Result<f64> {
    let path = folder.join("small");
    fs::write(&path, small("small", 0))?;
    let mut spans = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        std::hint::black_box(Sha256::digest(fs::read(&path)?));
        spans.push(began.elapsed().as_secs_f64());
    }
    Ok(quantile(&mut spans, 0.5))
}

fn database(folder: &Path) -> Result<Connection> {
    let db = Connection::open(folder.join("bare.db"))?;
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4096;
         CREATE TABLE bare (id INTEGER PRIMARY KEY, path TEXT UNIQUE, digest BLOB, state TEXT)",
    )?;
    Ok(db)
}

const INSERT: &str = "INSERT INTO bare (path, digest, state) VALUES (?1, ?2, 'new')";

fn commit(folder: &Path, count: usize) -> Result<f64> {
    let db = database(folder)?;
    let mut insert = db.prepare(INSERT)?;
    let mut spans = Vec::new();
    for n in 0..count {
        let path = n.to_string();
        let began = Instant::now();
        insert.execute(params![path, [7_u8; 32]])?;
        spans.push(began.elapsed().as_secs_f64());
    }
    Ok(quantile(&mut spans, 0.5))
}

/// The guest with hosts' functions that answer at once.
fn instance(guest: &Path, count: usize) -> Result<f64> {
    let mut config = Config::new();
    let mut pool = PoolingAllocationConfig::new();
    pool.linear_memory_keep_resident(1 << 20).table_keep_resident(64 << 10);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config)?;
    let component = Component::from_file(&engine, guest)?;
    let mut linker: Linker<()> = Linker::new(&engine);
    linker.define_unknown_imports_as_traps(&component)?;
    linker.allow_shadowing(true);
    for (name, _) in component.component_type().imports(&engine) {
        let mut imported = linker.instance(name)?;
        if name.starts_with("wasi:clocks/wall-clock") {
            let now =
                [("seconds", Val::U64(0)), ("nanoseconds", Val::U32(0))].map(|(name, val)| (name.to_owned(), val));
            imported.func_new("now", move |_, _, _, results| answer(results, Val::Record(now.to_vec())))?;
        } else if name.starts_with("anacostia:pipeline/run-context") {
            let text = Val::String(r#"{"mode":"nothing"}"#.to_owned());
            imported.func_new("params", move |_, _, _, results| answer(results, text.clone()))?;
        }
    }
    let ready = linker.instantiate_pre(&component)?;
    let (_, action) =
        component.get_export(None, "anacostia:pipeline/action@0.1.0").context("the guest exports no action")?;
    let (_, run) = component.get_export(Some(&action), "run").context("the guest exports no `run`")?;
    let mut spans = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        let mut store = Store::new(&engine, ());
        let mut results = [Val::Bool(false)];
        let instance = ready.instantiate(&mut store)?;
        instance.get_func(&mut store, run).context("`run` is no function")?.call(&mut store, &[], &mut results)?;
        drop(store);
        spans.push(began.elapsed().as_secs_f64());
        anyhow::ensure!(matches!(results, [Val::Result(Ok(_))]), "the guest failed");
    }
    Ok(quantile(&mut spans, 0.5))
}

#[expect(clippy::unnecessary_wraps, reason = "what a function of a host returns")]
pub(crate) fn answer(results: &mut [Val], value: Val) -> wasmtime::Result<()> {
    if let Some(result) = results.first_mut() {
        *result = value;
    }
    Ok(())
}

/// Three instances a run, its file read for each, and five commits (created, three actions, ended); and the files written before. Runs in a second.
pub(crate) fn burst(folder: &Path, count: usize, instance: f64) -> Result<f64> {
    let db = database(folder)?;
    let mut insert = db.prepare(INSERT)?;
    let began = Instant::now();
    write_many(folder, count)?;
    for n in 0..count {
        let path = folder.join(format!("{n}.csv"));
        for step in 0..5 {
            insert.execute(params![format!("{n} {step}"), [7_u8; 32]])?;
        }
        for _ in 0..3 {
            std::hint::black_box(fs::read(&path)?);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of some hundreds")]
    let count = count as f64;
    Ok(1.0 / (began.elapsed().as_secs_f64() / count + 3.0 * instance))
}

/// Files written, then each read and hashed, and all of them put on record in one transaction. In seconds.
pub(crate) fn record(folder: &Path, count: usize) -> Result<f64> {
    let mut db = database(folder)?;
    let began = Instant::now();
    write_many(folder, count)?;
    let transaction = db.transaction()?;
    let mut insert = transaction.prepare(INSERT)?;
    for n in 0..count {
        let name = format!("{n}.csv");
        let digest = Sha256::digest(fs::read(folder.join(&name))?);
        insert.execute(params![name, digest.as_slice()])?;
    }
    drop(insert);
    transaction.commit()?;
    Ok(began.elapsed().as_secs_f64())
}

fn write_many(folder: &Path, count: usize) -> Result<()> {
    (0..count).try_for_each(|n| Ok(fs::write(folder.join(format!("{n}.csv")), small("bare", n))?))
}

/// MiB in a second, a file read in chunks of 1 MiB into one buffer; the best of three.
pub(crate) fn file_read(path: &Path) -> Result<f64> {
    let mut buffer = vec![0; 1 << 20];
    let mut best = 0.0_f64;
    for _ in 0..3 {
        let mut file = File::open(path)?;
        let (began, mut mebibytes) = (Instant::now(), 0.0);
        while file.read(&mut buffer)? > 0 {
            mebibytes += 1.0;
        }
        best = best.max(mebibytes / began.elapsed().as_secs_f64());
    }
    Ok(best)
}
