//! New rows are found, each once.

use std::fs;

use super::{Data, KEYS, Lab};
use crate::support::wait::wait_until;

#[test]
fn rows_that_are_there_and_rows_that_come_are_delivered_once_and_in_order() {
    for mut lab in Lab::both(KEYS) {
        lab.add(1..=3);
        lab.app.start();
        lab.wait_for_exactly(1..=3);
        lab.add(4..=4);
        lab.wait_for_exactly(1..=4);
        lab.add([10, 7]);
        lab.wait_for_exactly([1, 2, 3, 4, 7, 10]);
        let artifacts = lab.app.get_all("/api/v1/artifacts?resource=readings");
        let mut paths: Vec<&str> = artifacts.iter().map(|it| it["path"].as_str().unwrap()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["000000000001_1..3.jsonl", "000000000002_4..4.jsonl", "000000000003_7..10.jsonl"]);
        let lines = lab.lines();
        assert_eq!(lines[4], serde_json::json!({"id": 7, "value": "value 7"}));
        let content = format!("/api/v1/artifacts/{}/content", artifacts[0]["id"].as_str().unwrap());
        assert_eq!(lab.app.try_get(&content).unwrap().0, 200, "what was delivered can be read again");
    }
}

#[test]
fn a_batch_has_at_most_max_rows_and_equal_values_may_lie_on_both_sides_of_its_end() {
    let keys = "table = \"readings\"\nhigh_water = \"value\"\ninterval = \"50ms\"\nmax_rows = 3\ntrigger = { max_artifacts = 1 }";
    for mut lab in Lab::both(keys) {
        let values = (1..=10).map(|id| format!("({id}, 'same')")).collect::<Vec<_>>().join(", ");
        lab.execute(&format!("insert into readings values {values}"));
        lab.app.start();
        lab.wait_for_exactly(1..=10);
        lab.execute("insert into readings values (11, 'same'), (12, 'same')");
        lab.wait_for_exactly(1..=12);
        let artifacts = lab.app.get_all("/api/v1/artifacts?resource=readings");
        assert_eq!(artifacts.len(), 5, "3 + 3 + 3 + 1, then 2");
        lab.app.restart();
        lab.execute("insert into readings values (13, 'same')");
        lab.wait_for_exactly(1..=13);
    }
}

#[test]
fn no_row_is_read_at_the_bound_of_kept_content_until_runs_have_ended() {
    let keys = format!("{KEYS}\nmax_rows = 1\nkeep = \"0B\"\nmax_kept = \"60B\"\ntrigger = {{ max_artifacts = 1 }}");
    for mut lab in Lab::both(&keys) {
        lab.app.start();
        assert_eq!(lab.app.post("/api/v1/pipeline/pause").0, 200);
        // Each has about 30 bytes.
        lab.add(1..=9);
        let waiting = lab.wait_for_waiting();
        assert!(
            waiting["reason"].as_str().unwrap().starts_with("waiting, because runs need 60 B of kept content"),
            "{waiting}"
        );
        lab.app.restart();
        lab.wait_for_waiting();
        lab.add(10..=12);
        let taken = lab.app.get_all("/api/v1/artifacts?resource=readings").len();
        assert!((1..=3).contains(&taken), "{taken} batches were taken");
        assert_eq!(lab.app.post("/api/v1/pipeline/resume").0, 200);
        lab.wait_for_exactly(1..=12);
        wait_until("nothing to wait", || lab.app.get("/api/v1/nodes/readings")["resource"]["waiting"].is_null());
    }
}

/// Rows without a key that are equal in all columns are counted.
#[test]
fn equal_rows_are_as_many_as_they_are() {
    for mut lab in Lab::both(KEYS) {
        lab.execute("drop table readings; create table readings (id integer, value text)");
        lab.execute("insert into readings values (1, 'a'), (1, 'a')");
        lab.app.start();
        lab.wait_for_exactly([1, 1]);
        lab.execute("insert into readings values (1, 'a')");
        lab.wait_for_exactly([1, 1, 1]);
        lab.app.restart();
        lab.execute("insert into readings values (1, 'a'), (2, 'b')");
        lab.wait_for_exactly([1, 1, 1, 1, 2]);
    }
}

#[test]
fn a_transaction_that_commits_late_is_not_missed() {
    let lab = &mut Lab::postgres(KEYS);
    lab.execute(TABLE_WITH_SERIAL);
    lab.app.start();
    let Data::Postgres(data) = &lab.data else { unreachable!() };
    let late = data.connect();
    late.execute("begin; insert into readings (value) values ('late')");
    lab.execute("insert into readings (value) values ('early')");
    lab.wait_for_exactly([2]);
    lab.execute("insert into readings (value) values ('next')");
    lab.wait_for_exactly([2, 3]);
    late.execute("commit");
    lab.wait_for_exactly([1, 2, 3]);
    // Also if the host did not run meanwhile.
    late.execute("begin; insert into readings (value) values ('late')");
    lab.execute("insert into readings (value) values ('early')");
    lab.wait_for_exactly([1, 2, 3, 5]);
    lab.app.kill();
    late.execute("commit");
    lab.app.start();
    lab.wait_for_exactly(1..=5);
}

