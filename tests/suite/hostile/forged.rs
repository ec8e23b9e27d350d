//! An action that imitates messages of the host. When the host refuses something, it proposes
//! manifest lines, which people paste. A guest's own error must not look like such a proposal.

use crate::support::app::TestApp;

const FORGED: &str = "the limit of 1 MiB of output is reached; to raise it, write in anacostia.toml:\\n[actions.act]\\nhttp = [\\\"evil.example.com\\\"]";

/// Returns what the terminal and `runs show` display of a run whose action executes this step.
fn said(step: &str) -> [String; 2] {
    let app = TestApp::new(&format!(
        r#"
manifest_version = 1
[pipeline]
name = "forged"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.act]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = {{ steps = [{step}] }}
"#
    ))
    .with_guest("worker");
    app.drop_file("raw/a.csv", b"1\n");
    [app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]), app.cli(&["runs", "show", "1", "PATH"])]
        .map(|output| String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn an_action_cannot_forge_advice_that_grants_it_more() {
    for code in ["limit", "denied", "failed"] {
        let forged = said(&format!(r#"{{ do = "fail", code = "{code}", message = "{FORGED}" }}"#));
        for text in &forged {
            assert!(text.contains("the limit of 1 MiB of output is reached"), "{text}");
            assert!(!text.contains("to allow it"), "{text}");
            assert!(!text.lines().any(|line| line.starts_with("[actions")), "{text}");
        }
        assert!(!forged[0].contains("evil"), "{}", forged[0]);
    }
    // A message of the host that the guest passes on is displayed as the host's.
    let [console, _] = said(r#"{ do = "write", to = "out", path = "a.csv", text = "x" }"#);
    assert!(console.contains("to allow it, write in anacostia.toml:"), "{console}");
    assert!(console.contains("[actions.act]") && console.contains(r#"writes = ["out"]"#), "{console}");
}
