//! Protection of the HTTP server: hosts, origins, tokens and bounds of requests.

use anacostia::http::ServeOptions;

use crate::http_support::Server;

/// Sends `GET path` with these header lines, and returns the status.
fn status(server: &Server, method: &str, target: &str, lines: &[&str]) -> u16 {
    let head: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let answer = server.raw(&format!("{method} {target} HTTP/1.1\r\n{head}Connection: close\r\n\r\n"));
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer}")).parse().unwrap()
}

#[test]
fn the_host_is_checked_on_every_route_and_method() {
    let server = Server::start();
    let good = format!("Host: {}", server.address);
    let bad = format!("Host: rebound.example:{}", server.address.port());
    for target in ["/", "/api/v1/runs", "/api/v1/events", "/healthz", "/metrics", "/assets/plain.css", "/nowhere"] {
        assert_ne!(status(&server, "HEAD", target, &[&good]), 421, "{target}");
        for method in ["GET", "HEAD", "PUT", "POST", "OPTIONS", "DELETE"] {
            assert_eq!(status(&server, method, target, &[&bad]), 421, "{method} {target}");
        }
    }
}

#[test]
fn a_missing_duplicate_or_contradicting_host_is_refused() {
    let server = Server::start();
    let (good, port) = (format!("Host: {}", server.address), server.address.port());
    assert_eq!(status(&server, "GET", "/healthz", &[&good]), 200);
    assert_eq!(status(&server, "GET", "/healthz", &[&format!("Host: localhost:{port}")]), 200);
    assert_eq!(status(&server, "GET", "/healthz", &[]), 400);
    assert_eq!(status(&server, "GET", "/healthz", &[&good, &good]), 400);
    assert_eq!(status(&server, "GET", "/healthz", &["Host: 127.0.0.1"]), 421);
    assert_eq!(status(&server, "GET", &format!("http://evil.example:{port}/healthz"), &[&good]), 421);
    assert_eq!(status(&server, "GET", &format!("http://localhost:{port}/healthz"), &[&good]), 200);
}

#[test]
fn the_hosts_of_the_manifest_are_accepted() {
    let server = Server::start();
    let known = ["ml.example.com", "ML.example.com:8443", "other.example.com:8443"];
    assert_eq!(known.map(|host| server.send("GET", "/healthz", &[("host", host)], b"").status), [200; 3]);
    for unknown in ["evil.example.com", "other.example.com", "other.example.com:8444"] {
        let problem = server.send("GET", "/healthz", &[("host", unknown)], b"").problem(421, "unknown-host");
        let said = format!(
            "this server does not answer for `{unknown}`; use the address that it is bound to, or add the name to `hosts` in `[server]`"
        );
        assert_eq!(problem["detail"], said);
    }
}

#[test]
fn cross_origin_requests_cannot_change_anything() {
    let server = Server::start();
    let (address, port) = (server.address, server.address.port());
    let pause = |headers: &[(&str, &str)]| server.send("POST", "/api/v1/pipeline/pause", headers, b"");
    for origin in [
        "http://evil.example".to_owned(),
        "null".to_owned(),
        format!("http://localhost:{port}"),
        format!("http://127.0.0.1:{}", port ^ 1),
        "http://127.0.0.1".to_owned(),
        format!("ftp://{address}"),
        format!("http://{address}.evil.example"),
        String::new(),
    ] {
        pause(&[("Origin", &origin)]).problem(403, "foreign-origin");
    }
    for site in ["cross-site", "same-site"] {
        pause(&[("Sec-Fetch-Site", site)]).problem(403, "foreign-origin");
    }
    pause(&[("Origin", "https://other.example.com")]).problem(403, "foreign-origin");
    assert!(!*server.store.paused.lock().unwrap());
    // By one of its own names, which a proxy has not passed on.
    assert_eq!(pause(&[("Origin", "https://ml.example.com")]).status, 200);
    assert_eq!(pause(&[]).status, 200);
    assert_eq!(pause(&[("Origin", &format!("http://{address}")), ("Sec-Fetch-Site", "same-origin")]).status, 200);
    assert!(*server.store.paused.lock().unwrap());
    // Reading changes nothing, and no header lets another origin see the response.
    let read = server.send("GET", "/api/v1/pipeline", &[("Origin", "http://evil.example")], b"");
    assert_eq!((read.status, read.header("access-control-allow-origin")), (200, ""));
}

#[test]
fn a_configured_token_is_required_on_every_route() {
    let server = Server::with(Some("open sesame"), ServeOptions::default());
    for path in ["/", "/api/v1/runs", "/api/v1/events", "/readyz", "/metrics", "/openapi.json", "/nowhere"] {
        let answer = server.get(path);
        answer.problem(401, "unauthorized");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{path}");
        for wrong in ["Bearer open sesam", "Bearer ", "Basic open sesame", "open sesame", "Beareropen sesame"] {
            assert_eq!(server.send("GET", path, &[("Authorization", wrong)], b"").status, 401, "{wrong}");
        }
    }
    let right = [("Authorization", "bearer open sesame")];
    assert_eq!(server.send("GET", "/api/v1/runs", &right, b"").status, 200);
    // However many wrong ones came before, also for people: see docs/HTTP.md.
    for _ in 0..20 {
        assert_eq!(server.send("GET", "/api/v1/runs", &[("Authorization", "Bearer nonsense")], b"").status, 401);
    }
    assert_eq!(server.send("GET", "/api/v1/runs", &right, b"").status, 200);
    assert_eq!(server.send("POST", "/login", &[], b"token=open+sesame").status, 303);
    // They tell nothing about the pipeline, and the page with the form needs the assets.
    assert_eq!(["/healthz", "/assets/plain.css", "/login"].map(|path| server.get(path).status), [200; 3]);
}

#[test]
fn every_response_has_the_security_headers() {
    let server = Server::start();
    for path in ["/", "/api/v1/runs", "/nowhere", "/healthz", "/assets/plain.css", "/assets/none"] {
        let answer = server.get(path);
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("base-uri 'none'"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{path}");
    }
}

#[test]
fn urls_and_request_headers_are_limited() {
    let server = Server::start();
    let host = format!("Host: {}", server.address);
    server.get(&format!("/api/v1/runs?cursor={}", "x".repeat(9_000))).problem(414, "target-too-long");
    let huge = format!("X-Filler: {}", "x".repeat(40_000));
    assert_eq!(status(&server, "GET", "/healthz", &[&host, &huge]), 431);
}
