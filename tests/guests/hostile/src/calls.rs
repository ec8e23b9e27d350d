//! Single calls: first the call that is refused, then the same call as it is granted. So the
//! refusal is due to the grant, and not to an invalid call.

use anacostia_guest::metadata;
use anacostia_guest::resources::{self, CreateOptions, Filter};
use anacostia_guest::{Error, Result};
use serde::Deserialize;
use wasip2::{cli, filesystem, random, sockets};

use crate::checks::Seen;

const CREATE: CreateOptions = CreateOptions { overwrite: false };
const OVERWRITE: CreateOptions = CreateOptions { overwrite: true };
const EVERYTHING: Filter = Filter { prefix: None, after: None, limit: None };

/// The call, and the names that are its arguments: `from` is granted for reading, `to` for writing,
/// `other` for neither; `known` is a path in `from`, `taken` one in `to`, `artifact` the id of an
/// artifact in `other`.
#[derive(Deserialize)]
pub struct Call {
    call: String,
    from: String,
    to: String,
    other: String,
    known: String,
    taken: String,
    artifact: String,
}

/// Makes one of the calls.
pub fn make(call: &Call) -> Result<String> {
    let mut seen = Seen::default();
    match call.call.as_str() {
        "inputs" => inputs(call, &mut seen),
        "list" => list(call, &mut seen),
        "open" => open(call, &mut seen),
        "open_path" => open_path(call, &mut seen),
        "create" => create(call, &mut seen),
        "write_to_input" => write_to_input(call, &mut seen),
        "read_from_output" => read_from_output(call, &mut seen),
        "tag" => tag(call, &mut seen),
        "overwrite" => overwrite(call, &mut seen),
        "guess_ids" => guess_ids(call, &mut seen),
        "names_like_paths" => names_like_paths(call, &mut seen),
        "staging" => staging(call, &mut seen),
        "environment" => environment(&mut seen),
        "arguments" => arguments(&mut seen),
        "files" => files(&mut seen),
        "standard_input" => standard_input(&mut seen),
        "tcp" => tcp(&mut seen),
        "udp" => udp(&mut seen),
        "name_lookup" => name_lookup(&mut seen),
        "random" => random_bytes(&mut seen),
        path if path.starts_with("path_") => bad_path(call, &mut seen),
        other => Err(Error::permanent(format!("there is no call {other}"))),
    }?;
    Ok(seen.text())
}

fn inputs(call: &Call, seen: &mut Seen) -> Result<()> {
    seen.refused("inputs, not granted", "denied", resources::inputs(&call.other))?;
    let all = seen.allowed("inputs, granted", resources::inputs(&call.from))?;
    seen.refused("inputs-page, not granted", "denied", resources::inputs_page(&call.other, None, None))?;
    seen.refused("inputs-page after what is no input", "not-found", resources::inputs_page(&call.from, Some(&call.artifact), None))?;
    seen.refused("inputs-page after what is no id", "invalid", resources::inputs_page(&call.from, Some("../x"), None))?;
    let page = seen.allowed("inputs-page, granted", resources::inputs_page(&call.from, None, Some(u32::MAX)))?;
    seen.holds("a page has what the list has", page.iter().map(|a| &a.id).eq(all.iter().map(|a| &a.id)))
}

fn list(call: &Call, seen: &mut Seen) -> Result<()> {
    seen.refused("list, not granted", "denied", resources::list(&call.other, &EVERYTHING))?;
    let all = seen.allowed("list, granted", resources::list(&call.from, &EVERYTHING))?;
    seen.holds("nothing of another resource is in it", all.iter().all(|artifact| artifact.resource == call.from))
}

fn open(call: &Call, seen: &mut Seen) -> Result<()> {
    seen.refused("open by id, not granted", "denied", resources::open(&call.artifact))?;
    let inputs = seen.allowed("inputs", resources::inputs(&call.from))?;
    let input = inputs.first().ok_or_else(|| Error::permanent("an input is needed"))?;
    seen.allowed("open by id, granted", resources::open(&input.id)).map(drop)
}

fn open_path(call: &Call, seen: &mut Seen) -> Result<()> {
    seen.refused("open-path, not granted", "denied", resources::open_path(&call.other, &call.known))?;
    seen.allowed("open-path, granted", resources::open_path(&call.from, &call.known)).map(drop)
}

fn create(call: &Call, seen: &mut Seen) -> Result<()> {
    seen.refused("create, not granted", "denied", resources::create(&call.other, "a.txt", CREATE))?;
    write(call, seen, "create, granted", "a.txt")
}

