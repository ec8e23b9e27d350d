//! Python in an action: what it can import while it runs. Also tests the scripts that build guests
//! on machines without a suitable Python: what they use instead, and what they report if nothing is
//! available.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::app::TestApp;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The tools with which the scripts fetch Debian's Python.
const DEBIAN: [&str; 2] = ["apt-get", "dpkg-deb"];

/// The functions of `tests/guests/late_python`, and their results. All of them import while the
/// action runs.
const LATE: [(&str, &str); 11] = [
    ("encodings", "97 codecs"),
    ("datetime", "dates"),
    ("zoneinfo", "'No time zone found with key Nowhere/Atall'"),
    ("decimal", "decimals"),
    ("csv", "rows"),
    ("json", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    ("statistics", "statistics"),
    ("zipfile", "archives"),
    ("sqlite3", "a database in memory"),
    (
        "everything", // that is absent
        "ensurepip, fcntl, grp, idlelib, mmap, msvcrt, nt, pwd, pydoc_data, readline, resource, syslog, termios, tkinter, turtle, \
         turtledemo, winreg, winsound",
    ),
    ("packages", "packages"),
];

/// Functions that import missing modules, and the beginning of the attempt's error.
const ABSENT: [(&str, &str); 2] = [
    ("no_ssl", "ModuleNotFoundError: No module named '_ssl' (it is not part of this interpreter)\n  at "),
    (
        "no_package",
        "ModuleNotFoundError: No module named 'numpy' (it is neither in the folder of app.py nor named in \
         requirements.txt)\n  at app.py:",
    ),
];

#[test]
fn python_imports_lazily_and_explains_missing_modules() {
    let mut manifest = String::from(
        "manifest_version = 1\n[pipeline]\nname = \"late\"\n\
         [resources.raw]\nkind = \"folder\"\npath = \"raw\"\nwatch = true\n",
    );
    for (name, _) in LATE.iter().chain(&ABSENT) {
        manifest.push_str(&format!(
            "[actions.{name}]\ncomponent = \"late_python.wasm\"\nafter = [\"raw\"]\nreads = [\"raw\"]\nparams = {{ do = \"{name}\" }}\n"
        ));
    }
    let mut app = TestApp::new(&manifest).with_guest("late_python");
    app.drop_file("raw/a", b"");
    // It compiles the component, which takes longer than a test waits for a host.
    app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    app.start();

    let run = app.get("/api/v1/runs/1");
    let actions = run["actions"].as_array().unwrap();
    let of = |name: &str| actions.iter().find(|action| action["name"] == name).unwrap();
    for (name, result) in LATE {
        let action = of(name);
        assert_eq!((&action["state"], &action["reason"]), (&json!("succeeded"), &json!(result)), "{action:#}");
        let attempt = &action["attempts"][0];
        assert_eq!(attempt["denials"], json!([]), "importing does not access files: {attempt:#}");
    }
    for (name, begins) in ABSENT {
        let error: &Value = &of(name)["attempts"][0]["error"];
        assert_eq!(error["code"], "failed", "{error:#}");
        assert!(error["message"].as_str().unwrap().starts_with(begins), "{error:#}");
    }
}

/// The sizes in the headers of these files are written last, over what was there before.
#[test]
fn a_python_program_writes_archives_and_sounds_and_reads_them_back() {
    let manifest = r#"
manifest_version = 1
[pipeline]
name = "files"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[resources.out]
kind = "folder"
path = "out"
[actions.write]
component = "python_program.wasm"
after = ["raw"]
reads = ["raw"]
writes = ["out"]
[actions.check]
component = "python_program.wasm"
after = ["write"]
reads = ["out"]
"#;
    let mut app = TestApp::new(manifest).with_guest("python_program");
    app.drop_file("raw/spam.txt", b"spam");
    app.drop_file("raw/eggs.txt", b"eggs");
    // It compiles the component, which takes longer than a test waits for a host.
    app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    app.start();
    let run = app.get("/api/v1/runs/1");
    assert_eq!(run["state"], "succeeded", "{run:#}");
    for (action, line) in [("write", "read /out/out"), ("check", "read /in/out")] {
        let log = app.get_all(&format!("/api/v1/runs/1/logs?action={action}"));
        assert!(log.iter().any(|entry| entry["text"] == line), "{log:#?}");
    }
    let sound = fs::read(app.path("out/a.wav")).unwrap();
    let size = |at: usize| u32::from_le_bytes(sound[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!((&sound[..4], &sound[8..16]), (&b"RIFF"[..], &b"WAVEfmt "[..]));
    assert_eq!((size(4), size(40)), (sound.len() - 8, sound.len() - 44));
    let archive = fs::read(app.path("out/a.zip")).unwrap();
    assert_eq!((&archive[..4], &archive[archive.len() - 22..][..4]), (&b"PK\x03\x04"[..], &b"PK\x05\x06"[..]));
}

/// Creates a folder with all programs in `PATH`, except for any Python and the `missing` ones.
fn programs_without(missing: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for program in std::env::split_paths(&path).filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten() {
        let name = program.file_name().into_string().unwrap();
        if !name.starts_with("python") && !missing.contains(&name.as_str()) {
            // Of several programs with the same name, the first in `PATH` counts.
            let _ = symlink(program.path(), folder.path().join(name));
        }
    }
    folder
}

/// Puts a Python that is too old into a folder of programs.
fn add_old_python(programs: &Path) {
    let script =
        r#"printf '#!/bin/sh\n[ "$1" != --version ] || echo Python 3.9.2\nexit 1\n' >python3 && chmod +x python3"#;
    // Written by another process: if another test forks at the same time, its child might keep the
    // file open for writing.
    assert!(Command::new("sh").args(["-c", script]).current_dir(programs).status().unwrap().success());
}

/// Calls a script of the checkout with only these programs in `PATH`.
fn call(script: &str, argument: &str, programs: &Path, cache: &Path) -> Output {
    Command::new(Path::new(ROOT).join(script))
        .arg(argument)
        .env("PATH", programs)
        .env("XDG_CACHE_HOME", cache)
        .output()
        .unwrap()
}

/// What an earlier run of this test fetched can be used, if the same scripts fetched it.
fn cache_of_these_scripts() -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-python");
    let fetched_by = cache.join("guest-common.sh");
    let now = fs::read(Path::new(ROOT).join("scripts/guest-common.sh")).unwrap();
    if fs::read(&fetched_by).ok().as_ref() != Some(&now) {
        let _ = fs::remove_dir_all(&cache);
        fs::create_dir_all(&cache).unwrap();
        fs::write(fetched_by, now).unwrap();
    }
    cache
}

#[test]
fn debians_python_builds_a_guest_if_the_default_one_is_too_old() {
    let programs = programs_without(&[]);
    if DEBIAN.iter().any(|program| !programs.path().join(program).exists()) {
        assert!(std::env::var_os("CI").is_none(), "this is not Debian, whose packages this test needs");
        eprintln!("NOT RUN: Debian's Python is fetched with {}, which are not here", DEBIAN.join(" and "));
        return;
    }
    add_old_python(programs.path());
    let cache = cache_of_these_scripts();
    let wasm = cache.join("metric.wasm");

    let built = call("guest-examples/python/metric/build.sh", wasm.to_str().unwrap(), programs.path(), &cache);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    assert_eq!(fs::read(&wasm).unwrap()[..8], *b"\0asm\x0d\0\x01\0", "a component");

    let asked = cache.join("where.py");
    fs::write(&asked, "import sys, sysconfig; print(sys.prefix, sysconfig.get_config_var('WHEEL_PKG_DIR'), sep='\\n')")
        .unwrap();
    let answer = call("scripts/python", asked.to_str().unwrap(), programs.path(), &cache);
    let places = String::from_utf8(answer.stdout).unwrap();
    assert_eq!(places.lines().count(), 2, "Python itself and its pip: {places}");
    assert!(places.lines().all(|place| place.starts_with(cache.to_str().unwrap())), "{places}");
}

#[test]
fn without_python_and_debian_scripts_name_what_to_install() {
    let programs = programs_without(&DEBIAN);
    let cache = tempfile::tempdir().unwrap();
    let said = || {
        let wasm = cache.path().join("metric.wasm");
        let output =
            call("guest-examples/python/metric/build.sh", wasm.to_str().unwrap(), programs.path(), cache.path());
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let help = "install Python 3.10 or newer from https://www.python.org or with your system's packages";
    assert_eq!(said(), format!("build-python-guest: python3 is not in PATH: {help}\n"));

    add_old_python(programs.path());
    let old = programs.path().join("python3");
    assert_eq!(said(), format!("build-python-guest: {} is Python 3.9.2, which is too old: {help}\n", old.display()));
}
