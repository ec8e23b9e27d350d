//! `anacostia component inspect`: its exact output for components, and for files that are not
//! components.

use std::fs;
use std::path::Path;

use crate::support::app::anacostia;
use crate::support::guests::guest;

/// Returns the exit code, standard output and standard error.
fn inspect(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = anacostia().args(["component", "inspect"]).args(args).current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn inspect_shows_world_language_and_needed_grants() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(guest("hooked"), folder.path().join("train.wasm")).unwrap();
    let (code, out, error) = inspect(folder.path(), &["train.wasm"]);
    assert_eq!(code, Some(0), "{error}");
    let line = |heading: &str| {
        let line = out.lines().find(|line| line.starts_with(heading)).unwrap_or_else(|| panic!("{heading}: {out}"));
        line.trim_start_matches(heading).trim().to_owned()
    };
    assert_eq!((line("kind"), line("language")), ("Anacostia action with hooks".to_owned(), "Rust".to_owned()));
    assert!(line("tool").starts_with("rustc 1."), "{out}");
    assert!(out.contains("anacostia:pipeline/resources@0.1.0  needs `reads` or `writes`"), "{out}");
    assert!(
        out.ends_with(
            "For the manifest\n[actions.train]\ncomponent = \"train.wasm\"\nreads = [\"raw\"]     # or writes = [\"raw\"]\n"
        ),
        "{out}"
    );
    let (_, json, _) = inspect(folder.path(), &["train.wasm", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["kind"], &json["language"], &json["action"]),
        (&"action_with_hooks".into(), &"Rust".into(), &true.into())
    );
    let (code, wit, error) = inspect(folder.path(), &["train.wasm", "--wit"]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(wit.starts_with("package root:component;\n\nworld root {\n  import "), "{wit}");
    for line in ["  export anacostia:pipeline/hooks@0.1.0;\n", "package anacostia:pipeline@0.1.0 {\n"] {
        assert!(wit.contains(line), "{line} is not in\n{wit}");
    }
    assert_eq!(json["wit"], wit);
    assert_eq!(json["component"]["size"], fs::metadata(folder.path().join("train.wasm")).unwrap().len());
}

#[test]
fn inspect_explains_why_a_file_is_not_a_component() {
    let folder = tempfile::tempdir().unwrap();
    let module = wat::parse_str("(module)").unwrap();
    let mut cut = wat::parse_str("(component (core module (func (export \"f\"))))").unwrap();
    cut.truncate(cut.len() - 4);
    let mut wrong = wat::parse_str("(component)").unwrap();
    wrong.extend([99, 0]);
    let files: [(&str, &[u8], &str); 9] = [
        ("empty.wasm", b"", "is empty; build it again"),
        (
            "module.wasm",
            &module,
            "is a core WebAssembly module, not a component; build for a target that makes components (Rust: `--target wasm32-wasip2`), or wrap it: `wasm-tools component new`",
        ),
        ("cut.wasm", &cut, "is cut off: the part at byte 37 goes on beyond its end; build it again, or copy it again"),
        (
            "header.wasm",
            b"\0asm",
            "is cut off: the part at byte 4 goes on beyond its end; build it again, or copy it again",
        ),
        ("wrong.wasm", &wrong, "is a broken component: a section of the unknown kind 99, at byte 10; build it again"),
        (
            "text.wat",
            b"(component)",
            "is WebAssembly text, not a component; make it binary: `wasm-tools parse FILE -o FILE.wasm`",
        ),
        (
            "code.cwasm",
            b"\x7fELF\x02",
            "is native code, not a component; name the component (.wasm) itself: compiled code is cached by anacostia, and never loaded from elsewhere",
        ),
        ("notes.txt", b"hello", "is not a WebAssembly component"),
        (
            "lfs.wasm",
            b"version https://git-lfs.github.com/spec/v1\n",
            "is a Git LFS pointer, not the component itself; fetch it: `git lfs pull`",
        ),
    ];
    for (name, bytes, message) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
        let (code, out, error) = inspect(folder.path(), &[name]);
        assert_eq!((code, out.as_str(), error), (Some(2), "", format!("error: {name} {message}\n")));
    }
    fs::create_dir(folder.path().join("folder")).unwrap();
    let told = |name: &str| inspect(folder.path(), &[name]).2;
    assert_eq!(told("folder"), "error: folder is a folder, not a file; name the component (.wasm) in it\n");
    assert_eq!(told("absent.wasm"), "error: absent.wasm is not there\n");
    assert_eq!(told("/dev/null"), "error: /dev/null is not a regular file\n");
}
