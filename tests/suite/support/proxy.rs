//! A proxy on loopback that injects faults between a host and a real server.
//!
//! [`Proxy::http`] understands HTTP/1.1 well enough to apply a [`Fault`] to one request and forward
//! the next. [`Proxy::postgres`] applies it to one message of a PostgreSQL server. [`Proxy::tcp`]
//! forwards bytes of any protocol, and can only refuse and reset connections. A test switches
//! faults while the proxy runs. The proxy ends when it is dropped.

mod message;
mod postgres;

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufReader, ErrorKind, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};

use message::{Body, Head, copy_body};

/// So that no thread outlives a test that has failed.
const STUCK_AFTER: Duration = Duration::from_mins(2);

/// Responses up to this size are remembered, for [`Fault::Repeat`].
const REMEMBERED_BYTES: usize = 1 << 20;

/// How many responses are remembered.
const REMEMBERED: usize = 64;

/// What the proxy does to a request. To a message of a PostgreSQL server it does what it does to
/// the body of a response.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Answers with this status and these header lines (each `name: value`) instead of forwarding.
    Answer(u16, Vec<String>),
    /// Forwards the request, and resets the connection after so many bytes of the response's body.
    ResetAfter(u64),
    /// Forwards the request, and ends the connection in an orderly way after so many bytes of the
    /// response's body.
    TruncateAfter(u64),
    /// Forwards the request, and sends the response's body in pieces of so many bytes, each after a
    /// pause.
    Slow(usize, Duration),
    /// Forwards the request's body in pieces of so many bytes, each after a pause.
    SlowRequest(usize, Duration),
    /// Forwards the request, and sends the response after a pause.
    Late(Duration),
    /// Sends the last response again that a request with this part in its line got, instead of
    /// forwarding: a listing page that repeats.
    Repeat(&'static str),
    /// Forwards the request, waits for the response, and resets the connection without sending it:
    /// the work is done, and the client does not learn of it.
    LoseAnswer,
    /// Resets the connection after so many bytes of the request's body, of which the server
    /// receives no more.
    ResetRequestAfter(u64),
    /// Resets all connections instead of forwarding, and refuses new ones until [`Proxy::heal`].
    Refuse,
}

impl Fault {
    /// Answers with this status, and nothing else.
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new())
    }

    /// Answers with this status, and asks the client to wait for so many seconds.
    pub(crate) fn retry_after(status: u16, seconds: u32) -> Self {
        Self::Answer(status, vec![format!("Retry-After: {seconds}")])
    }
}

/// A fault for some of the requests.
#[derive(Debug)]
struct Rule {
    /// A part of the request lines or headers that it applies to, such as `GET /list` or `PUT `, or
    /// of a message, such as `CommandComplete COMMIT` or a text in a `DataRow`.
    part: String,
    /// For how many further requests; `None`: until [`Proxy::heal`].
    left: Option<u32>,
    fault: Fault,
}

/// A running proxy.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    /// Keeps the port while nothing listens on it.
    _port: OwnedFd,
}

struct Listening {
    listener: Arc<TcpListener>,
    thread: JoinHandle<()>,
}

/// What the proxy understands.
#[derive(Debug, Clone, Copy)]
enum Protocol {
    Http,
    Postgres,
    Any,
}

struct Shared {
    address: SocketAddr,
    upstream: SocketAddr,
    protocol: Protocol,
    listening: Mutex<Option<Listening>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    /// Request lines, as received.
    requests: Vec<String>,
    /// How often a fault was applied.
    struck: u32,
    /// Responses with their request lines, oldest first.
    answers: VecDeque<(String, Vec<u8>)>,
    /// Both ends of every open connection.
    open: BTreeMap<u64, [TcpStream; 2]>,
    threads: Vec<JoinHandle<()>>,
    connections: u64,
}

impl Proxy {
    /// Starts a proxy to an HTTP/1.1 server.
    pub(crate) fn http(upstream: SocketAddr) -> Self {
        Self::start(upstream, Protocol::Http)
    }

    /// Starts a proxy to a server of any protocol over TCP.
    pub(crate) fn tcp(upstream: SocketAddr) -> Self {
        Self::start(upstream, Protocol::Any)
    }

