//! Values that are too high, and rows that come too late for them.

use std::fmt::Write as _;
use std::fs;

use super::{KEYS, Lab};
use crate::support::wait::wait_until;

#[test]
fn rows_below_a_value_that_is_too_high_are_warned_of_and_shown() {
    for mut lab in Lab::both(&format!("{KEYS}\noverlap = \"0s\"")) {
        lab.add([1, 2, 2_000_000]);
        lab.app.start();
        lab.wait_for_exactly([1, 2, 2_000_000]);
        wait_until("the first look to end", || lab.app.get("/api/v1/nodes/readings")["state"] == "watching");
        assert!(lab.app.get("/api/v1/nodes/readings")["resource"]["waiting"].is_null());
        lab.add([12]);
        let waiting = lab.wait_for_waiting();
        assert_eq!(waiting["path"], "rows up to 12", "{waiting}");
        let reason = "not delivered: they appeared more than `overlap` after `id` had reached 2000000. If 2000000 is \
                      wrong, correct it in the database; otherwise lengthen `overlap`. To deliver all rows, rename \
                      the resource";
        assert_eq!(waiting["reason"], reason);
        let warning = format!("rows of readings with `id` up to 12 are {reason}");
        wait_until("the warning", || lab.app.said().contains(&warning));
        // Greater values are delivered.
        lab.add([2_000_001]);
        lab.wait_for_exactly([1, 2, 2_000_000, 2_000_001]);
    }
}

/// The clock of a client may be wrong by years. The server knows the time.
#[test]
fn times_that_are_still_to_come_hold_up_no_row() {
    for (kind, wrong) in [
        ("timestamptz", "'2099-01-01'"),
        ("timestamptz", "'infinity'"),
        ("timestamp", "'2099-01-01'"),
        ("date", "'2099-01-01'"),
    ] {
        let mut lab = Lab::postgres(&KEYS.replace("\"id\"", "\"at\"").replace("50ms", "20ms\"\noverlap = \"0s"));
        lab.execute(&format!("create table readings (id int, at {kind} default now())"));
        lab.execute(&format!("insert into readings values (1, default), (2, {wrong})"));
        lab.app.start();
        lab.wait_for_exactly([1, 2]);
        lab.execute("insert into readings values (3, default)");
        lab.wait_for_exactly([1, 2, 3]);
        lab.app.restart();
        lab.execute("insert into readings values (4, default)");
        lab.wait_for_exactly([1, 2, 3, 4]);
        assert!(lab.app.get("/api/v1/nodes/readings")["resource"]["waiting"].is_null(), "{kind}");
    }
}

/// A batch is read as a whole at the start, with rows that no look reads any more.
#[test]
fn batches_of_earlier_hosts_with_more_rows_than_the_host_can_tell_apart_hold_up_no_row() {
    let mut lab = Lab::sqlite(KEYS);
    lab.execute(super::TABLE);
    lab.add(1..=10);
    lab.app.start();
    lab.wait_for_exactly(1..=10);
    lab.app.kill();
    let batch = lab.app.path("state/resources/readings/recent/000000000001.jsonl");
    let mut lines = fs::read_to_string(&batch).unwrap();
    for id in 1..=250_000 {
        writeln!(lines, "{{\"id\":-{id},\"value\":null}}").unwrap();
    }
    // Not in place, because the file is also the content of an artifact.
    fs::remove_file(&batch).unwrap();
    fs::write(&batch, lines).unwrap();
    lab.app.start();
    lab.add(11..=11);
    lab.wait_for_exactly(1..=11);
    assert!(lab.app.get("/api/v1/nodes/readings")["resource"]["waiting"].is_null());
}
