//! How a server is reached: over TLS, and through proxies of the environment.

use super::copies;
use super::origin::Origin;
use super::outputs::sends_to;
use super::{status, wait_for_copy, wait_for_reason};
use crate::support::proxy::Proxy;
use crate::support::tls::{Before, Door, UNTRUSTED, certificate};
use crate::support::wait::wait_until;

#[test]
fn a_server_is_polled_over_tls_if_its_certificate_is_trusted() {
    let origin = Origin::start();
    origin.put_text("/items.json", "[1]");
    let door = Door::open("127.0.0.1", origin.address, Before::Nothing);
    let mut app = copies(&format!("url = \"https://{}/items.json\"\ninterval = \"100ms\"", door.address));
    app.trust(&certificate("elsewhere.test").1);
    app.start();
    let why = format!("cannot connect to the server: {UNTRUSTED}");
    wait_for_reason(&app, &why);
    wait_until("further polls", || door.said().len() >= 4);
    app.wait_to_say(&why);
    assert_eq!(app.said().matches(&why).count(), 1, "{}", app.said());
    assert!(!app.said().contains("invalid peer certificate"), "{}", app.said());
    assert!(origin.requests().is_empty(), "something was sent to an untrusted server");
    app.kill();
    app.trust(&door.certificate);
    app.start();
    wait_for_copy(&app, "items.json", b"[1]");
}

#[test]
fn an_output_is_sent_over_tls_if_the_certificate_of_the_server_is_trusted() {
    let origin = Origin::start();
    let door = Door::open("127.0.0.1", origin.address, Before::Nothing);
    let mut app = sends_to(&format!("https://{}", door.address), "PUT", "30s");
    app.trust(&certificate("elsewhere.test").1);
    app.drop_file("raw/model.bin", b"weights");
    app.start();
    let why = format!("cannot connect to the server: {UNTRUSTED}");
    wait_for_reason(&app, &format!("outputs wait for api: `model.bin`: {why} (tried"));
    wait_until("it to be logged", || app.said().contains(&format!("an output was not taken: {why}; it is sent again")));
    assert!(origin.requests().is_empty(), "something was sent to an untrusted server");
    app.kill();
    app.trust(&door.certificate);
    app.start();
    assert_eq!(app.wait_for_runs(1)[0]["state"], "succeeded");
    let brought = origin.brought();
    assert_eq!((brought.len(), &brought[0].body[..]), (1, &b"weights"[..]));
}

/// A machine without certificates, such as a small container, uses servers without TLS.
#[test]
fn a_server_without_tls_needs_no_trusted_certificate() {
    let origin = Origin::start();
    origin.put_text("/items.json", "[1]");
    let mut app = copies(&format!("url = \"http://{}/items.json\"\ninterval = \"100ms\"", origin.address));
    app.set_env("SSL_CERT_FILE", "/dev/null");
    app.start();
    wait_for_copy(&app, "items.json", b"[1]");
}

/// The name resolves nowhere: only the proxy, which is the server itself, can answer for it.
#[test]
fn a_server_is_polled_through_the_proxy_of_the_environment_unless_it_is_excepted() {
    let (origin, near) = (Origin::start(), Origin::start());
    origin.put_text("http://api.test/items.json", "[1]");
    near.put_text("/near.json", "[2]");
    let proxy = Proxy::http(origin.address);
    let second = format!(
        "[resources.near]\nkind = \"http\"\nwatch = true\nurl = \"http://{}/near.json\"\ninterval = \"100ms\"\n\
         [actions.read]\ncomponent = \"worker.wasm\"\nafter = [\"near\"]\nreads = [\"near\"]",
        near.address
    );
    let mut app = copies(&format!("url = \"http://api.test/items.json\"\ninterval = \"100ms\"\n{second}"));
    app.set_env("HTTP_PROXY", &proxy.url());
    app.set_env("NO_PROXY", "127.0.0.1");
    app.start();
    wait_for_copy(&app, "items.json", b"[1]");
    wait_until("the near server to be polled", || near.requests().len() > 1);
    let requests = proxy.requests();
    assert!(requests.iter().all(|line| line.starts_with("GET http://api.test/items.json ")), "{requests:?}");
}

#[test]
fn a_server_with_tls_is_reached_by_a_tunnel_through_the_proxy_of_the_environment() {
    let origin = Origin::start();
    origin.put_text("/items.json", "[1]");
    let door = Door::open("api.test", origin.address, Before::Connect);
    let keys = "url = \"https://api.test/items.json\"\ninterval = \"100ms\"\nheaders = { authorization = \"env:KEY\" }";
    let mut app = copies(keys);
    app.trust(&door.certificate);
    app.set_env("HTTPS_PROXY", &format!("http://user:pr0xy-s3cret@{}", door.address));
    app.set_env("KEY", "k3y");
    app.start();
    wait_for_copy(&app, "items.json", b"[1]");
    assert_eq!(door.said()[0], "CONNECT api.test:443 HTTP/1.1");
    assert_eq!(origin.requests()[0].headers["authorization"], "k3y");
    drop(door);
    wait_for_reason(&app, "cannot connect to the server: ");
    assert!(!app.said().contains("pr0xy-s3cret"), "{}", app.said());
    assert!(!app.get("/api/v1/nodes/api").to_string().contains("pr0xy-s3cret"));
}

#[test]
fn a_proxy_that_refuses_is_named_without_its_password() {
    let origin = Origin::start();
    let away = Proxy::http(origin.address);
    away.refuse();
    let mut app = copies("url = \"http://api.test/items.json\"\ninterval = \"100ms\"");
    app.set_env("http_proxy", &format!("http://user:pr0xy-s3cret@{}", away.address()));
    app.start();
    wait_until("the outage", || status(&app).0 == "unreachable");
    let why = format!(
        "cannot connect to the server: Connection refused (os error 111), through the proxy http://{} of the \
         environment",
        away.address()
    );
    assert_eq!(status(&app).1, why);
    assert!(!app.said().contains("pr0xy-s3cret"), "{}", app.said());
}

#[test]
fn a_variable_that_names_no_proxy_is_told_without_its_value() {
    let origin = Origin::start();
    origin.put_text("/items.json", "[1]");
    let mut app = copies(&format!("url = \"http://{}/items.json\"\ninterval = \"100ms\"", origin.address));
    app.set_env("HTTP_PROXY", "http//user:pr0xy-s3cret@proxy.test:3128");
    app.set_env("HTTPS_PROXY", "ftp://proxy.test");
    app.start();
    wait_for_copy(&app, "items.json", b"[1]");
    let told = |name: &str| {
        format!(
            "warning: the variable {name} does not name a proxy, so none is used: write http://HOST:PORT, or unset it\n"
        )
    };
    let said = app.said();
    assert_eq!(["HTTP_PROXY", "HTTPS_PROXY"].map(|name| said.matches(&told(name)).count()), [1, 1], "{said}");
    assert!(!said.contains("pr0xy-s3cret"), "{said}");
}
