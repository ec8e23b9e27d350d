//! The page of settings.

use crate::support::app::TestApp;
use crate::support::pages::{has, obeys, page};
use crate::support::wait::wait_until;

#[test]
fn settings_say_what_the_host_works_with_and_no_secret() {
    let manifest = r#"
manifest_version = 1
[pipeline]
name = "settings" # <b>not bold</b>
max_concurrent_runs = 3
concurrency = { gpu = 1 }
[resources.raw]
kind = "folder"
path = "${PLACE}/raw"
watch = true
[actions.train]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
uses = ["gpu"]
"#;
    let mut app = TestApp::new(manifest).with_guest("worker");
    let place = tempfile::Builder::new().prefix("secret-place").tempdir().unwrap();
    std::fs::create_dir(place.path().join("raw")).unwrap();
    app.set_env("PLACE", place.path().to_str().unwrap());
    app.start();
    wait_until("the host to be ready", || app.try_get("/readyz").is_ok_and(|(status, _)| status == 200));
    let html = page(&app, "/settings");
    obeys(&html);
    let records = rusqlite::Connection::open(app.path("state/metadata.db")).unwrap();
    let schema: u32 = records.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    has(
        &html,
        &[
            "${PLACE}/raw",
            "# &lt;b&gt;not bold&lt;/b&gt;",
            "<dt>Kind</dt><dd>sqlite</dd>",
            &format!("<dt>Schema</dt><dd>version {schema}</dd>"),
            "<dt>Starts of a host</dt><dd>1</dd>",
            "metadata.db",
            "<dt>Log lines</dt>",
            "<dt>Components</dt>",
            "<dt>Runs at once</dt><dd>3</dd>",
            "<code>gpu</code></dt><dd>1 at once: 0 now, 0 waiting</dd>",
            "</svg> ready</span>",
            "<dt>Token</dt><dd>not required</dd>",
            "<a href=\"/actions/train\">train</a></th><td data-label=\"File\"><code>worker.wasm</code></td>",
        ],
    );
    assert!(!html.contains("secret-place"), "{html}");
    for (name, least) in [("Records", 1), ("Components", 1)] {
        let size = html.split(&format!("<dt>{name}</dt><dd>")).nth(1).unwrap().split('<').next().unwrap();
        let number: f64 = size.split(' ').next().unwrap().parse().unwrap();
        assert!(number >= f64::from(least) && size.ends_with('B'), "{name}: {size}");
    }
}
