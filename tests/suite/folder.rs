//! The folder resource, on real files and real inotify, against a sink that keeps records as a store does.

mod odd;
mod outputs;
mod random;
mod reading;
mod recorder;
mod trouble;
mod watching;

/// Runs the ignored test `name` of this binary in a process of its own, begun by `wrapper` (a command and its arguments).
fn in_child(wrapper: &[&str], name: &str) {
    let exe = std::env::current_exe().unwrap();
    let (program, arguments) = wrapper.split_first().unwrap();
    let output = std::process::Command::new(program)
        .args(arguments)
        .arg(exe)
        .args([name, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap_or_else(|error| panic!("`{program}` is needed for this test: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{name} under {wrapper:?}: {}\n{text}",
        output.status
    );
}

/// The arguments of `unshare` for a mount namespace of one's own.
fn own_mounts() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() { &["unshare", "-m"] } else { &["unshare", "-Urm"] }
}