const TABLE_WITH_SERIAL: &str = "create table readings (id serial primary key, value text)";

/// In SQLite one transaction writes at a time, but its values may be of any age.
#[test]
fn a_row_with_a_smaller_value_is_found_for_as_long_as_the_overlap_lasts() {
    for mut lab in Lab::both(KEYS) {
        lab.add(10..=10);
        lab.app.start();
        lab.wait_for_exactly([10]);
        lab.add(5..=5);
        lab.wait_for_exactly([5, 10]);
    }
    let keys = format!("{KEYS}\noverlap = \"0s\"");
    for mut lab in Lab::both(&keys) {
        lab.add(10..=10);
        lab.app.start();
        lab.wait_for_exactly([10]);
        // This look begins at 10, which is settled.
        lab.add(11..=11);
        lab.wait_for_exactly([10, 11]);
        lab.add(5..=5);
        lab.add(12..=12);
        lab.wait_for_exactly([10, 11, 12]);
    }
}

#[test]
fn a_row_that_changes_within_the_overlap_is_new_unless_the_key_says_that_it_is_the_same() {
    for mut lab in Lab::both(KEYS) {
        lab.add(1..=1);
        lab.app.start();
        lab.wait_for_exactly([1]);
        lab.execute("update readings set value = 'other'");
        lab.wait_for_exactly([1, 1]);
    }
    for mut lab in Lab::both(&format!("{KEYS}\nkey = [\"id\"]")) {
        lab.add(1..=1);
        lab.app.start();
        lab.wait_for_exactly([1]);
        lab.execute("update readings set value = 'other'");
        lab.add(2..=2);
        lab.wait_for_exactly([1, 2]);
        lab.app.restart();
        lab.add(3..=3);
        lab.wait_for_exactly([1, 2, 3]);
    }
}

#[test]
fn a_notification_wakes_the_watch_and_so_does_a_commit_to_sqlite() {
    let keys = "table = \"readings\"\nhigh_water = \"id\"\ninterval = \"1h\"";
    let mut sqlite = Lab::sqlite(keys);
    sqlite.execute(super::TABLE);
    sqlite.app.start();
    for id in 1..=3 {
        sqlite.add(id..=id);
        sqlite.wait_for_exactly(1..=id);
    }
    let mut postgres = Lab::postgres(&format!("{keys}\nnotify = \"New readings\""));
    postgres.execute(super::TABLE);
    postgres.app.start();
    for id in 1..=3 {
        postgres.add(id..=id);
        postgres.execute("select pg_notify('New readings', '')");
        postgres.wait_for_exactly(1..=id);
    }
}

/// With the trigger that `docs/RESOURCES.md` shows.
#[test]
fn a_table_that_sends_notifications_wakes_the_watch_at_each_insert() {
    let page = include_str!("../../../docs/RESOURCES.md");
    let trigger = page.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    let keys = "table = \"readings\"\nhigh_water = \"id\"\ninterval = \"1h\"\nnotify = \"readings\"";
    let mut lab = Lab::postgres(keys);
    lab.execute(super::TABLE);
    lab.execute(trigger);
    lab.app.start();
    for id in 1..=3 {
        lab.add(id..=id);
        lab.wait_for_exactly(1..=id);
    }
}

/// A look begins at a value, not after it.
#[test]
fn a_row_with_the_greatest_value_so_far_is_found_also_when_that_is_settled() {
    let keys = KEYS.replace("\"id\"", "\"value\"") + "\noverlap = \"0s\"";
    for mut lab in Lab::both(&keys) {
        lab.execute("insert into readings values (1, 'a')");
        lab.app.start();
        lab.wait_for_exactly([1]);
        lab.execute("insert into readings values (2, 'a')");
        lab.wait_for_exactly([1, 2]);
        lab.execute("insert into readings values (3, 'a')");
        lab.wait_for_exactly([1, 2, 3]);
    }
}

/// Many rows: after the first thousand, most looks read only the end.
#[test]
fn many_rows_that_come_one_after_another_are_delivered_once() {
    for mut lab in Lab::both(&format!("{KEYS}\noverlap = \"2s\"\nmax_rows = 500")) {
        lab.app.start();
        for hundred in 0..30 {
            lab.add(hundred * 100 + 1..=hundred * 100 + 100);
        }
        lab.wait_for_exactly(1..=3_000);
        lab.add(3_001..=3_001);
        lab.wait_for_exactly(1..=3_001);
    }
}

