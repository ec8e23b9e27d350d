//! The example `alert`: the real pipeline, in its own folder.

use std::fs;

use crate::support::app::TestApp;
use crate::support::smtp::MailServer;
use crate::support::wait::wait_for;

#[test]
fn an_alert_is_written_only_when_a_value_leaves_its_range() {
    let mut app = TestApp::example("alert", &[("alert.wasm", "alert")]);
    app.start();
    app.drop_file("readings/fine.csv", b"01:00,2.0\n01:30,8.0\n");
    app.wait_for_runs(1);
    app.drop_file("readings/warm.csv", b"02:00,8.1\n02:30,7.9\n03:00,offline\n");
    let runs = app.wait_for_runs(2);
    assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:?}");

    let alerts: Vec<_> =
        app.get_all("/api/v1/artifacts?resource=alerts").iter().map(|alert| alert["path"].clone()).collect();
    assert_eq!(alerts, ["warm.csv.txt"]);
    let text = fs::read_to_string(app.path("alerts/warm.csv.txt")).unwrap();
    assert_eq!(text, "02:00: 8.1 is not from 2 to 8\n03:00: offline is not from 2 to 8\n");
    let reason = |run: u64| app.get(&format!("/api/v1/runs/{run}"))["actions"][0]["reason"].clone();
    assert_eq!([reason(1), reason(2)], ["every value is in its range", "alerts written: 1"]);
}

#[test]
fn an_email_is_sent_when_enough_readings_are_there_and_one_is_out_of_range() {
    let server = MailServer::start(None);
    let components = [("alert.wasm", "alert")];
    let mut app = TestApp::example_with("alert", &components, "mail.toml", |text| {
        assert!(text.contains("smtp://127.0.0.1:2525"));
        text.replace("smtp://127.0.0.1:2525", &server.url())
    });
    app.start();
    for number in 1..=5 {
        app.drop_file(&format!("readings/fine-{number}.csv"), b"01:00,2.0\n01:30,8.0\n");
    }
    app.wait_for_runs(1);
    for number in 1..=4 {
        app.drop_file(&format!("readings/warm-{number}.csv"), b"02:00,8.1\n");
    }
    assert_eq!(app.get_all("/api/v1/runs").len(), 1, "four are not enough");
    app.drop_file("readings/warm-5.csv", b"02:00,8.1\n");
    let mail = wait_for("the e-mail", || server.mails().into_iter().next());
    assert_eq!((mail.from.as_str(), &mail.to[..]), ("cold-room@example.com", &["you@example.com".to_owned()][..]));
    assert!(mail.data.contains("\nSubject: alert-by-mail: run #2 succeeded\n"), "{}", mail.data);
    assert!(mail.data.contains("\nalert succeeded: alerts written: 5\n"), "{}", mail.data);
    assert_eq!(server.mails().len(), 1, "the first run had no alert");
}
