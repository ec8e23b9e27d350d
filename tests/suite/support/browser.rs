//! Runs scripts of `tests/browser` in a real Chromium, against the host of a test.
//!
//! `scripts/test-browser` fetches the browser, Node.js and their packages, without installing
//! anything.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use super::app::TestApp;

/// How long a script may take: long enough for a busy machine. A script has its own deadlines.
const DEADLINE: Duration = Duration::from_mins(4);

/// The environment of scripts: the browser and the packages, and Node.js as `NODE`.
type Tools = Vec<(String, String)>;

/// Returns what scripts need. Fetches it at the first call, or says why it cannot be had.
fn tools() -> &'static Result<Tools, String> {
    static TOOLS: OnceLock<Result<Tools, String>> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-browser");
        let output = Command::new(script).output().map_err(|why| format!("test-browser: {why}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8(output.stdout).map_err(|why| why.to_string())?;
        Ok(text.lines().filter_map(|line| line.split_once('=')).map(|(name, to)| (name.into(), to.into())).collect())
    })
}

/// Runs a script with these arguments against the host, which must be running. `answer` does what
/// the script asks for, and returns the answer. Panics with all that the script has said, unless
/// it succeeds.
///
/// The test says so and is skipped on a machine without a browser and without network, unless
/// `CI` is set.
#[track_caller]
pub(crate) fn run(script: &str, args: &[&str], app: &mut TestApp, answer: impl FnMut(&mut TestApp, &str) -> String) {
    let tools = match tools() {
        Ok(tools) => tools,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{script} cannot run here:\n{why}");
            eprintln!("NOT RUN: {script} needs a browser, which cannot be had here:\n{why}");
            return;
        }
    };
    let node = tools.iter().find(|(name, _)| name == "NODE").map(|(_, path)| path).expect("the path of Node.js");
    let mut child = Command::new(node)
        .arg("--test-reporter=spec")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(script))
        .args(args)
        .envs(tools.iter().cloned())
        .env("NO_COLOR", "1")
        .env("ANACOSTIA_URL", app.url())
        .env("ANACOSTIA_FOLDER", app.folder())
        .env("ANACOSTIA_PICTURES", Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = attend(&mut child, app, answer);
    // It has closed its output, so it is about to end, or it is too late.
    let _ = said.is_err().then(|| child.kill());
    let status = child.wait().unwrap();
    let (Ok(text) | Err(text)) = &said;
    assert!(said.is_ok(), "{script} did not end in {DEADLINE:?}:\n{text}");
    assert!(status.success(), "{script} ended with {status}:\n{text}");
}

/// Reads what the script says and answers its questions, until it closes its output. Returns what
/// it has said, as an error if the deadline is over.
fn attend(
    child: &mut Child,
    app: &mut TestApp,
    mut answer: impl FnMut(&mut TestApp, &str) -> String,
) -> Result<String, String> {
    let mut stdin = child.stdin.take().unwrap();
    let (sender, lines) = mpsc::channel();
    follow(child.stdout.take().unwrap(), sender.clone());
    follow(child.stderr.take().unwrap(), sender);
    let (end, mut said) = (Instant::now() + DEADLINE, String::new());
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.strip_prefix("ask: ") {
                Some(what) => {
                    let answer = answer(app, what.trim_end());
                    // Who asks and has ended meanwhile is found by its status.
                    let _ = writeln!(stdin, "{answer}");
                }
                None => said.push_str(&line),
            },
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(said),
            Err(mpsc::RecvTimeoutError::Timeout) => return Err(said),
        }
    }
}

/// Sends each line of the stream.
fn follow(stream: impl Read + Send + 'static, lines: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
}
