//! A server that is polled, and that takes outputs.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What the server answers to `GET` at one target.
#[derive(Debug, Clone, Default)]
pub(crate) struct Document {
    pub(crate) body: Vec<u8>,
    /// Sent as `ETag`, and compared with `If-None-Match`.
    pub(crate) etag: Option<String>,
    /// Sent as `Last-Modified`, and compared with `If-Modified-Since`.
    pub(crate) modified: Option<String>,
    /// Further headers, each `name: value`.
    pub(crate) headers: Vec<String>,
}

/// A request as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) line: String,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
}

#[derive(Default)]
struct State {
    documents: BTreeMap<String, Document>,
    requests: Vec<Request>,
    /// The status of answers to PUT and POST.
    taking: u16,
    /// How long it waits before each mebibyte of a body.
    pause: Duration,
}

/// The server; it accepts no connection after it is dropped.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    listener: Arc<TcpListener>,
    state: Arc<Mutex<State>>,
}

impl Origin {
    pub(crate) fn start() -> Self {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let state = Arc::new(Mutex::new(State { taking: 201, ..State::default() }));
        let origin = Self { address: listener.local_addr().unwrap(), listener, state };
        let (listener, state) = (Arc::clone(&origin.listener), Arc::clone(&origin.state));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || {
                    // So that no thread outlives a test that has failed.
                    let _ = stream.set_read_timeout(Some(Duration::from_mins(2)));
                    let _ = serve(&stream, &state);
                });
            }
        });
        origin
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Puts a document at a target, path and query.
    pub(crate) fn put(&self, target: &str, document: Document) {
        self.state().documents.insert(target.to_owned(), document);
    }

    /// Puts a body at a target, with its length and content as `ETag`.
    pub(crate) fn put_text(&self, target: &str, text: &str) {
        let etag = Some(format!("\"{}-{}\"", text.len(), text.escape_default()));
        self.put(target, Document { body: text.into(), etag, ..Document::default() });
    }

    pub(crate) fn remove(&self, target: &str) {
        self.state().documents.remove(target);
    }

    /// Sets the status of answers to PUT and POST.
    pub(crate) fn take_with(&self, status: u16) {
        self.state().taking = status;
    }

    /// Makes it wait before each mebibyte of a body.
    pub(crate) fn read_slowly(&self, pause: Duration) {
        self.state().pause = pause;
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Returns the requests that bring something.
    pub(crate) fn brought(&self) -> Vec<Request> {
        self.requests().into_iter().filter(|request| !request.line.starts_with("GET ")).collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader, state)? {
        let answer = answer(&request, &mut state.lock().unwrap());
        let mut stream = stream;
        stream.write_all(&answer)?;
    }
    Ok(())
}

fn read(reader: &mut BufReader<&TcpStream>, state: &Mutex<State>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    assert!(!headers.contains_key("transfer-encoding"), "the length is known: {headers:?}");
    let mut body = vec![0; length];
    let pause = state.lock().unwrap().pause;
    for part in body.chunks_mut(1 << 20) {
        std::thread::sleep(pause);
        reader.read_exact(part)?;
    }
    Ok(Some(Request { line: line.trim().to_owned(), headers, body, at: Instant::now() }))
}

fn answer(request: &Request, state: &mut State) -> Vec<u8> {
    state.requests.push(request.clone());
    if !request.line.starts_with("GET ") {
        return format!("HTTP/1.1 {} Taken\r\nContent-Length: 0\r\n\r\n", state.taking).into_bytes();
    }
    let target = request.line.split(' ').nth(1).unwrap();
    let Some(document) = state.documents.get(target) else {
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
    };
    let same = |name: &str, value: &Option<String>| value.is_some() && request.headers.get(name) == value.as_ref();
    if same("if-none-match", &document.etag) || same("if-modified-since", &document.modified) {
        return b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec();
    }
    let mut head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", document.body.len());
    for (name, value) in [("ETag", &document.etag), ("Last-Modified", &document.modified)] {
        if let Some(value) = value {
            head += &format!("{name}: {value}\r\n");
        }
    }
    for header in &document.headers {
        head += &format!("{header}\r\n");
    }
    let mut answer = format!("{head}\r\n").into_bytes();
    answer.extend_from_slice(&document.body);
    answer
}
