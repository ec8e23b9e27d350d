//! How receivers are reached: over TLS, and through proxies of the environment.

use serde_json::Value;

use super::{pipeline, wait_for_state, webhook};
use crate::support::app::TestApp;
use crate::support::proxy::Proxy;
use crate::support::receiver::Receiver;
use crate::support::smtp::MailServer;
use crate::support::tls::{Before, Door, UNTRUSTED, certificate};
use crate::support::wait::{wait_for, wait_until};

fn mail(smtp: &str) -> String {
    format!(
        "[notify.mail]\nkind = \"email\"\nfrom = \"a@example.com\"\nto = [\"b@example.com\"]\nsmtp = \"{smtp}\"\n\
         user = \"env:HOOK_KEY\"\npassword = \"env:HOOK_KEY\"\non = [\"run_failed\"]\n"
    )
}

/// Starts a host that does not trust the receiver behind a door, and then one that does. Returns
/// why the first one has not delivered.
fn deliver_once_trusted(app: &mut TestApp, door: &Door) -> Value {
    app.trust(&certificate("elsewhere.test").1);
    app.start();
    app.drop_file("raw/a.csv", b"x");
    let failed = wait_for("a failed delivery", || {
        app.get_all("/api/v1/notifications").into_iter().find(|it| it["attempts"].as_u64() > Some(0))
    });
    assert_eq!(failed["state"], "waiting", "{failed}");
    assert!(!app.said().contains("invalid peer certificate"), "{}", app.said());
    app.kill();
    app.trust(&door.certificate);
    app.start();
    assert_eq!(wait_for_state(app, "delivered").len(), 1);
    failed["error"].clone()
}

#[test]
fn a_webhook_is_sent_over_tls_if_the_certificate_of_the_receiver_is_trusted() {
    let receiver = Receiver::start(&[]);
    let door = Door::open("127.0.0.1", receiver.address(), Before::Nothing);
    let mut app = pipeline(true, &webhook(&format!("https://{}/hook", door.address), "on = [\"run_failed\"]"));
    let error = deliver_once_trusted(&mut app, &door);
    assert_eq!(error, format!("error sending request: client error (Connect): {UNTRUSTED}"));
    assert_eq!(receiver.received().len(), 1, "nothing is sent to an untrusted receiver");
}

#[test]
fn a_mail_is_sent_over_tls_if_the_certificate_of_the_server_is_trusted() {
    let server = MailServer::start(Some("235 welcome"));
    for (scheme, query, before) in [("smtps", "", Before::Nothing), ("smtp", "?tls=required", Before::StartTls)] {
        let door = Door::open("127.0.0.1", server.address(), before);
        let mut app = pipeline(true, &mail(&format!("{scheme}://{}{query}", door.address)));
        let sent = server.mails().len();
        let error = deliver_once_trusted(&mut app, &door);
        assert_eq!(error, format!("Connection error: Connection error: {UNTRUSTED}"), "{scheme}");
        assert_eq!(server.mails().len(), sent + 1, "{scheme}");
    }
}

#[test]
fn a_mail_that_requires_tls_is_not_sent_without() {
    let server = MailServer::start(Some("235 welcome"));
    let mut app = pipeline(true, &mail(&format!("{}?tls=required", server.url())));
    app.start();
    app.drop_file("raw/a.csv", b"x");
    let failed = wait_for("a failed delivery", || {
        app.get_all("/api/v1/notifications").into_iter().find(|it| it["attempts"].as_u64() > Some(0))
    });
    assert_eq!(failed["error"], "internal client error: STARTTLS is not supported on this server");
    let commands = server.commands();
    assert!(!commands.iter().any(|command| ["AUTH", "MAIL"].contains(&&**command)), "{commands:?}");
}

/// The names resolve nowhere: only the proxies can answer for them.
#[test]
fn webhooks_are_sent_through_the_proxies_of_the_environment_unless_they_are_excepted() {
    let (far, near) = (Receiver::start(&[]), Receiver::start(&[]));
    let proxy = Proxy::http(far.address());
    let tunnel = Door::open("hooks.test", far.address(), Before::Connect);
    let on = "on = [\"run_failed\"]";
    let notify = webhook("http://hooks.test/plain", on)
        + &webhook("https://hooks.test/secure", on).replace("ops", "secure")
        + &webhook(&near.url(), on).replace("ops", "near");
    let mut app = pipeline(true, &notify);
    app.trust(&tunnel.certificate);
    app.set_env("HTTP_PROXY", &proxy.url());
    app.set_env("HTTPS_PROXY", &format!("http://{}", tunnel.address));
    app.start();
    app.drop_file("raw/a.csv", b"x");
    wait_until("all to be delivered", || {
        let all = app.get_all("/api/v1/notifications");
        all.len() == 3 && all.iter().all(|it| it["state"] == "delivered")
    });
    assert_eq!(proxy.requests(), ["POST http://hooks.test/plain HTTP/1.1"]);
    assert_eq!(tunnel.said(), ["CONNECT hooks.test:443 HTTP/1.1"]);
    let mut paths: Vec<String> = far.received().into_iter().map(|request| request.path).collect();
    paths.sort();
    assert_eq!(paths, ["/secure", "http://hooks.test/plain"]);
    assert_eq!(near.received().len(), 1);
}
