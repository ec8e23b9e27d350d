//! A host as a user runs it: the real binary, in its own folder, on a port that the system picks.

use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;
use tempfile::TempDir;

use super::any_store::Place;
use super::guests::{example, guest};
use super::wait::{DEADLINE, wait_for, wait_until};

/// Returns a command for the binary, without the environment of the tests.
pub(crate) fn anacostia() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anacostia"));
    for name in ["ANACOSTIA_FAULT", "ANACOSTIA_LOG", "ANACOSTIA_TOKEN", "NO_COLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    // `nohup` and some terminals let the tests ignore these signals, and a host would inherit that.
    // SAFETY: `signal` is async-signal-safe, and sets nothing of this process.
    unsafe {
        command.pre_exec(|| {
            for signal in [libc::SIGHUP, libc::SIGINT] {
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        });
    }
    command
}

/// A pipeline in its own folder, and its host while one is running. When this is dropped, the host
/// is killed and the folder removed; if the test panics, the end of the host's output is printed.
pub(crate) struct TestApp {
    folder: PathBuf,
    /// Where its records are.
    place: Place,
    /// Removes the folder at the end, if it is a temporary one.
    _temporary: Option<TempDir>,
    env: Vec<(String, String)>,
    /// Where hosts listen.
    listen: String,
    host: Option<Host>,
}

/// A port that the system picks.
const ANY_PORT: &str = "127.0.0.1:0";

struct Host {
    child: Child,
    url: String,
}

impl TestApp {
    /// Creates a pipeline with this manifest, without a host. The manifest should have no
    /// `[server]`, because the port is picked.
    pub(crate) fn new(manifest: &str) -> Self {
        let (folder, place) = (tempfile::tempdir().unwrap(), Place::of(manifest));
        let app = Self::made(folder.path().to_owned(), place, Some(folder));
        app.write_manifest(manifest);
        app
    }

    /// Uses the pipeline in this folder, which is not removed.
    pub(crate) fn at(folder: &Path) -> Self {
        Self::made(folder.to_owned(), Place::Manifest, None)
    }

    fn made(folder: PathBuf, place: Place, temporary: Option<TempDir>) -> Self {
        Self { folder, place, _temporary: temporary, env: Vec::new(), listen: ANY_PORT.to_owned(), host: None }
    }

    /// Replaces the manifest, whose records stay where they are.
    pub(crate) fn write_manifest(&self, manifest: &str) {
        self.drop_file("anacostia.toml", self.place.written(manifest).as_bytes());
    }

    /// Returns where the records are.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The same, with a guest's component in the pipeline's folder, under the guest's name.
    pub(crate) fn with_guest(self, name: &str) -> Self {
        fs::copy(guest(name), self.path(&format!("{name}.wasm"))).unwrap();
        self
    }

    /// Copies the pipeline of an example, `guest-examples/pipelines/<name>`, with its components,
    /// which are built from `guest-examples/rust/<crate>`.
    pub(crate) fn example(name: &str, components: &[(&str, &str)]) -> Self {
        Self::example_manifest(name, "anacostia.toml", components)
    }

    /// The same with another of the example's manifests.
    pub(crate) fn example_manifest(name: &str, manifest: &str, components: &[(&str, &str)]) -> Self {
        Self::example_with(name, components, manifest, |text| text)
    }

    /// The same with another manifest of that example, as `edit` returns it.
    pub(crate) fn example_with(
        name: &str,
        components: &[(&str, &str)],
        manifest: &str,
        edit: impl FnOnce(String) -> String,
    ) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-examples/pipelines").join(name).join(manifest);
        let text = edit(fs::read_to_string(file).unwrap());
        // The build commands contain paths that lead out of the example's folder.
        let lines = text.lines().filter(|line| !line.starts_with("build ="));
        let app = Self::new(&lines.map(|line| format!("{line}\n")).collect::<String>());
        for (component, folder) in components {
            fs::copy(example(folder), app.path(component)).unwrap();
        }
        app
    }

    /// Sets an environment variable for hosts that are started from now on. Replaces a variable of
    /// the same name.
    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        self.unset_env(name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Makes hosts that are started from now on trust this certificate, as PEM, and no other.
    pub(crate) fn trust(&mut self, certificate: &str) {
        let file = self.path("trusted.pem");
        fs::write(&file, certificate).unwrap();
        self.set_env("SSL_CERT_FILE", file.to_str().unwrap());
    }

    /// Makes hosts that are started from now on listen where this one does, so that a page that is
    /// open finds them.
    pub(crate) fn keep_address(&mut self) {
        self.listen = self.url().trim_start_matches("http://").to_owned();
    }

    /// Removes such a variable.
    pub(crate) fn unset_env(&mut self, name: &str) {
        self.env.retain(|(known, _)| known != name);
    }

    /// Returns a path in the pipeline's folder.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// Puts a complete file into the pipeline's folder, and creates its parent folders: writes it
    /// elsewhere, then renames it into place.
    pub(crate) fn drop_file(&self, path: &str, content: &[u8]) {
        let file = self.path(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let draft = file.with_file_name(format!(".{}.draft", file.file_name().unwrap().to_str().unwrap()));
        fs::write(&draft, content).unwrap();
        fs::rename(&draft, &file).unwrap();
    }

    /// Runs a command on the pipeline and waits for its end. `PATH` is replaced by the pipeline's
    /// folder.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        let folder = self.folder.to_str().unwrap();
        let args = args.iter().map(|arg| if *arg == "PATH" { folder } else { arg });
        anacostia().args(args).envs(self.env.clone()).output().unwrap()
    }

    /// The same, but returns its standard output as JSON. The command must succeed.
    #[track_caller]
    pub(crate) fn cli_json(&self, args: &[&str]) -> Value {
        let output = self.cli(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?} ended with {}:\n{error}", output.status);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{args:?}: {why}\n{error}"))
    }

    /// Starts the host, and waits until it responds. Panics if it ends instead.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The same with additional arguments.
    #[track_caller]
    pub(crate) fn start_with(&mut self, args: &[&str]) {
        if let Err(status) = self.try_start_with(args) {
            panic!("the host ended with {status} instead of starting");
        }
    }

    /// Starts the host on one core: it has no access to the others.
    #[track_caller]
    pub(crate) fn start_on_one_core(&mut self) {
        let all = sched_getaffinity(None).unwrap();
        let mut one = CpuSet::new();
        one.set((0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap());
        // A process inherits the cores of the thread that starts it.
        sched_setaffinity(None, &one).unwrap();
        self.start();
        sched_setaffinity(None, &all).unwrap();
        let allowed = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let cores = allowed.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
        assert!(cores.parse::<usize>().is_ok(), "the host is not on one core but on {cores}");
    }

    /// Starts the host, and waits until it responds, or ends, for example at a fault point.
    #[track_caller]
    pub(crate) fn try_start(&mut self) -> Result<(), ExitStatus> {
        self.try_start_with(&[])
    }

    /// Starts the host with a fault point, as `POINT:COUNT`, and waits until it has died there.
    /// Later hosts have no fault point.
    #[track_caller]
    pub(crate) fn die_at(&mut self, fault: &str) {
        self.set_env("ANACOSTIA_FAULT", fault);
        let status = match self.try_start() {
            Ok(()) => self.wait_for_end(),
            Err(status) => status,
        };
        self.unset_env("ANACOSTIA_FAULT");
        assert_eq!(status.signal(), Some(9), "with {fault} the host ended with {status}");
    }

    #[track_caller]
    fn try_start_with(&mut self, args: &[&str]) -> Result<(), ExitStatus> {
        assert!(self.host.is_none(), "one host at a time");
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let mut child = anacostia()
            .args(["run", "--json", "--listen", &self.listen])
            .args(args)
            .arg(&self.folder)
            .envs(self.env.clone())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let lines = first_line(BufReader::new(child.stdout.take().unwrap()));
        match lines.recv_timeout(DEADLINE) {
            Ok(Some(line)) => {
                let ready: Value = serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"));
                let url = ready["url"].as_str().unwrap_or_else(|| panic!("not the ready line: {line}")).to_owned();
                self.host = Some(Host { child, url });
                Ok(())
            }
            Ok(None) => Err(child.wait().unwrap()),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the host said nothing for {DEADLINE:?}")
            }
        }
    }

    /// Starts the host with these streams, and waits until it serves. Does not read its output.
    #[track_caller]
    pub(crate) fn start_with_streams(&mut self, args: &[&str], stdout: Stdio, stderr: Stdio) {
        assert!(self.host.is_none(), "one host at a time");
        let mut child = anacostia()
            .args(["run", "--listen", "127.0.0.1:0"])
            .args(args)
            .arg(&self.folder)
            .envs(self.env.clone())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        let address = wait_for("the host to serve", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the host ended with {status} instead of starting");
            }
            self.place.listening(&self.folder)
        });
        self.host = Some(Host { child, url: format!("http://{address}") });
    }

    /// Kills the host as `kill -9` does, and reaps it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut host) = self.host.take() {
            let _ = host.child.kill();
            host.child.wait().unwrap();
        }
    }

    /// Sends the host a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.host.as_ref().expect("a host").child);
        kill_process(pid, signal).unwrap();
    }

    /// Sends a signal once more, as a second request: within 250 ms it would be the same one.
    pub(crate) fn signal_again(&self, signal: Signal) {
        std::thread::sleep(std::time::Duration::from_millis(300));
        self.signal(signal);
    }

    /// Returns the host's process.
    pub(crate) fn pid(&self) -> u32 {
        self.host.as_ref().expect("a host").child.id()
    }

    /// Returns the most memory that the host has had resident so far, in bytes.
    pub(crate) fn most_resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Waits until the host has ended by itself: after a signal, or at a fault point.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        let mut host = self.host.take().expect("a host");
        wait_for("the host to end", || host.child.try_wait().unwrap())
    }

    /// Returns how the host has ended, if it has ended by itself, and reaps it.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        let status = self.host.as_mut().expect("a host").child.try_wait().unwrap()?;
        self.host = None;
        Some(status)
    }

    /// Asks the host to end, waits until it has, and starts another.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.signal(Signal::TERM);
        assert!(self.wait_for_end().success(), "the host did not stop gracefully");
        self.start();
    }

    /// Returns the URL of the host, without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        &self.host.as_ref().expect("a host").url
    }

    /// Sends a GET to the host, and returns status and body.
    pub(crate) fn try_get(&self, path: &str) -> Result<(u16, Value), ureq::Error> {
        let mut response = agent().get(format!("{}{path}", self.url())).call()?;
        Ok((response.status().as_u16(), read(&mut response)?))
    }

    /// Sends a GET that must succeed to the host, and returns its body.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.try_get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"));
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    /// Returns the first page that people see.
    #[track_caller]
    pub(crate) fn page(&self) -> String {
        self.page_at("/")
    }

    /// Returns a page that people see.
    #[track_caller]
    pub(crate) fn page_at(&self, path: &str) -> String {
        let mut response = agent().get(format!("{}{path}", self.url())).call().unwrap();
        assert_eq!(response.status().as_u16(), 200);
        response.body_mut().read_to_string().unwrap()
    }

    /// Sends a POST without a body to the host, and returns status and body.
    #[track_caller]
    pub(crate) fn post(&self, path: &str) -> (u16, Value) {
        let mut response = agent().post(format!("{}{path}", self.url())).send_empty().unwrap();
        (response.status().as_u16(), read(&mut response).unwrap())
    }

    /// Returns all items of a list, fetched page by page.
    #[track_caller]
    pub(crate) fn get_all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut cursor = String::new();
        loop {
            let mut page = self.get(&format!("{path}{joint}limit=1000{cursor}"));
            items.append(page["items"].as_array_mut().expect("a list"));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// Waits until there are at least `count` runs, and all of them have ended. Returns them,
    /// oldest first.
    #[track_caller]
    pub(crate) fn wait_for_runs(&self, count: usize) -> Vec<Value> {
        wait_for(&format!("{count} runs to end"), || {
            let mut runs = self.get_all("/api/v1/runs");
            let ended = |run: &Value| matches!(run["state"].as_str(), Some("succeeded" | "failed" | "cancelled"));
            runs.reverse();
            (runs.len() >= count && runs.iter().all(ended)).then_some(runs)
        })
    }

    /// Returns everything that hosts of this pipeline have written to standard error.
    pub(crate) fn said(&self) -> String {
        fs::read(self.log()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until a host of this pipeline has written `text` to standard error. A thread of its
    /// own writes there, so a line may come after the answer to a request that shows the same.
    #[track_caller]
    pub(crate) fn wait_to_say(&self, text: &str) {
        wait_until(&format!("the host to say: {text}"), || self.said().contains(text));
    }

    /// Returns the pipeline's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn log(&self) -> PathBuf {
        self.path(".host.log")
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            eprintln!("── the host said last ──\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

/// Returns the first line as soon as it is there (`None` if the stream ends before). Continues to
/// read the rest, so that the writer never blocks.
fn first_line(mut stream: impl std::io::BufRead + Send + 'static) -> mpsc::Receiver<Option<String>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = stream.read_line(&mut line).unwrap_or(0);
        let _ = sender.send((read > 0).then_some(line));
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    receiver
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(DEADLINE)).http_status_as_error(false).proxy(None).build().into()
}

/// Returns the body as JSON, or `null` if it is not JSON.
fn read(response: &mut ureq::http::Response<ureq::Body>) -> Result<Value, ureq::Error> {
    let text = response.body_mut().with_config().limit(256 << 20).read_to_string()?;
    Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
}
