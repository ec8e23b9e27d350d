//! How a service is reached: over TLS, and with the bucket in the name of the host.

use super::over_each_service;
use super::pipeline::{Copying, LARGE};
use crate::support::s3::{DOMAIN, Service};
use crate::support::tls::{Before, Door, UNTRUSTED, certificate};
use crate::support::wait::wait_until;

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