fn write_to_input(call: &Call, seen: &mut Seen) -> Result<()> {
    seen.refused("create beside an input", "denied", resources::create(&call.from, "new.txt", CREATE))?;
    seen.refused("replace an input", "denied", resources::create(&call.from, &call.known, OVERWRITE))?;
    write(call, seen, "create in an output", "new.txt")
}

fn read_from_output(call: &Call, seen: &mut Seen) -> Result<()> {
    seen.refused("list an output", "denied", resources::list(&call.to, &EVERYTHING))?;
    seen.refused("inputs of an output", "denied", resources::inputs(&call.to))?;
    seen.refused("open-path in an output", "denied", resources::open_path(&call.to, &call.taken))?;
    seen.allowed("open-path in an input", resources::open_path(&call.from, &call.known)).map(drop)
}

fn tag(call: &Call, seen: &mut Seen) -> Result<()> {
    seen.refused("tag, not granted", "denied", metadata::tag_artifact(&call.artifact, "best", true))?;
    let inputs = seen.allowed("inputs", resources::inputs(&call.from))?;
    let input = inputs.first().ok_or_else(|| Error::permanent("an input is needed"))?;
    seen.allowed("tag, granted", metadata::tag_artifact(&input.id, "best", true))
}

fn overwrite(call: &Call, seen: &mut Seen) -> Result<()> {
    seen.refused("create what exists", "already-exists", resources::create(&call.to, &call.taken, CREATE))?;
    let writer = seen.allowed("the same with overwrite", resources::create(&call.to, &call.taken, OVERWRITE))?;
    seen.refused("once more", "already-exists", resources::create(&call.to, &call.taken, OVERWRITE))?;
    seen.allowed("write", writer.write(b"new"))?;
    seen.allowed("finish", writer.finish()).map(drop)
}

fn guess_ids(call: &Call, seen: &mut Seen) -> Result<()> {
    for id in ["00000000-0000-7000-8000-000000000000", "ffffffff-ffff-7fff-bfff-ffffffffffff"] {
        seen.refused("open a guess", "not-found", resources::open(id))?;
        seen.refused("tag a guess", "not-found", metadata::tag_artifact(id, "t", false))?;
    }
    for id in ["", "0", "' or 1=1 --", "../a.txt", "\0", &"f".repeat(1 << 20)] {
        seen.refused("open what is no id", "invalid", resources::open(id))?;
    }
    open_granted(call, seen)
}

fn names_like_paths(call: &Call, seen: &mut Seen) -> Result<()> {
    let by_path = format!("{}/../{}", call.to, call.other);
    for name in ["", ".", "..", "../state", "/", "state", "metadata", &by_path, "a\0b", &"n".repeat(1 << 20)] {
        seen.refused("inputs of no resource", "not-found", resources::inputs(name))?;
        seen.refused("list of no resource", "not-found", resources::list(name, &EVERYTHING))?;
        seen.refused("open-path in no resource", "not-found", resources::open_path(name, "a.txt"))?;
        seen.refused("create in no resource", "not-found", resources::create(name, "a.txt", CREATE))?;
    }
    open_granted(call, seen)
}

/// `known` is the path of a file that another attempt has staged.
fn staging(call: &Call, seen: &mut Seen) -> Result<()> {
    for path in [call.known.as_str(), ".anacostia/staging", ".anacostia"] {
        seen.refused("read what is staged", "not-found|invalid", resources::open_path(&call.from, path))?;
        seen.refused("write what is staged", "invalid|already-exists", resources::create(&call.to, path, OVERWRITE))?;
    }
    write(call, seen, "create beside it", "beside.txt")
}

fn bad_path(call: &Call, seen: &mut Seen) -> Result<()> {
    let paths: &[&str] = match call.call.as_str() {
        "path_parent" => &["..", "../x", "a/../../x", "a/..", "a/b/../../../x", "../../../../../../etc/passwd"],
        "path_absolute" => &["/", "/etc/passwd", "//a", "/../a", "\\\\host\\share\0"],
        "path_nul" => &["a\0b", "\0", "..\0/x", "a/\0/b", "a.txt\0.csv"],
        "path_control" => &["a\nb", "a\rb", "\u{1b}[2J", "\u{7f}", "\u{85}", "a\tb"],
        "path_form" => &["", ".", "./a", "a/./b", "a//b", "a/", "a/."],
        "path_own" => &[".anacostia/x", ".anacostia", ".anacostia/staging/x"],
        "path_long" => &[],
        other => return Err(Error::permanent(format!("there are no paths {other}"))),
    };
    let long = [String::new() + &"p".repeat(256), "long/".repeat(300) + "x", "é".repeat(128), "a".repeat(8 << 20)];
    let long: Vec<&str> = if paths.is_empty() { long.iter().map(String::as_str).collect() } else { Vec::new() };
    for path in paths.iter().chain(&long) {
        let shown: String = path.escape_debug().take(20).collect();
        seen.refused(&format!("create {shown}"), "invalid", resources::create(&call.to, path, OVERWRITE))?;
        seen.refused(&format!("open-path {shown}"), "invalid|not-found", resources::open_path(&call.from, path))?;
    }
    let good = if long.is_empty() { "..a/b.. c/...".to_owned() } else { "q".repeat(255) };
    write(call, seen, "create what only looks like it", &good)?;
    open_granted(call, seen)
}

