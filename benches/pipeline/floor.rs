//! Floors: the same kinds of work, done by bare code with nothing around it.
//!
//! A floor is the least that the work can cost on this machine at this moment. So the bare code is
//! efficient: it prepares its one statement; its database is configured as ours is, with a warm log
//! (a fresh one grows on disk with each commit); it shares a commit and uses every core where ours
//! may. A busy machine only makes it slower, so the best of several rounds counts, or the median of
//! thousands of samples.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
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
use crate::host::{Workspace, small};
use crate::table::quantile;

/// Number of rounds, of which the best counts.
const ROUNDS: usize = 5;
/// Steps of a run that each must be on record before the next step: its file is seen, it is
/// created, each of its three actions has ended.
const STEPS: usize = 5;

/// Costs of the kinds of work, in seconds.
#[derive(Debug)]
pub(crate) struct Floors {
    /// Time from closing a file until a waiting thread has the event, median.
    pub(crate) wake_up: f64,
    pub(crate) wake_up_p95: f64,
    /// Opening, reading and hashing a small file.
    pub(crate) read_small: f64,
    /// One SQLite commit of one row, WAL, `synchronous = NORMAL`, median.
    pub(crate) commit: f64,
    /// A fresh instance of the guest, one call, and its end; median.
    pub(crate) instance: f64,
    /// A small request to another thread and its answer, over loopback; median.
    pub(crate) round_trip: f64,
}

impl Floors {
    pub(crate) fn measure(effort: Effort, workspace: &Workspace) -> Result<Self> {
        let scratch = workspace.scratch()?;
        let (wake_up, wake_up_p95) = wake_up(scratch.path(), effort.of(500, 100))?;
        Ok(Self {
            wake_up,
            wake_up_p95,
            read_small: read_small(scratch.path(), effort.of(2_000, 200))?,
            commit: commit(scratch.path(), effort.of(5_000, 1_000))?,
            instance: instance(&workspace.guest(), effort.of(5_000, 1_000))?,
            round_trip: round_trip(effort.of(5_000, 1_000))?,
        })
    }

    /// The least time from closing a file to the guest's first instruction, if a commit takes this
    /// long: median and p95.
    pub(crate) fn latency(&self, commit: f64) -> (f64, f64) {
        let rest = self.read_small + commit + self.instance;
        (self.wake_up + rest, self.wake_up_p95 + rest)
    }

    pub(crate) fn text(&self) -> String {
        let us = |seconds: f64| format!("{:.1} µs", seconds * 1e6);
        format!(
            "inotify wake-up {} (p95 {}), read and hash a small file {}, SQLite commit {}, fresh instance called and dropped {}, \
             round trip over loopback {}",
            us(self.wake_up),
            us(self.wake_up_p95),
            us(self.read_small),
            us(self.commit),
            us(self.instance),
            us(self.round_trip)
        )
    }
}

/// Measures the time from just before a file is closed until the thread that reads the events has
/// the event. Returns median and p95.
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

/// Opens a database configured as ours is, whose log already has its full size on disk and is
/// overwritten from its beginning.
fn database(folder: &Path) -> Result<Connection> {
    let db = Connection::open(folder.join("bare.db"))?;
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 8192; PRAGMA cache_size = -8192;
         PRAGMA temp_store = MEMORY;
         CREATE TABLE bare (id INTEGER PRIMARY KEY, path TEXT UNIQUE, digest BLOB, state TEXT);
         CREATE TABLE filler (bytes BLOB);
         INSERT INTO filler WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 8192) SELECT zeroblob(4000) FROM n;
         PRAGMA wal_checkpoint(RESTART);",
    )?;
    Ok(db)
}

/// Returns the shortest of several rounds, in seconds.
fn best(mut round: impl FnMut(usize) -> Result<Duration>) -> Result<f64> {
    let spans = (0..ROUNDS).map(|n| round(n).map(|span| span.as_secs_f64())).collect::<Result<Vec<_>>>()?;
    spans.into_iter().min_by(f64::total_cmp).context("there was no round")
}

#[expect(clippy::cast_precision_loss, reason = "a machine has few cores")]
pub(crate) fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64)
}

