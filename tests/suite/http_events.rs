//! The event stream.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anacostia::base::RunId;
use anacostia::http::{MAX_EVENT_CLIENTS, Patience};

use crate::http_support::Server;

/// A client of the stream.
struct Client {
    lines: BufReader<TcpStream>,
    /// Bytes that were read but not parsed yet.
    rest: Vec<u8>,
    status: u16,
}

/// The fields of one message.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    event: String,
    id: String,
    data: String,
}

impl Client {
    fn open(server: &Server, query: &str, last: Option<&str>) -> Self {
        let mut stream = server.connect();
        let last = last.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        write!(stream, "GET /api/v1/events{query} HTTP/1.1\r\nHost: {}\r\n{last}\r\n", server.address).unwrap();
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        while line != "\r\n" {
            line.clear();
            lines.read_line(&mut line).unwrap();
        }
        Self { lines, rest: Vec::new(), status }
    }

    /// Returns the next line of the stream, without chunk headers; `None` at its end.
    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            let mut size = String::new();
            self.lines.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            if size == 0 {
                return None;
            }
            let mut chunk = vec![0; size + 2];
            self.lines.read_exact(&mut chunk).unwrap();
            self.rest.extend(&chunk[..size]);
        }
    }

    /// Returns the next `count` messages with an id, including the greeting.
    fn messages(&mut self, count: usize) -> Vec<Message> {
        let (mut found, mut message) = (Vec::new(), Message::default());
        while found.len() < count {
            let line = self.line().expect("the stream ended early");
            match line.split_once(": ") {
                Some(("id", value)) => message.id = value.to_owned(),
                Some(("event", value)) => message.event = value.to_owned(),
                Some(("data", value)) => message.data = value.to_owned(),
                _ if line.is_empty() && !message.id.is_empty() => found.push(std::mem::take(&mut message)),
                _ => {}
            }
        }
        found
    }

    /// Asserts that the next message is a reset, and returns its reason.
    fn reset(&mut self) -> String {
        let message = self.messages(1).remove(0);
        assert_eq!(message.event, "reset");
        let data: serde_json::Value = serde_json::from_str(&message.data).unwrap();
        data["reason"].as_str().unwrap().to_owned()
    }
}

fn ids(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.id.as_str()).collect()
}

#[test]
fn a_new_client_gets_only_new_events() {
    let server = Server::start();
    server.store.add_event(3, None);
    let mut client = Client::open(&server, "", None);
    // The current position, so that a client can resume from it before any event.
    assert_eq!(client.messages(1), [Message { id: "3-1".into(), ..Message::default() }]);
    server.store.add_event(3, None);
    let message = client.messages(1).remove(0);
    assert_eq!((message.id.as_str(), message.event.as_str()), ("3-2", ""));
    let data: serde_json::Value = serde_json::from_str(&message.data).unwrap();
    assert_eq!((&data["seq"], &data["type"], &data["epoch"]), (&2.into(), &"run_state".into(), &3.into()));
    assert_eq!(data["data"]["note"], "line\nbreak");
}

#[test]
fn a_reconnecting_client_gets_each_event_once() {
    let server = Server::start();
    for _ in 0..1_000 {
        server.store.add_event(3, None);
    }
    let mut client = Client::open(&server, "", Some("3-400"));
    client.messages(1);
    server.store.add_event(3, None);
    let wanted: Vec<String> = (401..=1_001).map(|seq| format!("3-{seq}")).collect();
    let got = client.messages(wanted.len());
    assert_eq!(ids(&got), wanted);
}

#[test]
fn after_starts_at_any_retained_event() {
    let server = Server::start();
    for _ in 0..3 {
        server.store.add_event(3, None);
    }
    let mut client = Client::open(&server, "?after=0", None);
    client.messages(1);
    assert_eq!(ids(&client.messages(3)), ["3-1", "3-2", "3-3"]);
    server.get("/api/v1/events?after=soon").problem(400, "bad-parameter");
}

#[test]
fn a_client_that_wants_the_newest_events_gets_the_last_of_those_that_wait() {
    let server = Server::start();
    for _ in 0..1_000 {
        server.store.add_event(3, None);
    }
    let mut client = Client::open(&server, "?after=990&newest=true", None);
    assert_eq!(ids(&client.messages(2)), ["3-990", "3-1000"]);
    for seq in 1_001..=1_003 {
        server.store.add_event(3, None);
        assert_eq!(ids(&client.messages(1)), [format!("3-{seq}")], "none is lost when they come one by one");
    }
    server.get("/api/v1/events?newest=perhaps").problem(400, "bad-parameter");
}

