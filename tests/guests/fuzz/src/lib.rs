//! A guest that decodes the first input of `raw` as a sequence of host calls with their arguments.
//! Any bytes can be decoded. The guest ignores the results of the calls; the fuzz target checks the
//! state of the host.

mod bytes;

use anacostia_guest::metadata::{self, Entry, Metric};
use anacostia_guest::resources::{self, CreateOptions, Filter, Reader, Writer};
use anacostia_guest::{Error, Outcome, Result, read_all, run_context};
use wasip2::io::poll::Pollable;
use wasip2::{cli, clocks, filesystem, io, random, sockets};

use bytes::Bytes;

anacostia_guest::action!(run);

/// The maximum number of calls in one sequence.
const MAX_CALLS: u64 = 20_000;

fn run() -> Result<Outcome> {
    let inputs = resources::inputs("raw")?;
    let input = inputs.first().ok_or_else(|| Error::permanent("an input is needed"))?;
    let data = read_all(&resources::open(&input.id)?)?;
    let mut state = State { bytes: Bytes::new(&data), ids: vec![input.id.clone()], ..State::new(&data) };
    let mut calls = 0;
    while !state.bytes.is_empty() && calls < MAX_CALLS {
        state.call();
        calls += 1;
    }
    Ok(Outcome::Done(Some(calls.to_string())))
}

/// The state that the calls use.
struct State<'a> {
    bytes: Bytes<'a>,
    ids: Vec<String>,
    readers: Vec<Reader>,
    writers: Vec<Writer>,
    pollables: Vec<Pollable>,
}

impl<'a> State<'a> {
    fn new(data: &'a [u8]) -> Self {
        let bytes = Bytes::new(data);
        Self { bytes, ids: Vec::new(), readers: Vec::new(), writers: Vec::new(), pollables: Vec::new() }
    }

    /// Returns a text for an argument.
    fn text(&mut self) -> String {
        let known = |ids: &[String], at: usize| ids.get(at % ids.len().max(1)).cloned().unwrap_or_default();
        match self.bytes.byte() % 10 {
            0 => "raw".to_owned(),
            1 => "out".to_owned(),
            2 => "other".to_owned(),
            3 => "a.txt".to_owned(),
            4 | 5 => known(&self.ids, self.bytes.byte().into()),
            6 => self.bytes.text().repeat(usize::from(self.bytes.byte()) << 8),
            7 => format!("{}/{}", self.bytes.text(), self.bytes.text()),
            _ => self.bytes.text(),
        }
    }

    fn call(&mut self) {
        match self.bytes.byte() % 32 {
            0 => drop(resources::inputs(&self.text())),
            1 => self.list(),
            2 => self.open(),
            3 => self.open_path(),
            4 | 5 => self.create(),
            6 | 7 => self.read(),
            8 | 9 => self.write(),
            10 => self.finish(),
            11 => drop(pick(&mut self.readers, self.bytes.byte())),
            12 => drop(pick(&mut self.writers, self.bytes.byte())),
            13 => self.metrics(),
            14 => drop(metadata::log_params(&self.entries())),
            15 => drop(metadata::set_tags(&self.entries())),
            16 => drop(metadata::tag_artifact(&self.text(), &self.text(), self.bytes.byte() % 2 == 0)),
            17 => drop(metadata::latest_metric(&self.text())),
            18 => drop(metadata::metrics(&self.text(), self.bytes.number() as u32)),
            19 => drop(metadata::runs(self.bytes.number() as u32)),
            20 => self.log(),
            21 => run_context::progress(f64::from_bits(self.bytes.number()), &self.text()),
            22 => drop((run_context::info(), run_context::params(), run_context::cancelled())),
            _ => self.wasi(),
        }
    }

    fn list(&mut self) {
        let name = self.text();
        let maybe = |state: &mut Self| (state.bytes.byte() % 2 == 0).then(|| state.text());
        let (prefix, after) = (maybe(self), maybe(self));
        let limit = (self.bytes.byte() % 2 == 0).then(|| self.bytes.number() as u32);
        if let Ok(found) = resources::list(&name, &Filter { prefix, after, limit }) {
            self.ids.extend(found.into_iter().take(10).map(|artifact| artifact.id));
        }
    }