fn open_granted(call: &Call, seen: &mut Seen) -> Result<()> {
    seen.allowed("open-path, granted", resources::open_path(&call.from, &call.known)).map(drop)
}

fn write(call: &Call, seen: &mut Seen, what: &str, path: &str) -> Result<()> {
    let writer = seen.allowed(what, resources::create(&call.to, path, CREATE))?;
    seen.allowed("write", writer.write(b"granted"))?;
    seen.allowed("finish", writer.finish()).map(drop)
}

/// The environment has only what the manifest grants: `GRANTED`.
fn environment(seen: &mut Seen) -> Result<()> {
    let all = cli::environment::get_environment();
    for name in ["PATH", "HOME", "USER", "ANACOSTIA_TEST_SECRET", "CARGO_MANIFEST_DIR"] {
        seen.denied(&format!("the host's {name}"), all.iter().all(|(known, _)| known != name))?;
    }
    seen.holds("what is granted is there, and nothing else", all == [("GRANTED".to_owned(), "yes".to_owned())])
}

fn arguments(seen: &mut Seen) -> Result<()> {
    seen.denied("the host's arguments", cli::environment::get_arguments().is_empty())?;
    seen.denied("the host's working folder", cli::environment::initial_cwd().is_none())?;
    seen.holds("params are there", anacostia_guest::run_context::params().contains("arguments"))
}

fn files(seen: &mut Seen) -> Result<()> {
    seen.denied("a folder of the host", filesystem::preopens::get_directories().is_empty())?;
    seen.denied("a file of the host", std::fs::File::open("/etc/passwd").is_err())?;
    seen.denied("a new file", std::fs::write("x", "x").is_err())?;
    seen.holds("what needs no file goes on", format!("{:?}", Some(1)) == "Some(1)")
}

fn standard_input(seen: &mut Seen) -> Result<()> {
    let input = cli::stdin::get_stdin();
    seen.denied("a byte of the host's standard input", input.blocking_read(u64::MAX).is_err())?;
    let output = cli::stdout::get_stdout();
    seen.holds("standard output is the log", output.blocking_write_and_flush(b"said\n").is_ok())
}

fn tcp(seen: &mut Seen) -> Result<()> {
    use sockets::network::{ErrorCode, IpAddressFamily};
    for family in [IpAddressFamily::Ipv4, IpAddressFamily::Ipv6] {
        let socket = sockets::tcp_create_socket::create_tcp_socket(family);
        seen.denied("a TCP socket", matches!(socket, Err(ErrorCode::AccessDenied)))?;
    }
    seen.allowed("a metric", one_metric())
}

fn udp(seen: &mut Seen) -> Result<()> {
    use sockets::network::{ErrorCode, IpAddressFamily};
    for family in [IpAddressFamily::Ipv4, IpAddressFamily::Ipv6] {
        let socket = sockets::udp_create_socket::create_udp_socket(family);
        seen.denied("a UDP socket", matches!(socket, Err(ErrorCode::AccessDenied)))?;
    }
    seen.allowed("a metric", one_metric())
}

fn name_lookup(seen: &mut Seen) -> Result<()> {
    let network = sockets::instance_network::instance_network();
    for name in ["localhost", "example.com", "169.254.169.254", &"n".repeat(1 << 20)] {
        let found = sockets::ip_name_lookup::resolve_addresses(&network, name);
        seen.denied("a name lookup", found.is_err())?;
    }
    seen.allowed("a metric", one_metric())
}

fn random_bytes(seen: &mut Seen) -> Result<()> {
    seen.holds("two draws differ", random::random::get_random_bytes(32) != random::random::get_random_bytes(32))?;
    seen.holds("a mebibyte is there", random::random::get_random_bytes(1 << 20).len() == 1 << 20)
}

fn one_metric() -> Result<()> {
    metadata::log_metrics(&[metadata::Metric { name: "still-here".to_owned(), value: 1.0, step: None }])
}
