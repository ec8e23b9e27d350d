//! The server behind nginx, with the settings that nginx has by itself and with those of
//! docs/HTTP.md.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
#[cfg(target_os = "linux")]
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anacostia::base::RunId;

use crate::http_resource::{copies, wait_for_copy};
use crate::http_support::Server;

/// nginx in front of a server. It stops when this is dropped, because its standard input ends.
struct Nginx {
    port: u16,
    script: Child,
}

impl Nginx {
    fn start(server: &Server, path: &str) -> Self {
        Self::before(&server.address.to_string(), path, "")
    }

    /// Starts it before the server at `address`, with further `directives` for it.
    fn before(address: &str, path: &str, directives: &str) -> Self {
        Self::with(&format!("location {path} {{ proxy_pass http://{address}; {directives} }}"), "")
    }

    /// Starts it with directives of its one server, and others outside of it.
    fn with(server: &str, http: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-nginx");
        let mut script =
            Command::new(script).args([server, http]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { port: line.trim().parse().expect("nginx does not run"), script }
    }

    /// Sends a request by a name of the server that nginx does not pass on.
    fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .into();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{}{path}", self.port))
            .header("host", "ml.example.com")
            .header("origin", "http://ml.example.com")
            .header("content-type", "application/json")
            .header("accept", "text/html, */*");
        let mut response = agent.run(request.body(body).unwrap()).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    /// Sends a request of a browser at an address of this machine, and returns the answer.
    #[cfg(target_os = "linux")]
    fn send_from(&self, from: Ipv4Addr, method: &str, path: &str, header: &str, body: &str) -> String {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        bind(&socket, &SocketAddrV4::new(from, 0)).unwrap();
        connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port)).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: ml.example.com\r\nOrigin: http://ml.example.com\r\nAccept: text/html\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\nConnection: close\r\n{header}\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// Returns the examples of docs/HTTP.md, for this server.
#[cfg(target_os = "linux")]
fn examples(server: &Server) -> Vec<String> {
    let address = server.address;
    let docs = include_str!("../../docs/HTTP.md");
    let blocks = docs.split("```nginx\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(|block| block.replace("http://127.0.0.1:8000;", &format!("http://{address};"))).collect()
}

/// Returns a header of an answer.
#[cfg(target_os = "linux")]
fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let mut lines = answer.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

#[test]
fn pages_and_changes_pass_nginx() {
    let server = Server::start();
    let nginx = Nginx::start(&server, "/");
    let (status, page) = nginx.send("GET", "/", "");
    assert!(status == 200 && page.contains("penguins"), "{page}");
    assert_eq!(nginx.send("GET", "/assets/live.js", "").0, 200);
    assert_eq!(nginx.send("POST", "/pipeline/pause", "").0, 303);
    assert!(*server.store.paused.lock().unwrap());
    let run = RunId::new();
    assert_eq!(nginx.send("PUT", &format!("/api/v1/runs/{run}"), "{\"params\": {}}").0, 201);
}

/// nginx itself refuses bodies of more than 1 MB, unless it is told otherwise: see docs/HTTP.md.
#[test]
fn an_upload_passes_nginx_if_nginx_lets_it() {
    let mut app = copies("push = true");
    app.start();
    let address = app.url().strip_prefix("http://").unwrap().to_owned();
    let body = "0123456789abcde\n".repeat(200_000);
    let upload = |nginx: &Nginx| {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        let url = format!("http://127.0.0.1:{}/api/v1/resources/api/artifacts?path=a.txt", nginx.port);
        // nginx may close the connection while the body is sent.
        agent.post(url).send(&body).map(|response| response.status().as_u16())
    };
    let refused = upload(&Nginx::before(&address, "/", ""));
    assert!(refused.is_err() || matches!(refused, Ok(413)), "{refused:?}");
    assert!(app.get_all("/api/v1/artifacts").is_empty());
    assert_eq!(upload(&Nginx::before(&address, "/", "client_max_body_size 0;")).unwrap(), 201);
    wait_for_copy(&app, "a.txt", body.as_bytes());
}

#[test]
fn an_event_passes_nginx_at_once() {
    let server = Server::start();
    let nginx = Nginx::start(&server, "/");
    let mut stream = TcpStream::connect(("127.0.0.1", nginx.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: ml.example.com\r\n\r\n").unwrap();
    let (mut got, mut piece) = (String::new(), [0; 4096]);
    for (wanted, adds) in [("id: 0\n", true), ("id: 3-1\n", true), ("id: 3-2\n", false)] {
        while !got.contains(wanted) {
            // It ends with an error if nothing comes.
            let length = stream.read(&mut piece).unwrap();
            assert!(length > 0, "the stream has ended: {got}");
            got.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        if adds {
            server.store.add_event(3, None);
        }
    }
}

#[test]
fn a_server_below_a_path_of_nginx_is_reached_there() {
    let server = Server::below("/ml", None);
    let nginx = Nginx::start(&server, "/ml/");
    let (status, page) = nginx.send("GET", "/ml/runs", "");
    assert!(status == 200 && page.contains("href=\"/ml/assets/"), "{page}");
    assert_eq!(nginx.send("GET", "/runs", "").0, 404, "nginx has another server there");
}

/// On Linux each address in 127.0.0.0/8 is this machine, so that one machine is two clients.
#[cfg(target_os = "linux")]
#[test]
fn the_settings_of_the_docs_bound_the_logins_of_each_client() {
    let server = Server::below("/anacostia", Some("open sesame"));
    let examples = examples(&server);
    let [pages, login] = &examples[..] else { panic!("{examples:?}") };
    let (outside, login) = login.split_at(login.find("location").unwrap());
    let nginx = Nginx::with(&format!("{pages}{login}"), outside);
    let [one, other] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
    let log_in = |from, token: &str| {
        nginx.send_from(from, "POST", "/anacostia/login", "", &format!("token={token}&next=%2Fruns"))
    };
    let asked = nginx.send_from(one, "GET", "/anacostia/runs", "", "");
    assert!(asked.starts_with("HTTP/1.1 401 ") && asked.contains("action=\"/anacostia/login\""), "{asked}");
    let entered = log_in(one, "open+sesame");
    assert!(entered.starts_with("HTTP/1.1 303 "), "{entered}");
    assert!(header(&entered, "location").ends_with("/anacostia/runs"), "{entered}");
    let cookie = format!("Cookie: {}\r\n", header(&entered, "set-cookie").split(';').next().unwrap());
    let is_in = || nginx.send_from(one, "GET", "/anacostia/runs", &cookie, "").starts_with("HTTP/1.1 200 ");
    assert!(is_in());

    // A client has four attempts at once, of which it has used one.
    for attempt in 2..=4 {
        let wrong = log_in(one, "a+guess");
        assert!(wrong.starts_with("HTTP/1.1 401 ") && wrong.contains("This is not the token"), "{attempt}: {wrong}");
    }
    let held_up = log_in(one, "open+sesame");
    assert!(held_up.starts_with("HTTP/1.1 429 ") && !held_up.contains("Too many wrong tokens"), "{held_up}");
    // Who is logged in is not held up, and neither is another client.
    assert!(is_in());
    let entered = log_in(other, "open+sesame");
    assert!(entered.starts_with("HTTP/1.1 303 "), "{entered}");
}
