//! The Redis server that the tests of this process share. The tests of the library use this file
//! too.
//!
//! The server is that of `scripts/test-redis`, which starts it and stops it when its standard input
//! ends. This process holds the other end, so the server stops when the process ends, whether its
//! tests pass, panic or are killed.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// The server, and the script that runs it for as long as its standard input is open.
pub(crate) struct Server {
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    /// Where it listens with TLS.
    pub(crate) tls_port: u16,
    /// Its certificate, as PEM.
    pub(crate) certificate: String,
    script: Child,
    answers: BufReader<ChildStdout>,
}

/// Starts the server at the first call.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

impl Server {
    /// Starts a server for one test, which may stop and start it.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with these variables in the environment of the script and the server.
    pub(crate) fn start_with(env: &[(&str, &str)]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-redis");
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = made.cert.pem();
        // The script copies both files before it prints the ports.
        let files = tempfile::tempdir().unwrap();
        let [public, key] = ["server.crt", "server.key"].map(|name| files.path().join(name));
        fs::write(&public, &certificate).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut command = Command::new(script);
        let mut child = command
            .args([public, key])
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        answers.read_line(&mut line).unwrap();
        let mut ports = line.split_whitespace().map(|port| port.parse().unwrap());
        let mut port = || ports.next().unwrap_or_else(|| panic!("Redis does not start; see the output above"));
        Self { port: port(), tls_port: port(), certificate, script: child, answers }
    }

    /// Has the script execute a command: `stop`, `kill` or `start`. Returns when it is done.
    pub(crate) fn tell(&mut self, command: &str) {
        let input = self.script.stdin.as_mut().unwrap();
        writeln!(input, "{command}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(["stopped", "killed", "started"].contains(&line.trim()), "{command}: {line:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input ends the script, and the script the server.
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
