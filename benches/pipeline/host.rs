//! Creates pipelines in their own folders, and runs hosts on them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rusqlite::{Connection, OpenFlags};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Timeout of every wait.
pub(crate) const DEADLINE: Duration = Duration::from_mins(5);

/// The binary that is measured.
pub(crate) const ANACOSTIA: &str = env!("CARGO_BIN_EXE_anacostia");

/// A temporary folder for pipelines, with the guest and a shared cache of compiled code. Dropping
/// it removes everything.
pub(crate) struct Workspace {
    folder: TempDir,
}

impl Workspace {
    pub(crate) fn new() -> Result<Self> {
        let workspace = Self { folder: tempfile::Builder::new().prefix("anacostia-bench-").tempdir()? };
        workspace.build("bench", "build-rust-guest")?;
        Ok(workspace)
    }

    /// Builds one of the test guests with this script.
    pub(crate) fn build(&self, name: &str, script: &str) -> Result<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = self.folder.path().join(name).with_extension("wasm");
        let built = Command::new(root.join("scripts").join(script))
            .arg(root.join("tests/guests").join(name))
            .arg(&file)
            .status()
            .with_context(|| format!("scripts/{script} does not start"))?;
        ensure!(built.success(), "building the guest {name} failed");
        Ok(file)
    }

    /// The component.
    pub(crate) fn guest(&self) -> PathBuf {
        self.path("bench.wasm")
    }

    /// A path in its folder.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Creates a new folder below this one.
    pub(crate) fn scratch(&self) -> Result<TempDir> {
        Ok(tempfile::tempdir_in(self.folder.path())?)
    }

    /// Creates a pipeline: a watched folder `raw` with `trigger`, at most `concurrent` runs at
    /// once, and actions one after another, each with `mode`.
    pub(crate) fn pipeline(&self, trigger: &str, concurrent: usize, actions: &[&str], mode: &str) -> Result<Pipeline> {
        self.pipeline_of(trigger, concurrent, &chain(actions, mode))
    }

    /// Creates a pipeline: a watched folder `raw` with `trigger`, at most `concurrent` runs at
    /// once, and these actions, with what else the manifest has.
    pub(crate) fn pipeline_of(&self, trigger: &str, concurrent: usize, actions: &str) -> Result<Pipeline> {
        let manifest = format!(
            "manifest_version = 1\n[pipeline]\nname = \"bench\"\nmax_concurrent_runs = {concurrent}\n\
             [resources.raw]\nkind = \"folder\"\npath = \"raw\"\nwatch = true\ntrigger = {trigger}\n{actions}"
        );
        let pipeline = self.pipeline_with(&manifest)?;
        fs::create_dir(pipeline.path("raw"))?;
        Ok(pipeline)
    }

    /// Creates a pipeline with this manifest.
    pub(crate) fn pipeline_with(&self, manifest: &str) -> Result<Pipeline> {
        let folder = self.scratch()?;
        fs::write(folder.path().join("anacostia.toml"), manifest)?;
        Ok(Pipeline { cache: self.folder.path().join("cache"), folder })
    }
}

/// Returns the part of a manifest with actions one after another, each with `mode`.
pub(crate) fn chain(actions: &[&str], mode: &str) -> String {
    let mut after = "raw";
    let mut text = String::new();
    for action in actions {
        let _ = writeln!(
            text,
            "[actions.{action}]\ncomponent = \"../bench.wasm\"\nafter = [\"{after}\"]\nreads = [\"raw\"]\nparams = {{ mode = \"{mode}\" }}"
        );
        after = action;
    }
    text
}

/// A pipeline in a folder of its own.
pub(crate) struct Pipeline {
    folder: TempDir,
    cache: PathBuf,
}

impl Pipeline {
    /// A path in its folder.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file into `raw`, and closes it.
    pub(crate) fn drop_file(&self, name: &str, content: &[u8]) -> Result<()> {
        self.open_file(name, content).map(drop)
    }

    /// Writes a file into `raw`; dropping what is returned closes it.
    pub(crate) fn open_file(&self, name: &str, content: &[u8]) -> Result<File> {
        let mut file = File::create(self.folder.path().join("raw").join(name))?;
        file.write_all(content)?;
        Ok(file)
    }

