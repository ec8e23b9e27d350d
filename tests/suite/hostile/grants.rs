//! Access that is not granted: resources, paths out of them, environment, files, sockets.

use serde_json::{Value, json};

use super::{Case, check_cases};
use crate::sandbox::{Bench, done};

fn call(bench: &Bench, call: &str) -> Value {
    json!({
        "mode": "call", "call": call, "from": "raw", "to": "out", "other": "other",
        "known": "a.txt", "taken": "taken.txt", "artifact": bench.store.others[1].id,
    })
}

pub(super) fn cases(bench: &Bench) -> Vec<Case> {
    let case = |name: &str, of: &str, words: &'static str| Case::refused(name, call(bench, of), words);
    vec![
        case("inputs of a resource that is not granted", "inputs", "inputs, not granted: denied"),
        case("a list of a resource that is not granted", "list", "list, not granted: denied"),
        case("an artifact by the id that someone has told", "open", "open by id, not granted: denied"),
        case("a path in a resource that is not granted", "open_path", "open-path, not granted: denied"),
        case("a new artifact in a resource that is not granted", "create", "create, not granted: denied"),
        case("writing to an input resource", "write_to_input", "replace an input: denied"),
        case("reading from an output resource", "read_from_output", "open-path in an output: denied"),
        case("a tag on another's artifact", "tag", "tag, not granted: denied"),
        case("an artifact that exists, without `overwrite`", "overwrite", "create what exists: already-exists"),
        case("ids that are guessed, or none", "guess_ids", "open a guess: not-found"),
        case("names of resources that are paths", "names_like_paths", "create in no resource: not-found"),
        case("paths with `..`", "path_parent", "create ../x: invalid"),
        case("absolute paths", "path_absolute", "create /etc/passwd: invalid"),
        case("paths with NUL", "path_nul", "invalid"),
        case("paths with control characters", "path_control", "invalid"),
        case("paths in no normal form", "path_form", "create a//b: invalid"),
        case("very long paths", "path_long", "invalid"),
        case("the host's environment", "environment", "the host's PATH: denied"),
        case("the host's arguments", "arguments", "the host's arguments: denied"),
        case("the host's files", "files", "a file of the host: denied"),
        case("the host's standard input", "standard_input", "standard input: denied"),
        case("TCP", "tcp", "a TCP socket: denied"),
        case("UDP", "udp", "a UDP socket: denied"),
        case("a name lookup", "name_lookup", "a name lookup: denied"),
    ]
}

#[tokio::test]
async fn ungranted_calls_are_refused_and_granted_calls_succeed() {
    let bench = Bench::new();
    check_cases(&bench, cases(&bench)).await;
}

#[tokio::test]
async fn every_denial_is_recorded_with_the_lines_that_would_grant_it() {
    let bench = Bench::new();
    for (of, recorded, lines) in [
        ("list", "resources.list", "reads = [\"raw\", \"other\"]"),
        ("create", "resources.create", "writes = [\"out\", \"other\"]"),
        ("tcp", "wasi:sockets/tcp-create-socket", ""),
        ("udp", "wasi:sockets/udp-create-socket", ""),
        ("name_lookup", "wasi:sockets/ip-name-lookup", ""),
    ] {
        let report = bench.hostile(call(&bench, of), |_| ()).await;
        done(&report);
        assert_eq!(report.denials[0].call, recorded);
        assert!(report.denials[0].message.contains(lines), "{:?}", report.denials[0]);
        assert!(report.denials.iter().all(|denial| denial.target.len() <= 200), "{of}");
    }
}