#[test]
fn events_that_follow_each_other_closely_are_one_message_for_a_client_that_wants_the_newest() {
    let server = Server::start();
    let mut client = Client::open(&server, "?newest=true", None);
    client.messages(1);
    let began = Instant::now();
    for _ in 0..100 {
        server.store.add_event(3, None);
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut messages = 0;
    while client.messages(1).pop().unwrap().id != "3-100" {
        messages += 1;
    }
    // A slow machine takes longer for the same events, and so may send more messages.
    let most = began.elapsed().as_millis() / 10;
    assert!(messages <= most, "{messages} messages in {:?}", began.elapsed());
}

#[test]
fn pruned_future_and_foreign_event_ids_are_answered_with_a_reset() {
    let server = Server::start();
    for _ in 0..10 {
        server.store.add_event(3, None);
    }
    server.store.forget_before(5);
    assert!(Client::open(&server, "", Some("3-2")).reset().contains("no longer kept"));
    assert!(Client::open(&server, "?after=0", None).reset().contains("before 5"));
    assert!(Client::open(&server, "", Some("3-11")).reset().contains("no event 11 yet"));
    assert!(Client::open(&server, "", Some("2-7")).reset().contains("epoch 2 was lost"));
    assert!(Client::open(&server, "", Some("gibberish")).reset().contains("not from this stream"));
    // Afterwards the stream continues with new events.
    let mut client = Client::open(&server, "", Some("2-7"));
    client.reset();
    server.store.add_event(3, None);
    assert_eq!(ids(&client.messages(1)), ["3-11"]);
}

#[test]
fn a_client_overtaken_by_retention_gets_a_reset() {
    let server = Server::start();
    server.store.add_event(3, None);
    let mut client = Client::open(&server, "", None);
    client.messages(1);
    // Both happen before the client wakes.
    {
        let mut events = server.store.events.lock().unwrap();
        let template = events[0].clone();
        events.clear();
        events.push(anacostia::model::Event { seq: 9, ..template });
    }
    server.store.newest.send_replace(9);
    assert!(client.reset().contains("dropped"));
}

#[test]
fn events_can_be_filtered_by_run() {
    let server = Server::start();
    let run = RunId::new();
    let mut client = Client::open(&server, &format!("?run={run}"), None);
    client.messages(1);
    server.store.add_event(3, Some(RunId::new()));
    server.store.add_event(3, Some(run));
    server.store.add_event(3, None);
    server.store.add_event(3, Some(run));
    assert_eq!(ids(&client.messages(2)), ["3-2", "3-4"]);
}

#[test]
fn clients_are_limited_and_slots_are_released() {
    raise_open_files();
    let server = Server::start();
    let mut clients: Vec<Client> = (0..MAX_EVENT_CLIENTS).map(|_| Client::open(&server, "", None)).collect();
    assert!(clients.iter().all(|client| client.status == 200));
    assert_eq!(Client::open(&server, "", None).status, 503);
    drop(clients.pop());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while Client::open(&server, "", None).status != 200 {
        assert!(std::time::Instant::now() < deadline, "the slot of a disconnected client was not released");
        std::thread::yield_now();
    }
}

#[test]
fn a_client_that_reads_nothing_does_not_block_others() {
    let server = Server::start();
    let _stuck = Client::open(&server, "", None);
    let mut other = Client::open(&server, "", None);
    other.messages(1);
    for _ in 0..20_000 {
        server.store.add_event(3, None);
    }
    assert_eq!(other.messages(20_000).last().unwrap().id, "3-20000");
}

#[test]
fn a_thousand_clients_cost_the_store_no_more_than_one() {
    raise_open_files();
    let (server, events) = (Server::start(), 300);
    let mut stuck = Client::open(&server, "", None);
    let mut clients: Vec<Client> = (0..1_000).map(|_| Client::open(&server, "", None)).collect();
    assert!(clients.iter().all(|client| client.status == 200));
    for _ in 0..events {
        server.store.add_event(3, None);
    }
    let wanted: Vec<String> =
        std::iter::once("0".to_owned()).chain((1..=events).map(|seq| format!("3-{seq}"))).collect();
    for client in &mut clients {
        assert_eq!(ids(&client.messages(wanted.len())), wanted);
    }
    let reads = server.store.event_reads.load(std::sync::atomic::Ordering::SeqCst);
    assert!(reads <= events, "events were read {reads} times");
    // Requests are answered as before, and whoever has not read yet has missed nothing.
    assert_eq!(server.get("/api/v1/runs").status, 200);
    assert_eq!(ids(&stuck.messages(wanted.len())), wanted);
}

#[test]
fn a_stream_without_messages_shows_that_it_is_still_there() {
    let server = Server::patient(Patience { heartbeat: Duration::from_millis(50), ..Patience::default() });
    let mut client = Client::open(&server, "", None);
    client.messages(1);
    for _ in 0..3 {
        assert_eq!([client.line(), client.line()], [": still here", ""].map(|line| Some(line.to_owned())));
    }
    // Between two of them events come as always.
    server.store.add_event(3, None);
    assert_eq!(ids(&client.messages(1)), ["3-1"]);
}

/// Many systems let a process have 1,024 open files at first. Here both ends are in one process.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

#[test]
fn streams_end_when_the_server_stops() {
    let mut server = Server::start();
    let mut client = Client::open(&server, "", None);
    client.messages(1);
    server.stop.cancel();
    assert_eq!(client.line(), None);
    server.ended();
}