    /// Writes `count` small files, each with different content.
    pub(crate) fn drop_many(&self, prefix: &str, count: usize) -> Result<()> {
        (0..count).try_for_each(|n| self.drop_file(&format!("{prefix}{n}.csv"), &small(prefix, n)))
    }

    /// Starts a host, and waits until it reports that it is ready.
    pub(crate) fn start(&self) -> Result<Host> {
        let log = self.path("host.log");
        let began = Instant::now();
        let mut child = Command::new(ANACOSTIA)
            .args(["run", "--json", "--listen", "127.0.0.1:0"])
            .arg(self.folder.path())
            .env("XDG_CACHE_HOME", &self.cache)
            .env("ANACOSTIA_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()?;
        let stdout = child.stdout.take().context("the host has no standard output")?;
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(seen) = Seen::in_line(&line)
                    && tell.send((seen, Instant::now())).is_err()
                {
                    return;
                }
            }
        });
        let mut host = Host { child, url: String::new(), lines, log, ready_after: Duration::ZERO };
        let (seen, when) = host.next("for the host to be ready")?;
        let Seen::Ready(url) = seen else { bail!("the host's first line is not that it is ready") };
        (host.url, host.ready_after) = (url, when - began);
        Ok(host)
    }

    /// Opens the database for reading beside the host.
    pub(crate) fn database(&self) -> Result<Connection> {
        let db = Connection::open_with_flags(self.path("state/metadata.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        db.busy_timeout(Duration::from_secs(5))?;
        Ok(db)
    }

    /// Waits until `count` artifacts are on record and wait for a run. Returns the time at which
    /// this was seen.
    pub(crate) fn wait_for_waiting(&self, count: usize) -> Result<Instant> {
        let deadline = Instant::now() + DEADLINE;
        let db = self.database()?;
        let mut look = db.prepare("SELECT ifnull(max(count), 0) FROM waiting")?;
        while look.query_row([], |row| row.get::<_, usize>(0))? < count {
            ensure!(Instant::now() < deadline, "{count} files were not recorded in time");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(Instant::now())
    }

    /// Waits until `count` artifacts belong to runs that have ended, however many runs that takes.
    pub(crate) fn wait_for_processed(&self, count: usize, deadline: Duration) -> Result<Instant> {
        let deadline = Instant::now() + deadline;
        let db = self.database()?;
        let mut look = db.prepare("SELECT count(*) FROM artifacts WHERE resource = 'raw' AND state = 'old'")?;
        while look.query_row([], |row| row.get::<_, usize>(0))? < count {
            ensure!(Instant::now() < deadline, "the runs over {count} files did not end in time");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Instant::now())
    }

    /// Returns the texts that guests have logged, in order.
    pub(crate) fn logged(&self) -> Result<Vec<String>> {
        let mut segments: Vec<PathBuf> =
            fs::read_dir(self.path("state/logs"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        segments.sort();
        let mut texts = Vec::new();
        for segment in segments.iter().filter(|path| path.extension().is_some_and(|it| it == "jsonl")) {
            for line in fs::read_to_string(segment)?.lines() {
                let line: serde_json::Value = serde_json::from_str(line)?;
                texts.extend(line.get("text").and_then(|text| text.as_str()).map(str::to_owned));
            }
        }
        Ok(texts)
    }
}

/// The content of a small file: about 100 bytes in five lines.
pub(crate) fn small(prefix: &str, n: usize) -> Vec<u8> {
    format!(
        "file,{prefix},{n}\nspecies,island\nAdelie,Torgersen\nGentoo,Biscoe\nChinstrap,Dream and more of the kind\n"
    )
    .into_bytes()
}

/// What a line of the host's output reports. Lines are matched as text: parsing 10,000 events would
/// compete with the host for CPU time.
enum Seen {
    Ready(String),
    RunEnded { well: bool },
}

impl Seen {
    fn in_line(line: &str) -> Option<Self> {
        if line.contains(r#""type":"ready""#) {
            let ready: serde_json::Value = serde_json::from_str(line).ok()?;
            return Some(Self::Ready(ready.get("url")?.as_str()?.to_owned()));
        }
        if !line.contains(r#""type":"run_state""#) {
            return None;
        }
        let well = line.contains(r#""state":"succeeded""#);
        let ended = well || line.contains(r#""state":"failed""#) || line.contains(r#""state":"cancelled""#);
        ended.then_some(Self::RunEnded { well })
    }
}

/// A running host. Dropping it kills the process.
pub(crate) struct Host {
    child: Child,
    /// Its URL.
    pub(crate) url: String,
    lines: Receiver<(Seen, Instant)>,
    log: PathBuf,
    /// The time from its start until it reported that it is ready.
    pub(crate) ready_after: Duration,
}

impl Host {
    fn next(&self, what: &str) -> Result<(Seen, Instant)> {
        self.lines.recv_timeout(DEADLINE).with_context(|| {
            format!("waited in vain {what}; the host said:\n{}", fs::read_to_string(&self.log).unwrap_or_default())
        })
    }

    /// Waits until `count` more runs have ended, all of them successfully. Returns the time at
    /// which the last one did.
    pub(crate) fn wait_for_runs(&self, count: usize) -> Result<Instant> {
        let mut last = Instant::now();
        for _ in 0..count {
            let (seen, when) = self.next("for the end of a run")?;
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            ensure!(matches!(seen, Seen::RunEnded { well: true }), "a run did not end well; the host said:\n{}", log());
            last = when;
        }
        Ok(last)
    }

    /// Discards the runs that have ended until now.
    pub(crate) fn forget_runs(&self) {
        while self.lines.try_recv().is_ok() {}
    }

    /// Returns the CPU time of all its threads, in seconds. It is read from the kernel scheduler's
    /// nanoseconds: ticks of 10 ms would be too coarse for an idle process.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end after it was listed; its CPU time is then lost.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            sum += text.split(' ').next().context("an empty schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(sum).as_secs_f64())
    }

    /// Returns its resident memory in MiB: RSS, and PSS, which counts only its share of common
    /// pages.
    pub(crate) fn memory(&self) -> Result<(f64, f64)> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let find = |name: &str| -> Result<f64> {
            let line = text.lines().find(|line| line.starts_with(name)).context("not in smaps_rollup")?;
            Ok(line.split_whitespace().nth(1).context("no value")?.parse::<f64>()? / 1024.0)
        };
        Ok((find("Rss:")?, find("Pss:")?))
    }

    /// Returns its peak resident memory so far, in MiB.
    pub(crate) fn peak_memory(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM in status")?;
        Ok(line.split_whitespace().nth(1).context("no value")?.parse::<f64>()? / 1024.0)
    }

    /// Returns the body of the response to a GET, which must succeed.
    pub(crate) fn text(&self, agent: &ureq::Agent, path: &str) -> Result<String> {
        Ok(agent.get(&format!("{}{path}", self.url)).call()?.body_mut().read_to_string()?)
    }

    /// Sends a request without a body, which must succeed; returns the body's length.
    pub(crate) fn request(&self, agent: &ureq::Agent, method: &str, path: &str) -> Result<usize> {
        let url = format!("{}{path}", self.url);
        let mut response = if method == "POST" { agent.post(&url).send_empty()? } else { agent.get(&url).call()? };
        Ok(response.body_mut().with_config().limit(64 << 20).read_to_vec()?.len())
    }

    /// Asks the host to stop, and waits until it has ended.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        ensure!(self.child.wait()?.success(), "the host did not stop well");
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Creates a client for this machine that keeps its connection open.
pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(DEADLINE)).proxy(None).build().into()
}

/// Starts a run by request at the host at `url`, and waits for its result in the same request. The
/// run must succeed.
pub(crate) fn submit(url: &str, agent: &ureq::Agent) -> Result<()> {
    let url = format!("{url}/api/v1/runs/{}?wait=30s", anacostia::base::RunId::new());
    let answer = agent.put(&url).send_empty()?.body_mut().read_to_string()?;
    ensure!(answer.contains(r#""state":"succeeded""#), "a run did not end well: {answer}");
    Ok(())
}