    fn open(&mut self) {
        let id = self.text();
        self.readers.extend(resources::open(&id).ok());
    }

    fn open_path(&mut self) {
        let (name, path) = (self.text(), self.text());
        self.readers.extend(resources::open_path(&name, &path).ok());
    }

    fn create(&mut self) {
        let (name, path) = (self.text(), self.text());
        let options = CreateOptions { overwrite: self.bytes.byte() % 2 == 0 };
        self.writers.extend(resources::create(&name, &path, options).ok());
    }

    fn read(&mut self) {
        let (which, offset, length) = (self.bytes.byte(), self.bytes.number(), self.bytes.number() as u32);
        if let Some(reader) = choose(&self.readers, which) {
            drop((reader.read(offset, length), reader.artifact()));
        }
    }

    fn write(&mut self) {
        let (which, content) = (self.bytes.byte(), self.text());
        if let Some(writer) = choose(&self.writers, which) {
            drop(writer.write(content.as_bytes()));
        }
    }

    fn finish(&mut self) {
        let which = self.bytes.byte();
        if let Some(Ok(made)) = choose(&self.writers, which).map(Writer::finish) {
            self.ids.push(made.id);
        }
    }

    fn metrics(&mut self) {
        let count = self.bytes.byte() % 8;
        let metrics: Vec<Metric> = (0..count)
            .map(|_| Metric {
                name: self.text(),
                value: f64::from_bits(self.bytes.number()),
                step: (self.bytes.byte() % 2 == 0).then(|| self.bytes.number()),
            })
            .collect();
        drop(metadata::log_metrics(&metrics));
    }

    fn entries(&mut self) -> Vec<Entry> {
        let count = self.bytes.byte() % 8;
        (0..count).map(|_| Entry { name: self.text(), value: self.text() }).collect()
    }

    fn log(&mut self) {
        let (text, name, value) = (self.text(), self.text(), self.text());
        anacostia_guest::log::warn(&text, &[(&name, &value)]);
    }

    /// Calls functions of WASI. A call that violates a rule traps and ends the sequence, so these
    /// are made rarely.
    fn wasi(&mut self) {
        match self.bytes.byte() % 12 {
            0 => drop(cli::environment::get_environment()),
            1 => drop(filesystem::preopens::get_directories()),
            2 => drop(random::random::get_random_bytes(self.bytes.number() % (1 << 16))),
            3 => drop(random::insecure::get_insecure_random_bytes(self.bytes.number() % (1 << 16))),
            4 => {
                let text = self.text();
                drop(cli::stdout::get_stdout().blocking_write_and_flush(&text.as_bytes()[..text.len().min(4096)]));
            }
            5 => {
                let text = self.text();
                drop(cli::stderr::get_stderr().write(&text.as_bytes()[..text.len().min(4096)]));
            }
            6 => drop(cli::stdin::get_stdin().read(self.bytes.number())),
            7 => {
                let network = sockets::instance_network::instance_network();
                drop(sockets::ip_name_lookup::resolve_addresses(&network, &self.text()));
            }
            8 => drop(sockets::tcp_create_socket::create_tcp_socket(sockets::network::IpAddressFamily::Ipv6)),
            9 => drop(sockets::udp_create_socket::create_udp_socket(sockets::network::IpAddressFamily::Ipv4)),
            10 => self.pollables.push(clocks::monotonic_clock::subscribe_duration(self.bytes.number() % 1000)),
            _ if self.pollables.is_empty() => drop(clocks::wall_clock::now()),
            _ => {
                drop(io::poll::poll(&self.pollables.iter().collect::<Vec<_>>()));
                drop(pick(&mut self.pollables, self.bytes.byte()));
            }
        }
    }
}

fn choose<T>(all: &[T], which: u8) -> Option<&T> {
    all.get(usize::from(which) % all.len().max(1))
}

fn pick<T>(all: &mut Vec<T>, which: u8) -> Option<T> {
    let at = usize::from(which) % all.len().max(1);
    (at < all.len()).then(|| all.swap_remove(at))
}