    /// Starts a proxy to a PostgreSQL server, for connections without TLS.
    pub(crate) fn postgres(upstream: SocketAddr) -> Self {
        Self::start(upstream, Protocol::Postgres)
    }

    fn start(upstream: SocketAddr, protocol: Protocol) -> Self {
        let port = reserve("127.0.0.1:0".parse().unwrap());
        let address = SocketAddr::try_from(rustix::net::getsockname(&port).unwrap()).unwrap();
        let shared = Shared { address, upstream, protocol, listening: Mutex::default(), state: Mutex::default() };
        let proxy = Self { shared: Arc::new(shared), _port: port };
        proxy.accept();
        proxy
    }

    /// Returns the address that clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Returns `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// Refuses new connections, and resets the open ones, until [`Self::accept`].
    pub(crate) fn refuse(&self) {
        self.shared.refuse();
    }

    /// Accepts connections again.
    pub(crate) fn accept(&self) {
        let mut listening = self.shared.listening.lock().unwrap();
        if listening.is_some() {
            return;
        }
        let socket = reserve(self.shared.address);
        rustix::net::listen(&socket, 128).unwrap();
        let listener = Arc::new(TcpListener::from(socket));
        let (shared, accepting) = (Arc::clone(&self.shared), Arc::clone(&listener));
        let thread = std::thread::spawn(move || {
            while let Ok((client, _)) = accepting.accept() {
                shared.take(client);
            }
        });
        *listening = Some(Listening { listener, thread });
    }

    /// Resets all open connections.
    pub(crate) fn reset_open(&self) {
        self.shared.reset_open();
    }

    /// Applies `fault` to the next `count` requests whose line or headers contain `part`. An
    /// earlier rule goes first.
    pub(crate) fn next(&self, count: u32, part: &str, fault: Fault) {
        self.shared.state().rules.push(Rule { part: part.to_owned(), left: Some(count), fault });
    }

    /// Applies `fault` to all requests whose line or headers contain `part`, until [`Self::heal`].
    pub(crate) fn all(&self, part: &str, fault: Fault) {
        self.shared.state().rules.push(Rule { part: part.to_owned(), left: None, fault });
    }

    /// Ends all faults: requests are forwarded, and connections accepted.
    pub(crate) fn heal(&self) {
        self.shared.state().rules.clear();
        self.accept();
    }

    /// Returns how often a fault was applied to a request.
    pub(crate) fn struck(&self) -> u32 {
        self.shared.state().struck
    }

    /// Returns the request lines so far, such as `GET /page?after=3 HTTP/1.1`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.state().requests.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
        let threads = std::mem::take(&mut self.shared.state().threads);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn refuse(&self) {
        if let Some(listening) = self.listening.lock().unwrap().take() {
            // Wakes the thread. The port stays reserved.
            let _ = rustix::net::shutdown(&*listening.listener, rustix::net::Shutdown::Both);
            listening.thread.join().unwrap();
        }
        self.reset_open();
    }

    fn reset_open(&self) {
        for [client, server] in self.state().open.values() {
            reset_on_close(client);
            // Ends the threads. The client must not see an orderly close before the reset.
            let _ = client.shutdown(Shutdown::Read);
            let _ = server.shutdown(Shutdown::Both);
        }
    }

