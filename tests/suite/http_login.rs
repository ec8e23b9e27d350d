//! People log in with the token: the page with the form, the cookie, its end, and the bounds.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use anacostia::http::ServeOptions;

use crate::http_support::{Answer, Server};

const TOKEN: &str = "open sesame";
const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

fn start() -> Server {
    Server::with(Some(TOKEN), ServeOptions::default())
}

fn send(server: &Server, path: &str, origin: &str, form: &str) -> Answer {
    let kind = ("content-type", "application/x-www-form-urlencoded");
    server.send("POST", path, &[BROWSER, kind, ("origin", origin)], form.as_bytes())
}

fn log_in(server: &Server, form: &str) -> Answer {
    send(server, "/login", &format!("http://{}", server.address), form)
}

/// Returns what a browser sends back of the cookie.
fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

fn as_browser(server: &Server, path: &str, cookie: &str) -> Answer {
    server.send("GET", path, &[BROWSER, ("cookie", cookie)], b"")
}

#[test]
fn a_browser_gets_a_form_and_a_program_a_problem() {
    let server = start();
    for path in ["/", "/runs?state=failed", "/nowhere"] {
        let answer = server.send("GET", path, &[BROWSER], b"");
        assert_eq!((answer.status, answer.header("content-type")), (401, "text/html; charset=utf-8"), "{path}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
        let page = answer.text();
        assert!(page.contains("<h1>Log in</h1>") && page.contains("penguins asks for its token."), "{page}");
        assert!(page.contains("<input id=\"token\" name=\"token\" type=\"password\""), "{page}");
        // It says nothing about the pipeline that only people who have logged in may know.
        for told in ["/pipes/penguins", "aria-label=\"Main\"", "role=\"alert\"", "http-equiv", "data-events"] {
            assert!(!page.contains(told), "{told} is in {page}");
        }
    }
    let page = server.send("GET", "/runs?state=failed", &[BROWSER], b"").text();
    assert!(page.contains("name=\"next\" value=\"&#x2f;runs?state=failed\""), "{page}");
    server.send("GET", "/api/v1/runs", &[BROWSER], b"").problem(401, "unauthorized");
    server.get("/runs").problem(401, "unauthorized");
    // What a browser sends without a session is not done.
    let paused = send(&server, "/pipeline/pause", &format!("http://{}", server.address), "");
    assert_eq!((paused.status, *server.store.paused.lock().unwrap()), (401, false));
    assert!(paused.text().contains("name=\"next\" value=\"&#x2f;\""));
}

#[test]
fn the_cookie_of_a_login_opens_pages_and_the_api_until_the_logout() {
    let server = start();
    let entered = log_in(&server, "token=open+sesame&next=%2Fruns%3Fstate%3Dfailed");
    assert_eq!((entered.status, entered.header("location")), (303, "/runs?state=failed"));
    let set = entered.header("set-cookie");
    let name = format!("anacostia_{}=", server.address.port());
    assert!(set.starts_with(&name) && set.ends_with("; Path=/; Max-Age=604800; HttpOnly; SameSite=Strict"), "{set}");
    assert!(!set.contains("open") && !set.contains("sesame"), "{set}");
    let session = cookie(&entered);
    for path in ["/", "/runs", "/api/v1/runs", "/metrics"] {
        assert_eq!(as_browser(&server, path, &format!("a=b; {session}")).status, 200, "{path}");
    }
    assert!(as_browser(&server, "/", &session).text().contains("action=\"/logout\""));
    let origin = format!("http://{}", server.address);
    let paused = server.send("POST", "/api/v1/pipeline/pause", &[("cookie", &session), ("origin", &origin)], b"");
    assert_eq!((paused.status, *server.store.paused.lock().unwrap()), (200, true));
    // A wrong token is not made good by a cookie.
    let wrong = [("cookie", session.as_str()), ("authorization", "Bearer nonsense")];
    server.send("GET", "/api/v1/runs", &wrong, b"").problem(401, "unauthorized");

    // The session that is left is over, also for who has kept its cookie; others are not.
    let other = cookie(&log_in(&server, "token=open+sesame"));
    assert_ne!(session, other);
    let left = server.send("POST", "/logout", &[("origin", &origin), ("cookie", &session)], b"");
    assert_eq!(as_browser(&server, "/", &session).status, 401);
    assert_eq!(as_browser(&server, "/", &other).status, 200);
    assert_eq!((left.status, left.header("location")), (303, "/login"));
    assert!(left.header("set-cookie").starts_with(&format!("{name}; Path=/; Max-Age=0; ")), "{left:?}");
    assert_eq!(server.get("/login").status, 200);
}

#[test]
fn an_event_stream_ends_with_the_session_that_opened_it() {
    let server = start();
    let sessions = [(); 2].map(|()| cookie(&log_in(&server, "token=open+sesame")));
    let open = |session: &String| {
        let mut stream = BufReader::new(server.connect());
        let head = format!("GET /api/v1/events HTTP/1.1\r\nHost: {}\r\nCookie: {session}\r\n", server.address);
        write!(stream.get_mut(), "{head}Connection: close\r\n\r\n").unwrap();
        let mut status = String::new();
        stream.read_line(&mut status).unwrap();
        assert!(status.starts_with("HTTP/1.1 200 "), "{status}");
        stream
    };
    let [mut left, mut other] = sessions.each_ref().map(open);
    let origin = format!("http://{}", server.address);
    server.send("POST", "/logout", &[("origin", &origin), ("cookie", &sessions[0])], b"");
    // It ends as a stream does that is whole, and at once.
    let mut rest = String::new();
    left.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "{rest}");
    // That of the other session goes on.
    let seq = server.store.add_event(3, None);
    let id = format!("id: 3-{seq}");
    while !rest.contains(&id) {
        assert_ne!(other.read_line(&mut rest).unwrap(), 0, "{rest}");
    }
}