fn round_trip(count: usize) -> Result<f64> {
    // About the size of a request and its response.
    let (mut request, mut answer) = ([b'q'; 200], [b'a'; 600]);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    client.set_nodelay(true)?;
    let server = std::thread::spawn(move || -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut asked = [0; 200];
        for _ in 0..count {
            stream.read_exact(&mut asked)?;
            stream.write_all(&[b'a'; 600])?;
        }
        Ok(())
    });
    let mut spans = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        client.write_all(&request)?;
        client.read_exact(&mut answer)?;
        spans.push(began.elapsed().as_secs_f64());
        std::hint::black_box((&mut request, &mut answer));
    }
    server.join().ok().context("the other end failed")??;
    Ok(quantile(&mut spans, 0.5))
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

/// The guest with host functions that return at once.
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

/// Runs in a second: `count` files are written, and for each there are three instances that read
/// it; `together` runs go on side by side, so that they share the commit of each step.
pub(crate) fn burst(folder: &Path, count: usize, together: usize, instance: f64) -> Result<f64> {
    burst_over(folder, count, together, instance, &mut sqlite(folder)?)
}

/// Puts names on record in a store, all of them in one commit.
pub(crate) type Commit = Box<dyn FnMut(&[String]) -> Result<()>>;

/// Returns what does so in a new database in a folder.
pub(crate) fn sqlite(folder: &Path) -> Result<Commit> {
    let mut db = database(folder)?;
    Ok(Box::new(move |names| {
        let transaction = db.transaction()?;
        let mut insert = transaction.prepare_cached(INSERT)?;
        for name in names {
            insert.execute(params![name, [7_u8; 32]])?;
        }
        drop(insert);
        Ok(transaction.commit()?)
    }))
}

/// Returns the time of a commit of one name, the median of `count`, in seconds.
pub(crate) fn commit_over(count: usize, commit: &mut Commit) -> Result<f64> {
    let mut spans = Vec::new();
    for n in 0..count {
        let name = [format!("one {n}")];
        let began = Instant::now();
        commit(&name)?;
        spans.push(began.elapsed().as_secs_f64());
    }
    Ok(quantile(&mut spans, 0.5))
}

/// As [`burst`], in any store.
pub(crate) fn burst_over(
    folder: &Path,
    count: usize,
    together: usize,
    instance: f64,
    commit: &mut Commit,
) -> Result<f64> {
    let whole = best(|round| {
        let inside = folder.join(round.to_string());
        fs::create_dir(&inside)?;
        let began = Instant::now();
        write_many(&inside, count)?;
        let names: Vec<String> = (0..count).map(|n| format!("{n}.csv")).collect();
        for runs in names.chunks(together) {
            for step in 0..STEPS {
                let records: Vec<String> = runs.iter().map(|name| format!("{round} {name} {step}")).collect();
                commit(&records)?;
                for name in runs.iter().filter(|_| (1..=3).contains(&step)) {
                    std::hint::black_box(fs::read(inside.join(name))?);
                }
            }
        }
        Ok(began.elapsed())
    })?;
    #[expect(clippy::cast_precision_loss, reason = "a count of some hundreds")]
    let count = count as f64;
    Ok(1.0 / (whole / count + 3.0 * instance / cores()))
}

/// Files written, and meanwhile by another thread each read, hashed and put on record, all of them
/// in one transaction. In seconds.
pub(crate) fn record(folder: &Path, count: usize) -> Result<f64> {
    let mut db = database(folder)?;
    best(|round| {
        let inside = folder.join(round.to_string());
        fs::create_dir(&inside)?;
        let began = Instant::now();
        std::thread::scope(|scope| -> Result<()> {
            let (tell, told) = mpsc::channel();
            let inside = &inside;
            let writer = scope.spawn(move || -> Result<()> {
                for n in 0..count {
                    fs::write(inside.join(format!("{n}.csv")), small("bare", n))?;
                    tell.send(n)?;
                }
                Ok(())
            });
            let transaction = db.transaction()?;
            let mut insert = transaction.prepare_cached(INSERT)?;
            for n in told {
                let name = format!("{n}.csv");
                let digest = Sha256::digest(fs::read(inside.join(&name))?);
                insert.execute(params![format!("{round} {name}"), digest.as_slice()])?;
            }
            drop(insert);
            transaction.commit()?;
            writer.join().ok().context("the writer of files failed")?
        })?;
        Ok(began.elapsed())
    })
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
