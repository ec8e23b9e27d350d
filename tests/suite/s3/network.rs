//! How a service is reached: over TLS, and with the bucket in the name of the host.

use super::over_each_service;
use super::pipeline::{Copying, LARGE};
use crate::support::app::TestApp;
use crate::support::proxy::Proxy;
use crate::support::s3::{DOMAIN, Service};
use crate::support::tls::{Before, Door, UNTRUSTED, certificate};
use crate::support::wait::{wait_for, wait_until};

over_each_service!(outputs_go_to_a_bucket_in_the_name_of_the_host,);

/// The name resolves nowhere: only the proxy of the environment, which is the service itself, can
/// answer for it.
async fn outputs_go_to_a_bucket_in_the_name_of_the_host(service: Service) {
    let mut copying =
        Copying::with_keys(service, |bucket, _| bucket.keys(&format!("http://{DOMAIN}")) + "style = \"virtual\"\n")
            .await;
    copying.app.set_env("http_proxy", &copying.proxy.url());
    copying.app.start();
    copying.put("a.csv", 10).await;
    copying.put("large.bin", LARGE).await;
    copying.check().await;
    let host = format!("http://{}.{DOMAIN}/", copying.bucket.name);
    let requests = copying.proxy.requests();
    let foreign = requests.iter().find(|line| !line.split(' ').nth(1).unwrap().starts_with(&host));
    assert_eq!(foreign, None);
    // The small one, the parts, and what the host signs itself.
    for (method, rest) in [
        ("GET", "?list-type=2&"),
        ("GET", "in/a.csv "),
        ("PUT", "out/a.csv "),
        ("POST", "out/large.bin?uploads="),
        ("PUT", "out/large.bin?partNumber=2&"),
        ("POST", "out/large.bin?uploadId="),
    ] {
        let begin = format!("{method} {host}{rest}");
        assert!(requests.iter().any(|line| line.starts_with(&begin)), "no {begin}: {requests:#?}");
    }
}

/// The host asks for the list itself, and lets the library look at what is there.
#[test]
fn a_proxy_that_refuses_is_named_without_its_password() {
    let away = Proxy::http(([127, 0, 0, 1], 9).into());
    away.refuse();
    let bucket = "kind = \"s3\"\nbucket = \"b\"\nendpoint = \"http://s3.test\"\ncredentials = \"none\"\n";
    let manifest = format!(
        "manifest_version = 1\n[pipeline]\nname = \"away\"\njoin = \"any\"\n\
         [resources.raw]\nkind = \"folder\"\npath = \"raw\"\nwatch = true\n\
         [resources.far]\n{bucket}prefix = \"in\"\nwatch = true\n[resources.out]\n{bucket}prefix = \"out\"\n\
         [actions.copy]\ncomponent = \"worker.wasm\"\nafter = [\"raw\", \"far\"]\nreads = [\"raw\", \"far\"]\nwrites = [\"out\"]\n\
         params = {{ steps = [{{ do = \"copy\", from = \"raw\", to = \"out\" }}] }}\n"
    );
    let mut app = TestApp::new(&manifest).with_guest("worker");
    app.set_env("http_proxy", &format!("http://user:pr0xy-s3cret@{}", away.address()));
    app.start();
    app.drop_file("raw/a.csv", b"1");
    let why =
        format!("Connection refused (os error 111), through the proxy http://{} of the environment", away.address());
    let listed = || {
        let node = app.get("/api/v1/nodes/far");
        (node["state"] == "unreachable").then(|| node["reason"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(wait_for("the outage", listed), why);
    let run = &app.wait_for_runs(1)[0];
    let error = app.get(&format!("/api/v1/runs/{}", run["id"].as_str().unwrap()))["actions"][0]["attempts"][0]["error"]
        ["message"]
        .to_string();
    assert!(error.contains(&why), "{error}");
    assert!(!app.said().contains("pr0xy-s3cret"), "{}", app.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_reached_over_tls_if_its_certificate_is_trusted() {
    let mut door = None;
    let mut copying = Copying::with_keys(Service::Moto, |bucket, proxy| {
        let door = door.insert(Door::open("127.0.0.1", proxy.address(), Before::Nothing));
        bucket.keys(&format!("https://{}", door.address))
    })
    .await;
    let door = door.unwrap();
    copying.app.trust(&certificate("elsewhere.test").1);
    copying.app.start();
    wait_until("the service to be asked again and again", || door.said().len() > 3);
    let why = format!("raw cannot be reached: {UNTRUSTED}");
    copying.app.wait_to_say(&why);
    assert_eq!(copying.app.said().matches(&why).count(), 1, "{}", copying.app.said());
    assert!(!copying.app.said().contains("invalid peer certificate"), "{}", copying.app.said());
    assert_eq!(copying.proxy.requests(), [""; 0], "nothing is sent to an untrusted server");
    copying.app.kill();

    copying.app.trust(&door.certificate);
    copying.app.start();
    copying.put("a.csv", 10).await;
    copying.put("large.bin", LARGE).await;
    copying.check().await;
    copying.check_secrets();
}

/// A machine without certificates, such as a small container, uses services without TLS.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_tls_needs_no_trusted_certificate() {
    let mut copying = Copying::new(Service::Moto).await;
    copying.app.set_env("SSL_CERT_FILE", "/dev/null");
    copying.app.start();
    copying.put("a.csv", 10).await;
    copying.check().await;
}
