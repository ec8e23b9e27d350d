//! An HTTP server that receives notifications, and answers as a test wants.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the receiver does with a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// It answers with this status.
    Status(u16),
    /// It never answers.
    Hang,
}

/// A request as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    /// Headers, with names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// A server that runs until the test ends.
#[derive(Clone)]
pub(crate) struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    received: Mutex<Vec<Received>>,
    answers: Mutex<VecDeque<Answer>>,
    /// It answers 500 to bodies with this text in them.
    refused: Mutex<Option<String>>,
}

impl Receiver {
    /// Starts a receiver that gives these answers, and 204 from then on.
    pub(crate) fn start(answers: &[Answer]) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").unwrap(), answers)
    }

    /// The same with a listener that is bound already.
    pub(crate) fn listen(listener: TcpListener, answers: &[Answer]) -> Self {
        let state = Arc::new(State { answers: Mutex::new(answers.iter().copied().collect()), ..State::default() });
        let receiver = Self { address: listener.local_addr().unwrap(), state: Arc::clone(&state) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || {
                    // So that no thread outlives a test that has failed.
                    let _ = stream.set_read_timeout(Some(Duration::from_mins(2)));
                    let _ = serve(&stream, &state);
                });
            }
        });
        receiver
    }

    /// Answers 500 from now on to bodies with this text in them, and to no others if it is `None`.
    pub(crate) fn refuse(&self, text: Option<&str>) {
        *self.state.refused.lock().unwrap() = text.map(str::to_owned);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Returns the requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }
}

fn serve(mut stream: &TcpStream, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let body = String::from_utf8(body).unwrap();
        let refused = state.refused.lock().unwrap().as_ref().is_some_and(|text| body.contains(text));
        let usual = Answer::Status(if refused { 500 } else { 204 });
        let answer = state.answers.lock().unwrap().pop_front().unwrap_or(usual);
        state.received.lock().unwrap().push(Received { path, headers, body });
        match answer {
            Answer::Status(status) => write!(stream, "HTTP/1.1 {status} As told\r\ncontent-length: 0\r\n\r\n")?,
            // Until the client goes away.
            Answer::Hang => drop(reader.read(&mut [0])?),
        }
    }
}
