//! Servers that several tests share. A server is started by the first test that needs it, and ends
//! with the test process, however that ends.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;

/// Starts a server whose output goes to a file. The kernel kills it when this process ends.
pub(crate) fn start(mut command: Command, log: &Path) {
    let log = std::fs::File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    // SAFETY: `prctl` is async-signal-safe, and touches nothing of this process.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?));
    }
    // The signal comes when the *thread* that started the server ends, and tests have threads of
    // their own: so a thread that never ends starts it.
    let (started, answer) = mpsc::channel();
    std::thread::spawn(move || {
        let child = command.spawn();
        started.send(child.map(|_| ()).map_err(|error| format!("{command:?} does not start: {error}"))).unwrap();
        loop {
            std::thread::park();
        }
    });
    answer.recv().unwrap().unwrap();
}

/// Returns ports on loopback that are free at the moment.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    // All are held until the last is found, so they are different.
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// Returns the folder of the programs that `scripts/test-servers` installs.
pub(crate) fn programs(name: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-servers");
    let output = Command::new(&script).arg(name).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "test-servers {name}: {}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(text.trim())
}
