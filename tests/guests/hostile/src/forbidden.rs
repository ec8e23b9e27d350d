//! Guests that try what they may not do.

use anacostia_guest::metadata::{self, Entry, Metric};
use anacostia_guest::resources::{self, CreateOptions, Filter, Reader};
use anacostia_guest::{Error, Result};
use wasip2::{cli, clocks, filesystem, random, sockets};

use crate::checks::Seen;

const CREATE: CreateOptions = CreateOptions { overwrite: false };
const EVERYTHING: Filter = Filter { prefix: None, after: None, limit: None };
/// The maximum number of bytes in one call.
const MOST: u32 = 8 << 20;
const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

/// Paths that lead out of a resource, or are malformed.
fn bad_paths() -> Vec<String> {
    let mut paths: Vec<String> = [
        "",
        ".",
        "..",
        "../x",
        "a/../../x",
        "a/..",
        "./a",
        "a/./b",
        "/etc/passwd",
        "/",
        "//a",
        "a//b",
        "a/",
        "a\0b",
        "a\nb",
        "\u{7f}",
        "\u{85}",
        "..\u{0}/x",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.push("p".repeat(256));
    paths.push("long/".repeat(300) + "x");
    paths
}

/// Tries bad paths in `create` in `to` and in `open-path` in `from`; then valid ones: `known` can
/// be read.
pub fn paths(from: &str, to: &str, known: &str) -> Result<String> {
    let mut seen = Seen::default();
    for path in bad_paths() {
        let shown: String = path.escape_debug().take(20).collect();
        seen.refused(&format!("create {shown}"), "invalid|denied", resources::create(to, &path, CREATE))?;
        seen.refused(&format!("open-path {shown}"), "invalid|denied|not-found", resources::open_path(from, &path))?;
    }
    let longest = "q".repeat(255);
    let writer = seen.allowed("create with 255 bytes", resources::create(to, &longest, CREATE))?;
    seen.allowed("finish", writer.finish())?;
    seen.allowed("create ..a/b.. c", resources::create(to, "..a/b.. c", CREATE))?;
    seen.allowed("open-path known", resources::open_path(from, known))?;
    Ok(seen.text())
}

/// Uses a resource that is not granted (`other`), and ones that are granted only for the other
/// direction; then `from` and `to` as granted. `artifact` is the id of an artifact in `other`.
pub fn ungranted(from: &str, to: &str, other: &str, artifact: Option<&str>) -> Result<String> {
    let mut seen = Seen::default();
    for name in [other, "no-such-resource", "", "../state", "state"] {
        seen.refused(&format!("inputs {name}"), "denied|not-found", resources::inputs(name))?;
        seen.refused(&format!("list {name}"), "denied|not-found", resources::list(name, &EVERYTHING))?;
        seen.refused(&format!("open-path {name}"), "denied|not-found", resources::open_path(name, "a.txt"))?;
        seen.refused(&format!("create {name}"), "denied|not-found", resources::create(name, "a.txt", CREATE))?;
    }
    if let Some(id) = artifact {
        seen.refused("open another's", "denied|not-found", resources::open(id))?;
        seen.refused("tag another's", "denied|not-found", metadata::tag_artifact(id, "mine", false))?;
    }
    seen.refused("create where only reading is granted", "denied", resources::create(from, "a.txt", CREATE))?;
    seen.refused("list where only writing is granted", "denied", resources::list(to, &EVERYTHING))?;
    seen.refused("inputs where only writing is granted", "denied", resources::inputs(to))?;

    let inputs = seen.allowed("inputs", resources::inputs(from))?;
    if let Some(input) = inputs.first() {
        seen.allowed("open", resources::open(&input.id))?;
    }
    let writer = seen.allowed("create", resources::create(to, "granted.txt", CREATE))?;
    seen.allowed("write", writer.write(b"granted"))?;
    seen.allowed("finish", writer.finish())?;
    Ok(seen.text())
}

/// Makes the same denied call, `times` times: each is refused, but not each is recorded
/// individually.
pub fn denials(other: &str, times: u64) -> Result<String> {
    for _ in 0..times {
        Seen::default().refused("list", "denied", resources::list(other, &EVERYTHING))?;
    }
    Ok(format!("refused {times} times"))
}

/// Makes calls that exceed the bounds of the contract, and uses handles that are finished.
pub fn misuse(from: &str, to: &str) -> Result<String> {
    let mut seen = Seen::default();
    seen.refused("open an id of no artifact", "not-found|denied", resources::open(NOBODY))?;
    seen.refused("open what is no id", "invalid|not-found|denied", resources::open("' or 1=1 --"))?;
    seen.refused("open-path of nothing", "not-found", resources::open_path(from, "there/is/no/such.file"))?;

    let inputs = seen.allowed("inputs", resources::inputs(from))?;
    let input = inputs.first().ok_or_else(|| Error::permanent("an input is needed"))?;
    let reader = seen.allowed("open", resources::open(&input.id))?;
    huge_reads(&mut seen, &reader, input.size)?;

    let writer = seen.allowed("create", resources::create(to, "misuse.txt", CREATE))?;
    seen.refused("write of over 8 MiB", "invalid|limit", writer.write(&vec![0; MOST as usize + 1]))?;
    seen.allowed("write", writer.write(b"good"))?;
    let written = seen.allowed("finish", writer.finish())?;
    seen.holds("only what was taken counts", written.size == 4)?;
    seen.refused("write after finish", "invalid", writer.write(b"more"))?;
    seen.refused("finish after finish", "invalid", writer.finish())?;
    seen.refused("create the same path again", "already-exists", resources::create(to, "misuse.txt", CREATE))?;
    Ok(seen.text())
}

fn huge_reads(seen: &mut Seen, reader: &Reader, size: u64) -> Result<()> {
    seen.refused("read of over 8 MiB", "invalid", reader.read(0, MOST + 1))?;
    seen.refused("read of 4 GiB", "invalid", reader.read(0, u32::MAX))?;
    let beyond = seen.allowed("read far beyond the end", reader.read(u64::MAX, 16))?;
    seen.holds("there is nothing beyond the end", beyond.is_empty())?;
    let bytes = seen.allowed("read of 8 MiB", reader.read(0, MOST))?;
    seen.holds("the bytes are those of the record", bytes.len() as u64 == size.min(u64::from(MOST)))
}

/// Records facts out of their bounds.
pub fn facts() -> Result<String> {
    let mut seen = Seen::default();
    let metric = |name: &str, value| Metric { name: name.to_owned(), value, step: None };
    let entry = |name: &str, value: &str| Entry { name: name.to_owned(), value: value.to_owned() };
    let log = |name: &str, value| metadata::log_metrics(&[metric(name, value)]);
    seen.allowed("a metric that is no number", log("nan", f64::NAN))?;
    seen.allowed("an infinite metric", log("infinite", f64::INFINITY))?;
    seen.refused("a metric without a name", "invalid", log("", 1.0))?;
    seen.refused("a metric name of 201", "invalid", log(&"n".repeat(201), 1.0))?;
    let many: Vec<_> = (0..10_001).map(|_| metric("m", 1.0)).collect();
    seen.refused("10,001 metrics", "invalid|limit", metadata::log_metrics(&many))?;
    seen.allowed("10,000 metrics", metadata::log_metrics(&many[1..]))?;
    let long = "v".repeat(10_001);
    seen.refused("a param of 10,001 bytes", "invalid|limit", metadata::log_params(&[entry("long", &long)]))?;
    seen.allowed("a param of 10,000 bytes", metadata::log_params(&[entry("long", &long[1..])]))?;
    let many: Vec<_> = (0..1001).map(|n| entry(&format!("tag-{n}"), "v")).collect();
    seen.refused("1,001 tags", "invalid|limit", metadata::set_tags(&many))?;
    seen.refused("a tag without a name", "invalid", metadata::set_tags(&[entry("", "v")]))?;
    seen.allowed("a tag", metadata::set_tags(&[entry("seen", "yes")]))?;
    seen.refused("a tag on no artifact", "not-found|denied", metadata::tag_artifact(NOBODY, "t", false))?;
    Ok(seen.text())
}

/// Checks that WASI is linked, but empty; clocks and random numbers work.
pub fn wasi() -> Result<String> {
    let mut seen = Seen::default();
    seen.holds("no environment", cli::environment::get_environment().is_empty())?;
    seen.holds("no arguments", cli::environment::get_arguments().is_empty())?;
    seen.holds("no folder is open", filesystem::preopens::get_directories().is_empty())?;
    seen.holds("no TCP", connects_nowhere())?;
    seen.holds("no names are looked up", resolves_nothing())?;
    let before = clocks::monotonic_clock::now();
    seen.holds("the clock goes on", clocks::monotonic_clock::now() >= before)?;
    seen.holds("it is after 2020", clocks::wall_clock::now().seconds > 1_577_836_800)?;
    seen.holds("random numbers differ", random::random::get_random_u64() != random::random::get_random_u64())?;
    Ok(seen.text())
}

/// Returns whether a connection to port 80 of this machine is refused for lack of permission, and
/// not because nothing listens.
fn connects_nowhere() -> bool {
    use sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};

    let address = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 80, address: (127, 0, 0, 1) });
    let Ok(socket) = sockets::tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4) else { return true };
    let network = sockets::instance_network::instance_network();
    if let Err(error) = socket.start_connect(&network, address) {
        return error == ErrorCode::AccessDenied;
    }
    socket.subscribe().block();
    matches!(socket.finish_connect(), Err(ErrorCode::AccessDenied))
}

fn resolves_nothing() -> bool {
    let network = sockets::instance_network::instance_network();
    let Ok(stream) = sockets::ip_name_lookup::resolve_addresses(&network, "localhost") else { return true };
    stream.subscribe().block();
    stream.resolve_next_address().is_err()
}
