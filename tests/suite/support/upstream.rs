//! A server on loopback to which guests send requests: plain or over TLS, well-behaved or not,
//! depending on the path. It records what it receives.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::tls::certificate;

/// A server that runs until the test ends.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The headers of requests, as received.
    heads: Mutex<Vec<String>>,
    /// The number of bytes in request bodies.
    bytes: AtomicUsize,
    /// The number of open connections.
    open: AtomicUsize,
    accepted: AtomicUsize,
}

impl Upstream {
    /// Starts a server for plain HTTP.
    pub(crate) fn plain() -> Self {
        Self::start(None)
    }

    /// Starts a server with a certificate for `name`. Returns it with that certificate as PEM, for
    /// clients to trust.
    pub(crate) fn tls(name: &str) -> (Self, String) {
        let (config, certificate) = certificate(name);
        (Self::start(Some(config)), certificate)
    }

    fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let seen = Arc::clone(&upstream.seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, tls) = (Arc::clone(&seen), tls.clone());
                seen.accepted.fetch_add(1, SeqCst);
                seen.open.fetch_add(1, SeqCst);
                std::thread::spawn(move || {
                    // So that no thread outlives a test that has failed.
                    let _ = stream.set_read_timeout(Some(Duration::from_mins(2)));
                    let _ = match tls {
                        None => serve(stream, &seen),
                        Some(tls) => serve(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), &seen),
                    };
                    seen.open.fetch_sub(1, SeqCst);
                });
            }
        });
        upstream
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the headers of requests so far, in lower case.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }

    /// Returns the number of bytes in bodies, without the chunk headers.
    pub(crate) fn bytes(&self) -> usize {
        self.seen.bytes.load(SeqCst)
    }

    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(SeqCst)
    }

    /// Returns the number of all connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.seen.accepted.load(SeqCst)
    }
}

fn serve(stream: impl Read + Write, seen: &Seen) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    let mut length = 0;
    let mut chunked = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        chunked |= line.starts_with("transfer-encoding: chunked");
        let last = line.trim().is_empty();
        head.push_str(&line);
        if last {
            break;
        }
    }
    seen.heads.lock().unwrap().push(head.clone());
    let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
    if path == "/deaf" {
        return wait_for_close(&mut stream);
    }
    take_body(&mut stream, if chunked { None } else { Some(length) }, seen)?;
    answer(&mut stream, &path, &head)?;
    wait_for_close(&mut stream)
}

/// Reads a body of a known length, or in chunks, and counts its bytes. Chunk headers do not count.
fn take_body(stream: &mut BufReader<impl Read + Write>, length: Option<u64>, seen: &Seen) -> std::io::Result<()> {
    if let Some(length) = length {
        return take_bytes(stream, length, seen);
    }
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let chunk = u64::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
        take_bytes(stream, chunk, seen)?;
        stream.read_line(&mut line)?;
        if chunk == 0 {
            return Ok(());
        }
    }
}

/// Reads and counts `left` bytes of a body.
fn take_bytes(stream: &mut impl Read, mut left: u64, seen: &Seen) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    while left > 0 {
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = stream.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        left -= read as u64;
        seen.bytes.fetch_add(read, SeqCst);
    }
    Ok(())
}

fn answer(stream: &mut BufReader<impl Read + Write>, path: &str, head: &str) -> std::io::Result<()> {
    let stream = stream.get_mut();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let sent = head.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or("none").to_owned();
    let text = match path {
        "/redirect" => format!("HTTP/1.1 302 Found\r\nlocation: {query}\r\ncontent-length: 0\r\n\r\n"),
        "/reflect" => format!("HTTP/1.1 200 OK\r\nx-sent: {sent}\r\ncontent-length: 2\r\n\r\nok"),
        "/announced" => format!("HTTP/1.1 200 OK\r\ncontent-length: {query}\r\n\r\n"),
        "/stalls" => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegun".to_owned(),
        "/cut" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegun")?;
            stream.flush()?;
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        "/silent" => String::new(),
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            loop {
                stream.write_all(format!("10000\r\n{}\r\n", "x".repeat(0x10000)).as_bytes())?;
            }
        }
        "/headers" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            for number in 0..1_000_000 {
                stream.write_all(format!("x-{number}: {}\r\n", "y".repeat(100)).as_bytes())?;
            }
            String::new()
        }
        "/not-http" => "220 ready\r\n\r\n".to_owned(),
        _ => {
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\nhello from {path}", "hello from ".len() + path.len())
        }
    };
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

/// Keeps the connection open until the other side closes it.
fn wait_for_close(stream: &mut BufReader<impl Read + Write>) -> std::io::Result<()> {
    std::io::copy(stream, &mut std::io::sink()).map(|_| ())
}

/// Returns a port on loopback on which nothing listens.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