    /// Serves a connection on its own thread. Without an upstream the client is reset.
    fn take(self: &Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.upstream) else {
            reset_on_close(&client);
            return;
        };
        for stream in [&client, &server] {
            let _ = stream.set_read_timeout(Some(STUCK_AFTER));
            let _ = stream.set_write_timeout(Some(STUCK_AFTER));
            let _ = stream.set_nodelay(true);
        }
        let mut state = self.state();
        state.connections += 1;
        let id = state.connections;
        state.open.insert(id, [client.try_clone().unwrap(), server.try_clone().unwrap()]);
        let shared = Arc::clone(self);
        let thread = std::thread::spawn(move || {
            let _ = match shared.protocol {
                Protocol::Http => shared.serve(&client, &server),
                Protocol::Postgres => postgres::serve(&shared, &client, &server),
                Protocol::Any => pipe(&client, &server),
            };
            // The last copies of both ends: what closes them decides how the client sees it.
            shared.state().open.remove(&id);
        });
        state.threads.retain(|thread| !thread.is_finished());
        state.threads.push(thread);
    }

    /// Forwards one request after another.
    fn serve(&self, client: &TcpStream, server: &TcpStream) -> Result<()> {
        let (mut from_client, mut from_server) = (BufReader::new(client), BufReader::new(server));
        loop {
            let Some(head) = Head::read(&mut from_client)? else { return Ok(()) };
            let line = head.first_line().to_owned();
            let fault = self.fault_for(&head);
            let mut connection = Exchange { client, server, from_client: &mut from_client, head: &head };
            match &fault {
                Some(Fault::Answer(status, headers)) => {
                    connection.skip_request()?;
                    connection.answer(*status, headers)?;
                    continue;
                }
                Some(Fault::Repeat(part)) => {
                    connection.skip_request()?;
                    let (mut client, answer) = (client, self.remembered(part));
                    client.write_all(&answer)?;
                    continue;
                }
                Some(Fault::ResetRequestAfter(bytes)) => {
                    let _ = connection.forward_request(*bytes, None);
                    reset_on_close(client);
                    return Err(ErrorKind::ConnectionReset.into());
                }
                Some(Fault::Refuse) => {
                    self.refuse();
                    return Err(ErrorKind::ConnectionReset.into());
                }
                _ => {
                    let pace = fault.as_ref().and_then(Fault::request_pace);
                    // A server that does not want the body answers, and reads no more of it.
                    let _ = connection.forward_request(u64::MAX, pace);
                }
            }
            let answer = relay(&mut from_server, client, &head, fault.as_ref())?;
            self.remember(line, answer);
        }
    }

    /// Notes the request, and returns the fault to apply to it.
    fn fault_for(&self, head: &Head) -> Option<Fault> {
        self.state().requests.push(head.first_line().to_owned());
        self.strike(&head.text)
    }

    /// Returns the fault to apply to what this text describes.
    fn strike(&self, text: &str) -> Option<Fault> {
        let mut state = self.state();
        let rule = state.rules.iter_mut().find(|rule| text.contains(&rule.part) && rule.left != Some(0));
        let rule = rule?;
        rule.left = rule.left.map(|left| left - 1);
        let fault = rule.fault.clone();
        state.struck += 1;
        Some(fault)
    }

    fn remember(&self, line: String, answer: Vec<u8>) {
        let mut state = self.state();
        if answer.len() < REMEMBERED_BYTES {
            state.answers.push_back((line, answer));
        }
        if state.answers.len() > REMEMBERED {
            state.answers.pop_front();
        }
    }

    /// Returns the last response to a request whose line contains `part`.
    fn remembered(&self, part: &str) -> Vec<u8> {
        let state = self.state();
        let found = state.answers.iter().rev().find(|(line, _)| line.contains(part));
        found.map_or_else(|| panic!("no response to `{part}` was remembered"), |(_, answer)| answer.clone())
    }
}

/// One request, and where it comes from and goes to.
struct Exchange<'a, 'b> {
    client: &'a TcpStream,
    server: &'a TcpStream,
    from_client: &'b mut BufReader<&'a TcpStream>,
    head: &'b Head,
}

impl Exchange<'_, '_> {
    /// Forwards the request with at most `most` bytes of its body, which it sends at this pace.
    fn forward_request(&mut self, most: u64, pace: Option<(usize, Duration)>) -> Result<()> {
        let mut server = self.server;
        server.write_all(self.head.text.as_bytes())?;
        self.agree_to_body()?;
        copy_body(self.from_client, &mut Slow { inner: server, pace }, self.head.body(false), most)
    }

    fn skip_request(&mut self) -> Result<()> {
        self.agree_to_body()?;
        copy_body(self.from_client, &mut std::io::sink(), self.head.body(false), u64::MAX)
    }

