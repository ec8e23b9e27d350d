//! The server speaks TLS, with a certificate that is replaced while it runs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anacostia::manifest::TlsSpec;
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::http_support::Server;
use crate::support::wait::wait_for;

/// Puts a new certificate for loopback and its key into the folder, and returns the certificate.
fn renew(folder: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    for (name, text) in [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())] {
        fs::write(folder.join("new"), text).unwrap();
        fs::rename(folder.join("new"), folder.join(name)).unwrap();
    }
    made.cert.pem()
}

fn start() -> (Server, TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let certificate = renew(folder.path());
    let spec = TlsSpec { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    (Server::with_tls(spec), folder, certificate)
}

/// Returns a client that trusts only this certificate.
fn client(certificate: &str) -> ureq::Agent {
    let trusted = Certificate::from_pem(certificate.as_bytes()).unwrap();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[trusted]))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
    let config = ureq::Agent::config_builder().proxy(None).timeout_global(Some(Duration::from_secs(20)));
    config.tls_config(tls.build()).build().into()
}

fn get(client: &ureq::Agent, server: &Server, path: &str) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
    client.get(format!("https://{}{path}", server.address)).call()
}

#[test]
fn requests_are_answered_over_tls_and_not_without() {
    let (server, _folder, certificate) = start();
    let mut page = get(&client(&certificate), &server, "/").unwrap();
    assert_eq!((page.status().as_u16(), page.version()), (200, ureq::http::Version::HTTP_11));
    assert!(page.body_mut().read_to_string().unwrap().contains("penguins"));
    let origin = format!("https://{}", server.address);
    let paused = client(&certificate).post(format!("{origin}/api/v1/pipeline/pause")).header("origin", &origin);
    assert_eq!(paused.send_empty().unwrap().status().as_u16(), 200);
    let plain = server.raw(&format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.address));
    assert!(!plain.contains("HTTP/1.1") && !plain.contains("status"), "{plain}");
    // A client that says nothing keeps nobody waiting.
    let mut silent = server.connect();
    assert_eq!(get(&client(&certificate), &server, "/healthz").unwrap().status().as_u16(), 200);
    silent.write_all(b"nonsense").unwrap();
    let _ = silent.read(&mut [0; 100]);
}

#[test]
fn a_new_certificate_is_used_without_a_restart() {
    let (server, folder, old) = start();
    assert_eq!(get(&client(&old), &server, "/healthz").unwrap().status().as_u16(), 200);
    let new = renew(folder.path());
    wait_for("the new certificate to be used", || get(&client(&new), &server, "/healthz").ok());
    assert!(get(&client(&old), &server, "/healthz").is_err(), "the old one is still used");
}

#[test]
fn files_that_do_not_fit_leave_the_certificate_in_use() {
    let (server, folder, good) = start();
    fs::write(folder.path().join("cert.pem"), "nonsense").unwrap();
    let began = Instant::now();
    // The files are looked at each second.
    wait_for("the server to have looked twice", || {
        assert_eq!(get(&client(&good), &server, "/healthz").unwrap().status().as_u16(), 200);
        (began.elapsed() > Duration::from_millis(2_500)).then_some(())
    });
    let new = renew(folder.path());
    wait_for("the new certificate to be used", || get(&client(&new), &server, "/healthz").ok());
}