#[test]
fn cookies_of_others_and_changed_ones_open_nothing() {
    let (server, other) = (start(), start());
    let session = cookie(&log_in(&server, "token=open+sesame"));
    let name = session.split('=').next().unwrap().to_owned();
    let foreign = cookie(&log_in(&other, "token=open+sesame"));
    let foreign = foreign.split_once('=').unwrap().1;
    let digest = anacostia::base::Digest::of(TOKEN.as_bytes());
    for bad in [
        format!("{name}={foreign}"),
        format!("{name}={TOKEN}"),
        format!("{name}={digest}"),
        format!("{name}="),
        format!("other_{session}"),
        session[..session.len() - 2].to_owned(),
        session.replacen("=1", "=9", 1),
    ] {
        assert_eq!(as_browser(&server, "/", &bad).status, 401, "{bad}");
    }
    assert_eq!(as_browser(&server, "/", &session).status, 200);
}

#[test]
fn the_cookie_is_secure_where_the_browser_uses_tls() {
    let server = start();
    let headers = [("host", "ml.example.com"), ("origin", "https://ml.example.com")];
    let entered = server.send("POST", "/login", &headers, b"token=open+sesame");
    assert!(entered.header("set-cookie").ends_with("; HttpOnly; SameSite=Strict; Secure"), "{entered:?}");
}

#[test]
fn a_page_of_another_site_cannot_log_in_or_out_nor_choose_where_a_login_leads() {
    let server = start();
    for path in ["/login", "/logout"] {
        let answer = send(&server, path, "http://evil.example", "token=open+sesame");
        assert_eq!((answer.status, answer.header("set-cookie")), (403, ""), "{path}");
    }
    for next in ["%2F%2Fevil.example", "https%3A%2F%2Fevil.example", "%2F%5Cevil.example", "%2Fa%0D%0Ab"] {
        let entered = log_in(&server, &format!("token=open+sesame&next={next}"));
        assert_eq!((entered.status, entered.header("location")), (303, "/"), "{next}");
    }
    // Behind a link of another site the browser leaves out the cookie, so the page tries again.
    let linked = server.send("GET", "/runs", &[BROWSER, ("sec-fetch-site", "cross-site")], b"");
    assert!(linked.status == 401 && linked.text().contains("<meta http-equiv=\"refresh\" content=\"0\">"));
}

#[test]
fn wrong_tokens_are_refused_and_bounded() {
    let server = start();
    for _ in 0..10 {
        let wrong = log_in(&server, "token=nonsense&next=%2Fruns");
        assert_eq!((wrong.status, wrong.header("set-cookie")), (401, ""));
        let page = wrong.text();
        let said = "This is not the token of this pipeline. The manifest has its digest, so nobody can read it there: ask who runs the pipeline.";
        assert!(page.contains(said) && page.contains("value=\"&#x2f;runs\"") && !page.contains("nonsense"), "{page}");
    }
    let bounded = log_in(&server, "token=open+sesame");
    assert_eq!((bounded.status, bounded.header("set-cookie")), (429, ""));
    let wait = bounded.header("retry-after").to_owned();
    assert!((1..=6).contains(&wait.parse::<u32>().unwrap()), "{wait}");
    assert!(bounded.text().contains("Too many wrong tokens came from your address. Try again in "));
    // Programs with the token are not held up.
    assert_eq!(server.send("GET", "/api/v1/runs", &[("authorization", "Bearer open sesame")], b"").status, 200);
    for unreadable in ["", "next=%2F"] {
        assert_eq!(log_in(&server, unreadable).status, 400, "{unreadable}");
    }
}

#[test]
fn without_a_token_there_is_no_login() {
    let server = Server::start();
    assert_eq!(server.send("GET", "/login", &[BROWSER], b"").status, 404);
    assert!(!server.get("/").text().contains("/logout"));
}
