//! Real servers, each in a folder of its own. A server is killed when it is dropped.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::host::{DEADLINE, agent};

/// Every account may do everything.
const ACCOUNTS: &str =
    r#"{"identities": [{"name": "anonymous", "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}"#;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

/// A SeaweedFS with one bucket, `bench`, that needs no credentials.
pub(crate) struct Seaweed {
    child: Child,
    /// The URL of the service.
    pub(crate) url: String,
    metrics: String,
}

impl Seaweed {
    /// Starts a server with its data in a folder.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let found = Command::new(script("test-servers")).arg("s3").output()?;
        ensure!(found.status.success(), "test-servers s3: {}", String::from_utf8_lossy(&found.stderr));
        let programs = String::from_utf8(found.stdout)?;
        std::fs::create_dir_all(folder.join("data"))?;
        std::fs::write(folder.join("s3.json"), ACCOUNTS)?;
        // All are held until the last is found, so they are different.
        let held = (0..9).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<Vec<_>>>()?;
        let ports = held.iter().map(|held| Ok(held.local_addr()?.port())).collect::<std::io::Result<Vec<_>>>()?;
        drop(held);
        let names = [
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "s3.port.grpc",
            "s3.port",
            "metricsPort",
        ];
        let log = std::fs::File::create(folder.join("log"))?;
        let child = Command::new(Path::new(programs.trim()).join("weed"))
            .current_dir(folder)
            .args(["server", "-master.telemetry=false", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-dir=data", "-filer"])
            .args(["-s3", "-s3.config=s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0", "-metricsIp=127.0.0.1"])
            .args(["-volume.max=200", "-master.volumeSizeLimitMB=256"])
            .args(names.iter().zip(&ports).map(|(name, port)| format!("-{name}={port}")))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let url = |at: usize| format!("http://127.0.0.1:{}", ports.get(at).copied().unwrap_or_default());
        let server = Self { child, url: url(7), metrics: url(8) };
        let began = Instant::now();
        while let Err(error) = agent().put(&format!("{}/bench", server.url)).send_empty() {
            ensure!(began.elapsed() < DEADLINE, "SeaweedFS creates no bucket: {error}");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    /// Returns the keys of a resource in its bucket, for a manifest.
    pub(crate) fn keys(&self) -> String {
        format!("kind = \"s3\"\nbucket = \"bench\"\nendpoint = \"{}\"\ncredentials = \"none\"\n", self.url)
    }

    /// Puts an object.
    pub(crate) fn put(&self, agent: &ureq::Agent, key: &str, bytes: &[u8]) -> Result<()> {
        agent.put(&format!("{}/bench/{key}", self.url)).send(bytes)?;
        Ok(())
    }

    /// Returns how many listings it has answered.
    pub(crate) fn listings(&self) -> Result<f64> {
        let text = agent().get(&format!("{}/metrics", self.metrics)).call()?.body_mut().read_to_string()?;
        let counts =
            text.lines().filter(|line| line.starts_with("SeaweedFS_s3_request_total") && line.contains("LIST"));
        counts.map(|line| Ok(line.rsplit(' ').next().context("no count")?.parse::<f64>()?)).sum()
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that the tests use too. Its script stops it and removes its data when its standard
/// input ends.
pub(crate) struct TestServer {
    script: Child,
    pub(crate) port: u16,
}

impl TestServer {
    pub(crate) fn postgres() -> Result<Self> {
        Self::start("test-postgres")
    }

    pub(crate) fn redis() -> Result<Self> {
        Self::start("test-redis")
    }

    fn start(name: &str) -> Result<Self> {
        let mut script = Command::new(script(name)).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(script.stdout.take().context("no output")?).read_line(&mut line)?;
        let port = line.trim().parse().with_context(|| format!("{name} starts no server"))?;
        Ok(Self { script, port })
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
