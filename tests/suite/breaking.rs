//! How an action in C, Go or JavaScript fails: the error must contain the message of the language's
//! runtime, with the location in the source. Also tests the helpers of C and Go.

use std::fs;

use serde_json::Value;

use crate::support::app::TestApp;

/// A pipeline of the guest `breaks_c`, `breaks_go` or `breaks_javascript`, with one action for each
/// of these params.
fn failing_pipeline(name: &str, params: &[&str], limits: &str) -> (TestApp, Vec<Value>) {
    let mut manifest = String::from(
        "manifest_version = 1\n[pipeline]\nname = \"breaking\"\n[resources.raw]\nkind = \"folder\"\npath = \"raw\"\nwatch = true\n",
    );
    for (number, params) in params.iter().enumerate() {
        manifest.push_str(&format!(
            "[actions.a{number}]\ncomponent = \"{name}.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\nparams = {{ {params} }}\n{limits}\n"
        ));
    }
    let mut app = TestApp::new(&manifest).with_guest(name);
    let text: String = (0..300_000).map(|row| format!("row {row}\n")).collect();
    app.drop_file("raw/a.csv", text.as_bytes());
    app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    app.start();
    let actions = app.get("/api/v1/runs/1")["actions"].as_array().unwrap().clone();
    (app, actions)
}

/// Returns what an action's hook logged; its failure is in the log, too.
fn hook_log(app: &TestApp, action: &str) -> Vec<String> {
    let lines = app.get_all(&format!("/api/v1/runs/1/logs?action={action}"));
    let heard = lines.iter().filter(|line| line["text"].as_str().is_some_and(|text| text.starts_with("heard")));
    heard.map(|line| format!("{} {}", line["text"].as_str().unwrap(), line["fields"])).collect()
}

fn error(action: &Value) -> (String, String) {
    let error = &action["attempts"][0]["error"];
    let text = |key: &str| error[key].as_str().unwrap_or_else(|| panic!("{action:#}")).to_owned();
    (text("code"), text("message"))
}

/// Returns the number of the line in a guest's source that contains this text.
fn line_of(file: &str, text: &str) -> usize {
    let source = fs::read_to_string(format!("{}/tests/guests/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    source.lines().position(|line| line.contains(text)).unwrap() + 1
}

#[test]
fn c_reports_the_failed_assertion_its_location_and_the_running_action() {
    let params = [r#"how = "assert""#, r#"how = "abort""#, r#"how = "otherwise""#];
    let (app, actions) = failing_pipeline("breaks_c", &params, "");

    let (code, message) = error(&actions[0]);
    assert_eq!(code, "trap", "{message}");
    let line = line_of("breaks_c/breaks.c", "assert(count == 1)");
    assert!(message.contains("Assertion failed: count == 1 ("), "{message}");
    assert!(message.contains(&format!("breaks.c: check: {line})")), "{message}");
    assert!(message.contains("check") && message.contains("exports_anacostia_pipeline_action_run"), "{message}");

    let (code, message) = error(&actions[1]);
    assert_eq!(code, "trap", "{message}");
    assert!(message.contains("this cannot go on") && message.contains("give_up"), "{message}");

    let (code, message) = error(&actions[2]);
    assert_eq!((code.as_str(), message.as_str()), ("invalid", "there is no way to break called \"otherwise\""));
    assert_eq!(hook_log(&app, "a2"), ["heard of a failure: invalid null"], "its hook was called");
}

#[test]
fn c_receives_params_without_json_escapes() {
    let params = [r#"how = "param", number = [1, { text = "not this" }, "}"], text = "a\"b\\c\td\u00e9\U0001F600/""#];
    let (_app, actions) = failing_pipeline("breaks_c", &params, "");
    // As it is displayed: characters that are not printable, and the backslash, are escaped.
    assert_eq!(actions[0]["reason"], r#"a"b\\c\u{9}dé😀/|-|no text"#, "{:#}", actions[0]);
}

#[test]
fn go_reports_a_panic_with_its_location() {
    let kinds = ["index", "panic", "wrapped", "joined", "deadlock", "exit"];
    let params = kinds.map(|how| format!("how = \"{how}\""));
    let (app, actions) = failing_pipeline("breaks_go", &params.each_ref().map(String::as_str), "");
    let at = |text: &str| format!("at breaks.go:{} in ", line_of("breaks_go/breaks.go", text));

    let (code, message) = error(&actions[0]);
    assert_eq!(code, "failed", "{message}");
    let lines: Vec<&str> = message.lines().map(str::trim).collect();
    let pick = at("return numbers[at]") + "pick";
    let run = at("pick([]int{1, 2, 3}") + "Run";
    assert_eq!(lines, ["panic: runtime error: index out of range [3] with length 3", &pick, &run]);
    assert_eq!(hook_log(&app, "a0"), [r#"heard of a failure {"code":"failed"}"#], "its hook was called");

    let (code, message) = error(&actions[1]);
    assert_eq!(code, "failed", "{message}");
    let run = at("panic(fmt.Errorf") + "Run";
    assert_eq!(message.lines().map(str::trim).collect::<Vec<_>>(), ["panic: what was not \u{fffd} expected", &run]);

    // An error of the host keeps its code when it is passed on.
    let (code, message) = error(&actions[2]);
    assert_eq!(code, "not-found", "{message}");
    assert!(message.starts_with("while looking around: ") && message.contains("nowhere"), "{message}");
    // As with every guest, all lines but the first are indented.
    assert_eq!(error(&actions[3]), ("failed".to_owned(), "one thing\n  another".to_owned()));

    // If Go cannot recover, it writes the reason to standard error.
    let (_, message) = error(&actions[4]);
    assert!(message.contains("all goroutines are asleep - deadlock!"), "{message}");
    assert!(message.contains(&format!("breaks.go:{}", line_of("breaks_go/breaks.go", "select {}"))), "{message}");
    let (_, message) = error(&actions[5]);
    assert!(message.contains("this cannot go on"), "{message}");
}

#[test]
fn go_reads_inputs_larger_than_its_memory() {
    let (_app, actions) = failing_pipeline("breaks_go", &[r#"how = "memory""#], "limits = { memory = \"32MiB\" }");
    assert_eq!(actions[0]["reason"], "6000000 lines", "{:#}", actions[0]);
}

/// Features of a browser or Node.js that an action does not have.
#[test]
fn javascript_explains_unsupported_features() {
    let (_app, actions) = failing_pipeline("breaks_javascript", &[r#"how = "fetch""#, r#"how = "async""#], "");
    let (code, message) = error(&actions[0]);
    assert_eq!(code, "failed");
    let said = "Error: a component in JavaScript has no fetch: requests need wasi:http, which build-js-guest does not bring along\n  at app.js:";
    assert!(message.starts_with(said), "{message}");
    let said = "TypeError: run is async, and must not be: its call is over when it returns";
    assert_eq!(error(&actions[1]), ("failed".to_owned(), said.to_owned()));
}
