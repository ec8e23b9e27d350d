//! Tests that run in a process of their own, with other rights or another view of the system.

/// Set in the environment of the separate process in which the test `name` runs.
const CHILD: &str = "ANACOSTIA_TEST_CHILD";

/// Runs the test `name`, which calls this, once more in a process that `wrapper` (a command and its
/// arguments) starts. Returns `true` in that process: the test continues there.
///
/// Some systems do not let ordinary users create namespaces. The test says so and is skipped then,
/// unless `CI` is set, or the user is root.
pub(crate) fn in_child(wrapper: &[&str], name: &str) -> bool {
    if std::env::var(CHILD).is_ok_and(|child| child == name) {
        return true;
    }
    let (program, arguments) = wrapper.split_first().unwrap();
    let begin = || {
        let mut command = std::process::Command::new(program);
        command.args(arguments);
        command
    };
    if !begin().arg("true").status().is_ok_and(|status| status.success()) {
        let must = rustix::process::geteuid().is_root() || std::env::var_os("CI").is_some();
        assert!(!must, "{name} needs `{}`, which does not work here", wrapper.join(" "));
        eprintln!("NOT RUN: {name} needs `{}`, which this user may not use here", wrapper.join(" "));
        return false;
    }
    let exe = std::env::current_exe().unwrap();
    let test = [name, "--exact", "--nocapture", "--test-threads=1"];
    let output = begin().arg(exe).args(test).env(CHILD, name).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{name} under {wrapper:?}: {}\n{text}",
        output.status
    );
    false
}