#[test]
fn a_query_is_watched_like_a_table_and_its_rows_are_what_it_selects() {
    let keys = "query = \"\"\"select id, upper(value) as name from readings where id <> 2 -- not this one;\n\"\"\"\nhigh_water = \"id\"\ninterval = \"50ms\"";
    for mut lab in Lab::both(keys) {
        lab.add(1..=3);
        lab.app.start();
        lab.wait_for_exactly([1, 3]);
        assert_eq!(lab.lines()[1], serde_json::json!({"id": 3, "name": "VALUE 3"}));
    }
}

#[test]
fn a_host_that_restarts_goes_on_where_the_last_one_was() {
    for mut lab in Lab::both(KEYS) {
        lab.add(1..=2);
        lab.app.start();
        lab.wait_for_exactly([1, 2]);
        lab.app.restart();
        wait_until("the watch to have begun", || lab.app.get("/api/v1/nodes/readings")["state"] == "watching");
        lab.app.kill();
        lab.add(3..=4);
        lab.app.start();
        lab.wait_for_exactly(1..=4);
        let kept = fs::read_dir(lab.app.path("state/resources/readings/recent")).unwrap().count();
        assert_eq!(kept, 2, "one file for each batch of the overlap");
    }
}

/// As after a power cut, in which only what is synced survives.
#[test]
fn kept_rows_of_the_overlap_are_put_back_at_the_next_start() {
    for mut lab in Lab::both(KEYS) {
        lab.add(1..=3);
        lab.app.start();
        lab.wait_for_exactly(1..=3);
        lab.app.kill();
        let digest = |artifact: &serde_json::Value| artifact["digest"].as_str().unwrap().replace("sha256:", "");
        let artifact = lab.app.cli_json(&["artifacts", "list", "PATH", "--resource", "readings", "--json"]);
        let artifact = artifact["items"][0].clone();
        fs::remove_file(lab.app.path("state/resources/readings").join(digest(&artifact))).unwrap();
        lab.app.start();
        wait_until("the watch to have begun", || lab.app.get("/api/v1/nodes/readings")["state"] == "watching");
        let content = format!("/api/v1/artifacts/{}/content", artifact["id"].as_str().unwrap());
        assert_eq!(lab.app.try_get(&content).unwrap().0, 200);
        lab.add(4..=4);
        lab.wait_for_exactly(1..=4);
    }
}

/// What a query returns today may not be there tomorrow.
#[test]
fn what_was_delivered_can_be_read_when_the_rows_are_gone() {
    for mut lab in Lab::both(KEYS) {
        lab.app.start();
        assert_eq!(lab.app.post("/api/v1/pipeline/pause").0, 200);
        lab.add(1..=3);
        wait_until("the rows to be on record", || {
            lab.app.get_all("/api/v1/artifacts?resource=readings").iter().any(|artifact| artifact["state"] == "new")
        });
        lab.execute("delete from readings");
        assert_eq!(lab.app.post("/api/v1/pipeline/resume").0, 200);
        lab.wait_for_exactly(1..=3);
    }
}

#[test]
fn a_batch_ends_after_16_mib() {
    for mut lab in Lab::both(&format!("{KEYS}\ntrigger = {{ min_artifacts = 2 }}")) {
        for id in 1..=20 {
            lab.execute(&format!("insert into readings values ({id}, '{}')", "x".repeat(1 << 20)));
        }
        lab.app.start();
        lab.wait_for_exactly(1..=20);
        let artifacts = lab.app.get_all("/api/v1/artifacts?resource=readings");
        let mut sizes: Vec<u64> = artifacts.iter().map(|artifact| artifact["size"].as_u64().unwrap()).collect();
        sizes.sort_unstable();
        assert!(sizes.len() == 2 && sizes[1] < 17 << 20, "{sizes:?}");
    }
}

/// More rows than the host remembers come within the overlap: the rest waits for it, and is shown.
#[test]
fn rows_beyond_what_the_host_can_tell_apart_wait_for_the_overlap() {
    let mut lab = Lab::sqlite(&format!("{KEYS}\noverlap = \"15s\"\nmax_rows = 50000"));
    lab.execute(super::TABLE);
    lab.execute(
        "with recursive n(id) as (select 1 union all select id + 1 from n where id < 260000)
         insert into readings select id, null from n",
    );
    lab.app.start();
    let waiting = lab.wait_for_waiting();
    assert_eq!(waiting["path"], "rows after 250000", "{waiting}");
    let reason = "waiting, because 250000 rows arrived within `overlap`: shorten `overlap`, or choose a `high_water` \
                  column with finer values";
    assert_eq!(waiting["reason"], reason);
    wait_until("the rest to be on record", || {
        let artifacts = lab.app.get_all("/api/v1/artifacts?resource=readings");
        artifacts.iter().any(|artifact| artifact["path"].as_str().unwrap().ends_with("..260000.jsonl"))
    });
    lab.app.wait_for_runs(1);
    wait_until("the rest not to be shown any more", || {
        lab.app.get("/api/v1/nodes/readings")["resource"]["waiting"].is_null()
    });
    assert_eq!(lab.ids(), (1..=260_000).collect::<Vec<i64>>());
}