    /// A client that asks whether it may send its body is told at once that it may.
    fn agree_to_body(&self) -> Result<()> {
        let mut client = self.client;
        match self.head.value("expect") {
            Some(_) => client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n"),
            None => Ok(()),
        }
    }

    fn answer(&self, status: u16, headers: &[String]) -> Result<()> {
        let mut client = self.client;
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        client.write_all(format!("HTTP/1.1 {status} Fault\r\n{headers}Content-Length: 0\r\n\r\n").as_bytes())
    }
}

/// Sends the response to the client, with the fault applied. Returns what was sent.
fn relay(
    from_server: &mut BufReader<&TcpStream>,
    mut client: &TcpStream,
    request: &Head,
    fault: Option<&Fault>,
) -> Result<Vec<u8>> {
    let response = loop {
        let head = Head::read(from_server)?.ok_or(ErrorKind::UnexpectedEof)?;
        // The client was told already that it may continue.
        if head.status() != Some(100) {
            break head;
        }
    };
    let body = response.body(request.text.starts_with("HEAD ")).or_until_close(&response);
    if matches!(fault, Some(Fault::LoseAnswer)) {
        copy_body(from_server, &mut std::io::sink(), body, u64::MAX)?;
        reset_on_close(client);
        return Err(ErrorKind::ConnectionReset.into());
    }
    if let Some(Fault::Late(pause)) = fault {
        std::thread::sleep(*pause);
    }
    client.write_all(response.text.as_bytes())?;
    let mut sent = Recording {
        inner: Slow { inner: client, pace: fault.and_then(Fault::pace) },
        sent: response.text.into_bytes(),
    };
    let most = match fault {
        Some(Fault::ResetAfter(most) | Fault::TruncateAfter(most)) => *most,
        _ => u64::MAX,
    };
    copy_body(from_server, &mut sent, body, most)?;
    if most < u64::MAX || body == Body::UntilClose {
        if matches!(fault, Some(Fault::ResetAfter(_))) {
            reset_on_close(client);
        }
        return Err(ErrorKind::ConnectionAborted.into());
    }
    Ok(sent.sent)
}

impl Fault {
    fn pace(&self) -> Option<(usize, Duration)> {
        match self {
            Self::Slow(bytes, pause) => Some((*bytes, *pause)),
            _ => None,
        }
    }

    fn request_pace(&self) -> Option<(usize, Duration)> {
        match self {
            Self::SlowRequest(bytes, pause) => Some((*bytes, *pause)),
            _ => None,
        }
    }
}

/// Writes in pieces with pauses, if a pace is given.
struct Slow<'a> {
    inner: &'a TcpStream,
    pace: Option<(usize, Duration)>,
}

impl Write for Slow<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some((piece, pause)) = self.pace else { return self.inner.write(bytes) };
        std::thread::sleep(pause);
        self.inner.write(&bytes[..bytes.len().min(piece)])
    }

    fn flush(&mut self) -> Result<()> {
        self.inner.flush()
    }
}

/// Keeps the start of what is written.
struct Recording<'a> {
    inner: Slow<'a>,
    sent: Vec<u8>,
}

impl Write for Recording<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let written = self.inner.write(bytes)?;
        if self.sent.len() < REMEMBERED_BYTES {
            self.sent.extend_from_slice(&bytes[..written]);
        }
        Ok(written)
    }

    fn flush(&mut self) -> Result<()> {
        self.inner.flush()
    }
}

/// Forwards bytes both ways until both sides have closed.
fn pipe(client: &TcpStream, server: &TcpStream) -> Result<()> {
    std::thread::scope(|scope| {
        let one_way = |mut from: &TcpStream, mut to: &TcpStream| {
            let done = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
            done.map(|_| ())
        };
        let back = scope.spawn(move || one_way(server, client));
        one_way(client, server)?;
        back.join().unwrap()
    })
}

/// Makes the end of the connection a reset, and not an orderly close.
fn reset_on_close(stream: &TcpStream) {
    let _ = sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

/// Returns a socket on the port, which does not listen. As long as it is there, nobody else gets
/// the port, and connections are refused.
fn reserve(address: SocketAddr) -> OwnedFd {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).unwrap();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    socket
}
