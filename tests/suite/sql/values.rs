//! Values of every type, as they arrive in the lines.

use serde_json::json;

use super::{KEYS, Lab};

#[test]
fn values_of_postgresql_keep_their_digits_and_types() {
    let mut lab = Lab::postgres(KEYS);
    lab.execute(
        r#"
        create type mood as enum ('sad', 'ok');
        create table readings (
            id bigint, amount numeric, ratio float8, small real, flag boolean, note text, day date,
            at timestamptz, local timestamp, raw bytea, doc json, docb jsonb, tags text[], who uuid, how mood, "odd ""name" int, nothing int);
        insert into readings values (
            9007199254740993, 12345678901234567890.1234567890, 0.1, 'NaN', true, E'a\n"b" ä', '2026-03-01',
            '2026-03-01 12:00:00.123456+02', '2026-03-01 12:00:00', '\x00ff10', E'{"a":\n [1, 2.50]}', '{"b": 1e3}',
            '{x,"y z"}', '00000000-0000-0000-0000-000000000001', 'ok', 7, null)
        "#,
    );
    lab.execute("update readings set raw = decode(repeat('00', 100), 'hex') where false");
    lab.app.start();
    lab.wait_for_rows(1);
    let artifact = &lab.app.get_all("/api/v1/artifacts?resource=readings")[0];
    let path = artifact["path"].as_str().unwrap();
    let text = std::fs::read_to_string(lab.app.path(&format!("out/{path}"))).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"id":9007199254740993,"amount":12345678901234567890.1234567890,"ratio":0.1,"small":"NaN","flag":true,"#,
            r#""note":"a\n\"b\" ä","day":"2026-03-01","at":"2026-03-01T10:00:00.123456+00:00","local":"2026-03-01T12:00:00","#,
            r#""raw":"AP8Q","doc":{"a":  [1, 2.50]},"docb":{"b": 1000},"tags":["x","y z"],"#,
            r#""who":"00000000-0000-0000-0000-000000000001","how":"ok","odd \"name":7,"nothing":null}"#,
            "\n"
        )
    );
}

#[test]
fn long_bytes_are_one_line_of_base64() {
    let mut lab = Lab::postgres(KEYS);
    lab.execute(
        "create table readings (id int, raw bytea); insert into readings values (1, decode(repeat('00', 300), 'hex'))",
    );
    lab.app.start();
    lab.wait_for_rows(1);
    assert_eq!(lab.lines(), [json!({"id": 1, "raw": "A".repeat(400)})]);
}

#[test]
fn values_of_sqlite_keep_their_types() {
    let mut lab = Lab::sqlite(KEYS);
    lab.execute(
        "create table readings (id integer, ratio real, note text, raw blob, empty, huge real);
         insert into readings values (9223372036854775807, 0.1, 'a' || char(10) || '\"b\"', x'00ff10', null, 9e999)",
    );
    lab.app.start();
    lab.wait_for_rows(1);
    let expected =
        json!({"id": i64::MAX, "ratio": 0.1, "note": "a\n\"b\"", "raw": "AP8Q", "empty": null, "huge": "Infinity"});
    assert_eq!(lab.lines(), [expected]);
}

/// The column that grows need not be a number.
#[test]
fn the_high_water_column_can_have_any_type_that_the_database_sorts() {
    let types = [
        ("timestamptz", "'2026-03-01 12:00:00.000001+02'", "'2026-03-01 12:00:00.000002+02'"),
        ("numeric", "1.00000000000000000001", "1.00000000000000000002"),
        ("float8", "0.1", "0.30000000000000004"),
        ("text", "'a''\"\\'", "'b'"),
        ("uuid", "'00000000-0000-0000-0000-000000000001'", "'00000000-0000-0000-0000-000000000002'"),
        ("date", "'2026-03-01'", "'2026-03-01'"),
    ];
    for (kind, first, second) in types {
        let mut lab = Lab::postgres(&KEYS.replace("\"id\"", "\"Mark\""));
        lab.execute(&format!(
            "create table readings (id int, \"Mark\" {kind}); insert into readings values (1, {first})"
        ));
        lab.app.start();
        lab.wait_for_exactly([1]);
        lab.app.restart();
        lab.execute(&format!("insert into readings values (2, {second}), (3, null)"));
        lab.wait_for_exactly([1, 2]);
    }
    for (first, second) in [("0.1", "0.30000000000000004"), ("'a'", "'b'"), ("5", "'text comes after numbers'")] {
        let mut lab = Lab::sqlite(&KEYS.replace("\"id\"", "\"Mark\""));
        lab.execute(&format!("create table readings (id int, \"Mark\"); insert into readings values (1, {first})"));
        lab.app.start();
        lab.wait_for_exactly([1]);
        lab.app.restart();
        lab.execute(&format!("insert into readings values (2, {second}), (3, null)"));
        lab.wait_for_exactly([1, 2]);
    }
}

#[test]
fn rows_arrive_as_csv_if_the_manifest_says_so() {
    for mut lab in Lab::both(&format!("{KEYS}\nformat = \"csv\"")) {
        let read = |lab: &Lab, name: &str| std::fs::read_to_string(lab.app.path(&format!("out/{name}"))).unwrap();
        lab.execute("insert into readings values (1, 'a, \"b\"'), (2, null), (3, '')");
        lab.app.start();
        lab.app.wait_for_runs(1);
        assert_eq!(read(&lab, "000000000001_1..3.csv"), "id,value\n1,\"a, \"\"b\"\"\"\n2,\n3,\"\"\n");
        // The next host learns from the rows of this one which of them are delivered.
        lab.app.kill();
        lab.execute("insert into readings values (4, 'd')");
        lab.app.start();
        lab.app.wait_for_runs(2);
        assert_eq!(read(&lab, "000000000002_4..4.csv"), "id,value\n4,d\n");
    }
}
