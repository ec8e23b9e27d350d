//! `wasi:logging` and `wasi:config`, according to their WASI drafts.

use anacostia::model::{LogLevel, Outcome};
use serde_json::json;

use super::{Bench, guests, lines};

const WORLD: &str = r"
package test:drafts;
world both {
    include anacostia:pipeline/guest@0.1.0;
    import wasi:logging/logging@0.1.0-draft;
    import wasi:config/store@0.2.0-rc.1;
}
package wasi:logging@0.1.0-draft {
    interface logging {
        enum level { trace, debug, info, warn, error, critical }
        log: func(level: level, context: string, message: string);
    }
}
package wasi:config@0.2.0-rc.1 {
    interface store {
        variant error { upstream(string), io(string) }
        get: func(key: string) -> result<option<string>, error>;
        get-all: func() -> result<list<tuple<string, string>>, error>;
    }
}";

/// Logs each param that it requests by name, then all of them. Results of `get` are stored at 100:
/// the result, at 104 whether there is a value, at 108 the text.
const MODULE: &str = r#"(module
    (import "wasi:logging/logging@0.1.0-draft" "log" (func $log (param i32 i32 i32 i32 i32)))
    (import "wasi:config/store@0.2.0-rc.1" "get" (func $get (param i32 i32 i32)))
    (import "wasi:config/store@0.2.0-rc.1" "get-all" (func $all (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "city")
    (data (i32.const 8) "rate")
    (data (i32.const 16) "none")
    (data (i32.const 24) "a context")
    (global $next (mut i32) (i32.const 1024))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
        (global.set $next (i32.add (local.get $at) (local.get 3)))
        (local.get $at))
    (func $tell (param $level i32) (param $key i32)
        (call $get (local.get $key) (i32.const 4) (i32.const 100))
        (if (i32.and (i32.eqz (i32.load8_u (i32.const 100))) (i32.load8_u (i32.const 104)))
            (then (call $log (local.get $level) (i32.const 24) (i32.const 9) (i32.load (i32.const 108)) (i32.load (i32.const 112))))
            (else (call $log (local.get $level) (i32.const 0) (i32.const 0) (local.get $key) (i32.const 4)))))
    (func (export "anacostia:pipeline/action@0.1.0#run") (result i32)
        (local $entry i32)
        (call $tell (i32.const 0) (i32.const 0))
        (call $tell (i32.const 3) (i32.const 8))
        (call $tell (i32.const 5) (i32.const 16))
        (call $all (i32.const 100))
        (local.set $entry (i32.load (i32.const 104)))
        (loop $each
            (call $log (i32.const 2) (i32.load (local.get $entry)) (i32.load offset=4 (local.get $entry))
                (i32.load offset=8 (local.get $entry)) (i32.load offset=12 (local.get $entry)))
            (local.set $entry (i32.add (local.get $entry) (i32.const 16)))
            (i32.store (i32.const 108) (i32.sub (i32.load (i32.const 108)) (i32.const 1)))
            (br_if $each (i32.load (i32.const 108))))
        i32.const 512))"#;

#[tokio::test]
async fn wasi_logging_goes_to_the_log_and_wasi_config_has_the_params() {
    let bench = Bench::new();
    let guest = bench.load(&guests::in_world(MODULE, Some((WORLD, "both")))).await;
    let order = bench.order(guest, &json!({ "city": "Köln", "rate": 0.5, "list": [1, "x"] }));
    let report = bench.run(order.clone()).await;
    assert_eq!(report.outcome, Outcome::Done(None));
    let said: Vec<_> = lines(&bench, &order).into_iter().map(|line| (line.level, line.text, line.fields)).collect();
    let context = |name: &str| vec![("context".to_owned(), name.to_owned())];
    let line = |level, text: &str, fields| (level, text.to_owned(), fields);
    assert_eq!(
        said,
        [
            line(LogLevel::Debug, "Köln", context("a context")),
            line(LogLevel::Warn, "0.5", context("a context")),
            line(LogLevel::Error, "none", Vec::new()),
            line(LogLevel::Info, "Köln", context("city")),
            line(LogLevel::Info, "[1,\"x\"]", context("list")),
            line(LogLevel::Info, "0.5", context("rate")),
        ]
    );
}
