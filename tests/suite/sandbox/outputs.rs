//! Outputs of commands in `/out`: at any offset of a file, within the limit of output, and with the
//! reason if they cannot be written.

use std::sync::atomic::Ordering::SeqCst;

use anacostia::base::Digest;
use anacostia::model::Outcome;
use anacostia::sandbox::AttemptOrder;

use super::command::{run, run_with, staged, texts};
use super::{Bench, failure};

#[tokio::test]
async fn files_are_written_at_any_offset_and_read_back() {
    let bench = Bench::new();
    let (report, said) = run(
        &bench,
        &[
            "archive|/out/out/a.zip|content",
            "patch|/out/out/a.zip|10|CON",
            "cat|/out/out/a.zip",
            "write|/out/out/b.txt|0123456789",
            "truncate|/out/out/b.txt|4",
            "append|/out/out/b.txt|x",
            "truncate|/out/out/b.txt|7",
            "patch|/out/out/b.txt|9|end",
            "stat|/out/out/b.txt",
            "part|/out/out/b.txt|9|100",
            "part|/out/out/b.txt|900|100",
            "write|/out/out/c.txt|unchanged",
            "cat|/out/out/c.txt",
        ],
    )
    .await;
    assert_eq!(
        said,
        [
            "archive: ok",
            "archive: size=0007;content",
            "patch: ok",
            "size=0007;CONtentcat: ok",
            "write: ok",
            "truncate: ok",
            "append: ok",
            "truncate: ok",
            "patch: ok",
            "stat: 12 bytes, with a time",
            "part: end",
            "part: ",
            "write: ok",
            "unchangedcat: ok",
        ]
    );
    assert_eq!(report.outcome, Outcome::Done(None));
    let files = [("a.zip", "size=0007;CONtent"), ("b.txt", "0123x\0\0\0\0end"), ("c.txt", "unchanged")];
    assert_eq!(staged(&bench, &report), texts(&files));
    assert!(
        report.staged.iter().all(|file| file.digest == Digest::of(&bench.out.staged.lock().unwrap()[&file.staged]))
    );
}

#[tokio::test]
async fn the_output_limit_counts_file_sizes_and_not_bytes_written() {
    let bench = Bench::new();
    let limit = |order: &mut AttemptOrder| order.limits.output_bytes = 1_000;
    // Overwritten, truncated and removed: never more than 1,000 bytes at once.
    let steps = [
        "churn|/out/out/a.bin|50|1000",
        "truncate|/out/out/a.bin|0",
        "fill|/out/out/b.bin|1000|100",
        "unlink|/out/out/b.bin",
        "fill|/out/out/a.bin|1000|100",
        "fill|/out/out/a.bin|500|100",
        "fill|/out/out/b.bin|500|100",
    ];
    let (report, said) = run_with(&bench, &steps, limit).await;
    assert_eq!(said, ["churn: ok", "truncate: ok", "fill: ok", "unlink: ok", "fill: ok", "fill: ok", "fill: ok"]);
    assert_eq!(report.outcome, Outcome::Done(None));
    assert_eq!(report.usage.bytes_written, 50_000 + 1_000 + 1_000 + 500 + 500);
    // Every way to take more than that.
    for step in [
        "churn|/out/out/a.bin|1|1001",
        "patch|/out/out/a.bin|1000|x",
        "patch|/out/out/a.bin|9223372036854775806|x",
        "truncate|/out/out/a.bin|1001",
        "truncate|/out/out/a.bin|9223372036854775807",
        "huge|/out/out/a.bin|18446744073709551615",
        "append|/out/out/b.bin|x",
    ] {
        let (report, said) = run_with(&bench, &["fill|/out/out/a.bin|1000|100", step], limit).await;
        assert!(said[1..].iter().any(|line| line.ends_with(": ENOSPC")), "{step}: {said:?}");
        let error = failure(&report);
        assert_eq!(error.code, "output_limit", "{step}: {error:?}");
        assert!(
            error.message.starts_with("`/out/out/")
                && error.message.contains(".bin` is not complete: the limit of 1000 B of output"),
            "{error:?}"
        );
        assert!(report.staged.is_empty() && bench.out.staged.lock().unwrap().is_empty());
    }
    // A refused file does not prevent a program from succeeding without it.
    let steps = ["fill|/out/out/a.bin|2000|100", "unlink|/out/out/a.bin", "write|/out/out/b.txt|x"];
    let (report, _) = run_with(&bench, &steps, limit).await;
    assert_eq!(staged(&bench, &report), texts(&[("b.txt", "x")]));
}

#[tokio::test]
async fn a_full_disk_is_a_retryable_error_that_names_the_cause() {
    let bench = Bench::new();
    bench.out.full_at.store(100, SeqCst);
    let full = "out failed to write `a.bin`: the disk is full: make room on it";
    // Whether the program checks its errors or not.
    let ends = [
        (vec!["fill|/out/out/a.bin|1000|10"], format!("`/out/out/a.bin` is not complete: {full}")),
        (
            vec!["fill|/out/out/a.bin|1000|10", "err|write error: No space left on device", "exit|1"],
            format!(
                "it exited with code 1. Its last output:\n    write error: No space left on device\n\
                 The host had refused a call: {full}"
            ),
        ),
    ];
    for (steps, message) in ends {
        let (report, said) = run(&bench, &steps).await;
        assert_eq!(said[0], "fill: ENOSPC");
        let error = failure(&report);
        assert_eq!((error.code.as_str(), error.retryable, &error.message), ("disk-full", true, &message));
        assert!(report.staged.is_empty() && bench.out.staged.lock().unwrap().is_empty());
    }
    let (report, _) = run(&bench, &["fill|/out/out/a.bin|1000|10", "abort"]).await;
    let error = failure(&report);
    assert!((error.code.as_str(), error.retryable) == ("trap", true) && error.message.ends_with(full), "{error:?}");
}

#[tokio::test]
async fn the_error_of_a_failed_program_includes_what_the_host_refused() {
    let bench = Bench::new();
    let (report, _) = run(&bench, &["write|/out/other/x.txt|x", "err|can't open file", "exit|1"]).await;
    let error = failure(&report);
    assert_eq!((error.code.as_str(), error.retryable), ("exit_code", false));
    assert_eq!(
        error.message,
        "it exited with code 1. Its last output:\n    can't open file\nThe host had refused a call: `train` may not write to \
         `other`; to grant it, write in anacostia.toml:\n[actions.train]\nwrites = [\"out\", \"other\"]"
    );
    // However much the program writes, the host's advice is not cut.
    let long = format!("err|{}", "x".repeat(390));
    let steps: Vec<&str> =
        std::iter::once("write|/out/other/x.txt|x").chain(vec![long.as_str(); 9]).chain(["exit|1"]).collect();
    let (report, _) = run(&bench, &steps).await;
    let message = &failure(&report).message;
    assert!(message.len() <= 4096 && message.ends_with("writes = [\"out\", \"other\"]"), "{message}");
}
