//! Actions that query and change databases.

use std::os::unix::process::ExitStatusExt as _;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::Data;
use crate::support::app::TestApp;
use crate::support::postgres::Database;
use crate::support::wait::wait_until;

/// A pipeline of one action, which executes the steps of a run.
struct Desk {
    app: TestApp,
    data: Data,
}

/// Tables that both databases understand.
const TABLES: &str = "create table readings (id integer primary key, value text);
    create table totals (name text primary key, amount integer not null check (amount >= 0));
    create table secrets (value text);
    insert into readings values (1, 'one'), (2, 'it''s \"two\"'), (3, null);
    insert into secrets values ('hush')";

fn manifest(url: &str, action: &str) -> String {
    format!(
        r#"
manifest_version = 1
[pipeline]
name = "desk"
[resources.lab]
kind = "sql"
url = "{url}"
[resources.out]
kind = "folder"
path = "out"
[actions.act]
component = "worker.wasm"
{action}
"#
    )
}

const BOTH: &str = "reads = [\"lab\"]\nwrites = [\"lab\", \"out\"]";

impl Desk {
    fn sqlite(action: &str) -> Self {
        let app = TestApp::new(&manifest("sqlite:lab.db", action)).with_guest("worker");
        let data = rusqlite::Connection::open(app.path("lab.db")).unwrap();
        data.pragma_update(None, "journal_mode", "wal").unwrap();
        let desk = Self { app, data: Data::Sqlite(data) };
        desk.execute(TABLES);
        desk
    }

    fn postgres(action: &str) -> Self {
        let data = Database::new();
        let app = TestApp::new(&manifest(&data.url(), action)).with_guest("worker");
        let desk = Self { app, data: Data::Postgres(data) };
        desk.execute(TABLES);
        desk
    }

    fn both(action: &str) -> [Self; 2] {
        [Self::sqlite(action), Self::postgres(action)]
    }

    fn is_postgres(&self) -> bool {
        matches!(self.data, Data::Postgres(_))
    }

    #[track_caller]
    fn execute(&self, sql: &str) {
        self.data.execute(sql);
    }

    /// Returns the number that a query gives.
    #[track_caller]
    fn number(&self, sql: &str) -> i64 {
        match &self.data {
            Data::Sqlite(data) => data.query_row(sql, [], |row| row.get(0)).unwrap(),
            Data::Postgres(data) => data.query(sql, &[])[0].get(0),
        }
    }

    /// Starts a run with these steps.
    fn begin(&self, steps: &Value) {
        let begun = self.app.cli(&["trigger", "PATH", "-p", &format!("steps={steps}")]);
        assert!(begun.status.success(), "{begun:?}");
    }

    /// Executes steps, and returns the run.
    #[track_caller]
    fn run(&self, steps: &Value) -> Value {
        let before = self.app.get_all("/api/v1/runs").len();
        self.begin(steps);
        let number = self.app.wait_for_runs(before + 1).last().unwrap()["number"].clone();
        self.app.get(&format!("/api/v1/runs/{number}"))
    }

    /// Executes steps that succeed.
    #[track_caller]
    fn succeed(&self, steps: &Value) {
        let run = self.run(steps);
        assert_eq!(run["state"], "succeeded", "{run:#}");
    }

    /// Executes steps that fail, and returns the error.
    #[track_caller]
    fn fail(&self, steps: &Value) -> String {
        let run = self.run(steps);
        assert_eq!(run["state"], "failed", "{run:#}");
        let error = &run["actions"][0]["attempts"][0]["error"];
        format!("{}: {}", error["code"].as_str().unwrap(), error["message"].as_str().unwrap())
    }

    /// Adds one to the total of `name`, so that doing it twice shows.
    fn add(&self, name: &str) -> Value {
        let sql = "insert into totals (name, amount) values (?1, 1) on conflict (name) do update set amount = totals.amount + 1";
        json!({"do": "execute", "to": "lab", "sql": self.dialect(sql), "params": [name]})
    }

    fn dialect(&self, sql: &str) -> String {
        if self.is_postgres() { sql.replace('?', "$") } else { sql.to_owned() }
    }

    fn total(&self, name: &str) -> i64 {
        self.number(&format!("select coalesce(sum(amount), 0) from totals where name = '{name}'"))
    }
}

fn query(sql: &str, expect: &Value) -> Value {
    json!({"do": "query", "from": "lab", "sql": sql, "expect": expect})
}

fn refused(code: &str, step: &Value) -> Value {
    json!({"do": "expect", "code": code, "step": step})
}

#[test]
fn rows_and_parameters_are_typed_and_no_text_is_sql() {
    for mut desk in Desk::both(BOTH) {
        desk.app.start();
        let nasty = "'; drop table readings; --";
        let find = desk.dialect("select id from readings where value = ?1");
        desk.succeed(&json!([
            query("select id, value from readings order by id", &json!([[1, "one"], [2, "it's \"two\""], [3, null]])),
            {"do": "query", "from": "lab", "sql": "select id as \"a b\", 1 as x from readings where id = 1", "columns": ["a b", "x"]},
            {"do": "query", "from": "lab", "sql": find, "params": [nasty], "expect": []},
            {"do": "execute", "to": "lab", "sql": desk.dialect("insert into readings (id, value) values (?1, ?2)"), "params": [9, nasty]},
        ]));
        desk.succeed(&json!([{"do": "query", "from": "lab", "sql": find, "params": [nasty], "expect": [[9]]}]));
    }
}

#[test]
fn values_of_every_type_go_through_a_database_and_back() {
    let nan = json!({"real": "NaN"});
    let params = json!([9_007_199_254_740_993_i64, 0.1, "quote ' \" ä\nline", {"bytes": [0, 255, 39]}, null]);
    for mut desk in Desk::both(BOTH) {
        let is_postgres = desk.is_postgres();
        desk.execute(if is_postgres {
            "create table kinds (a bigint, b float8, c text, d bytea, e text, f boolean, g numeric, h timestamptz)"
        } else {
            "create table kinds (a integer, b real, c text, d blob, e text)"
        });
        desk.app.start();
        let insert = desk.dialect("insert into kinds (a, b, c, d, e) values (?1, ?2, ?3, ?4, ?5)");
        desk.succeed(&json!([{"do": "execute", "to": "lab", "sql": insert, "params": params}]));
        desk.succeed(&json!([query("select a, b, c, d, e from kinds", &json!([params]))]));
        if is_postgres {
            let more = json!([nan, true, "12345678901234567890.10", "2026-03-01 12:00:00.5+02"]);
            let sql = "insert into kinds (b, f, g, h) values ($1, $2, $3, $4)";
            desk.succeed(&json!([{"do": "execute", "to": "lab", "sql": sql, "params": more}]));
            let back = json!([[nan, true, "12345678901234567890.10", "2026-03-01T10:00:00.5+00:00"]]);
            desk.succeed(&json!([query("select b, f, g, h from kinds where f", &back)]));
        }
    }
}

#[test]
fn many_rows_come_page_by_page_and_a_query_can_be_left() {
    for mut desk in Desk::both(BOTH) {
        desk.app.start();
        let numbers =
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 200000) select i from n";
        desk.succeed(&json!([
            {"do": "query", "from": "lab", "sql": numbers, "count": 200_000},
            {"do": "query", "from": "lab", "sql": numbers, "stop_after": 10},
            query("select 1", &json!([[1]])),
        ]));
    }
}

#[test]
fn a_query_that_writes_and_more_than_one_statement_are_refused() {
    for mut desk in Desk::both(BOTH) {
        desk.app.start();
        let ask = |sql: &str| json!({"do": "query", "from": "lab", "sql": sql});
        let change = |sql: &str| json!({"do": "execute", "to": "lab", "sql": sql});
        let writes = "insert into readings (id) values (7) returning id";
        let hidden = "with x as (delete from readings returning id) select * from x";
        let hidden = if desk.is_postgres() { hidden } else { "delete from readings returning id" };
        desk.succeed(&json!([
            refused("denied", &ask(writes)),
            refused("denied", &ask(hidden)),
            refused("invalid", &ask("select 1; delete from readings")),
            refused("invalid", &change("delete from readings; delete from secrets")),
            refused("invalid", &change("insert into readings values (7)) --")),
            refused("invalid", &ask("select nothing from nowhere")),
            refused("invalid", &ask("")),
            refused("invalid", &json!({"do": "query", "from": "lab", "sql": "select 1", "params": [1]})),
        ]));
        for control in ["commit", "rollback", "drop table readings", "create table mine (x integer)"] {
            let run = desk.run(&json!([change(control)]));
            assert_eq!(run["state"], "failed", "{control}");
        }
        assert_eq!(desk.number("select count(*) from readings"), 3);
    }
}

#[test]
fn only_granted_databases_and_tables_are_used() {
    let mut desk = Desk::sqlite(
        "reads = [\"lab\"]\nwrites = [\"lab\"]\ntables = { lab = { read = [\"readings\"], write = [\"totals\"] } }",
    );
    desk.execute("create view peek as select * from secrets");
    desk.app.start();
    let ask = |sql: &str| json!({"do": "query", "from": "lab", "sql": sql});
    let change = |sql: &str| json!({"do": "execute", "to": "lab", "sql": sql});
    desk.succeed(&json!([
        query("select count(*) from readings", &json!([[3]])),
        refused("denied", &ask("select count(*) from totals")),
        refused("denied", &ask("select * from secrets")),
        // The names of these are not those of a view.
        refused("denied", &ask("with x as (select * from secrets) select * from x")),
        refused("denied", &ask("with peek as (select * from secrets) select * from peek")),
        refused("denied", &ask("select * from peek")),
        refused("denied", &ask("select * from sqlite_schema")),
        refused("denied", &ask("pragma table_info(secrets)")),
        refused("denied", &ask("attach 'other.db' as other")),
        refused("denied", &change("insert into readings (id) values (8)")),
        refused("denied", &change("insert into totals select value, 1 from secrets")),
        change("insert into totals select value, id from readings where id = 1"),
    ]));
    assert_eq!(desk.total("one"), 1);
    let error = desk.fail(&json!([ask("select value from secrets")]));
    assert_eq!(
        error,
        "denied: `act` may not read the table `secrets` of `lab`; to grant it, add it in anacostia.toml:\n\
         [actions.act.tables]\nlab = { read = [\"secrets\"] }"
    );

    let mut reader = Desk::postgres("reads = [\"lab\"]");
    reader.app.start();
    let error = reader.fail(&json!([change("delete from readings")]));
    assert!(error.starts_with("denied: `act` may not write to `lab`; to grant it"), "{error}");
    assert_eq!(reader.number("select count(*) from readings"), 3);
}

const NARROW: &str =
    "reads = [\"lab\"]\nwrites = [\"lab\"]\ntables = { lab = { read = [\"readings\"], write = [\"totals\"] } }";

#[test]
fn a_refusal_suggests_no_grant_that_cannot_help() {
    let mut desk = Desk::sqlite(NARROW);
    desk.app.start();
    let ask = |sql: &str| json!({"do": "query", "from": "lab", "sql": sql});
    let change = |sql: &str| json!({"do": "execute", "to": "lab", "sql": sql});
    let never = "denied: lab refuses a statement: a query never writes; pass the statement to `execute`";
    let schema = "denied: lab refuses a statement: actions cannot change the schema of a database, only read and change its rows";
    let own = "denied: lab refuses a statement: `anacostia_published` is a table of the host, which actions cannot use";
    for (step, wanted) in [
        (ask("insert into totals values ('a', 1) returning name"), never),
        (ask("delete from readings returning id"), never),
        (change("drop table totals"), schema),
        (change("create view mine as select 1"), schema),
        (change("create index mine on totals (amount)"), schema),
        (change("alter table totals add column more"), schema),
        (change("delete from anacostia_published"), own),
    ] {
        desk.execute("create table if not exists anacostia_published (attempt text primary key, at text not null)");
        assert_eq!(desk.fail(&json!([step])), wanted, "{step}");
    }
    let mut desk = Desk::sqlite(BOTH);
    desk.app.start();
    assert_eq!(desk.fail(&json!([change("drop table totals")])), schema, "also if all tables are granted");
}

#[test]
fn names_in_a_statement_and_functions_that_return_rows_need_no_grant() {
    let mut desk = Desk::sqlite(NARROW);
    desk.app.start();
    let change = |sql: &str| json!({"do": "execute", "to": "lab", "sql": sql});
    let counts = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 4) select count(*) from N";
    desk.succeed(&json!([
        query("with c as (select id from readings) select count(*) from c", &json!([[3]])),
        query("with c as (select 1), \"d \"\"\" as (select 1 from c) select 5 from c, \"d \"\"\"", &json!([[5]])),
        query(counts, &json!([[4]])),
        query("select value from json_each('[7, 8]')", &json!([[7], [8]])),
        query("select count(*) from json_tree('[7, [8]]')", &json!([[4]])),
        query("select count(*) from READINGS", &json!([[3]])),
        change("insert into totals with c as (select 1 from readings) select 'all', count(*) from c"),
    ]));
    assert_eq!(desk.total("all"), 3);
}

#[test]
fn no_name_in_a_statement_leads_to_a_table_that_is_not_granted() {
    let mut desk = Desk::sqlite(NARROW);
    desk.execute(
        "create table json_tree (value text); insert into json_tree values ('hush');
         create view peek as with c as (select * from secrets) select count(*) as number from c",
    );
    desk.app.start();
    let denied = |sql: &str| refused("denied", &json!({"do": "query", "from": "lab", "sql": sql}));
    desk.succeed(&json!([
        denied("select count(*) from secrets"),
        denied("select count(*) from SECRETS"),
        denied("select count(*) from main.secrets"),
        denied("select exists (select 1 from secrets)"),
        // Of the same name as a table that is not granted.
        denied("with secrets as (select 1) select count(*) from main.secrets"),
        denied("with c as (select 1 from secrets) select count(*) from c"),
        denied("with c as (select 1) select (select count(*) from c), (select count(*) from secrets)"),
        denied("select (with secrets as (select 1) select count(*) from secrets), (select count(*) from secrets)"),
        denied("select number from peek"),
        denied("select count(*) from peek"),
        denied("select value from json_tree"),
        denied("select count(*) from json_tree"),
        denied("select count(*) from pragma_table_info('secrets')"),
        denied("select name from pragma_table_list"),
        denied("select count(*) from pragma_table_list"),
        denied("select count(*) from sqlite_schema"),
        denied("select count(*) from sqlite_master"),
        denied("select count(*) from sqlite_temp_schema"),
        denied("select count(*) from dbstat"),
        refused("failed", &json!({"do": "query", "from": "lab", "sql": "select count(*) from c"})),
    ]));
}

#[test]
fn a_user_without_rights_is_refused_by_the_server() {
    let desk = Desk::postgres(BOTH);
    let Data::Postgres(data) = &desk.data else { unreachable!() };
    data.execute("drop role if exists guest; create role guest login; grant select on readings to guest");
    let url = data.url().replace("postgres@", "guest@");
    let mut app = TestApp::new(&manifest(&url, BOTH)).with_guest("worker");
    app.start();
    let desk = Desk { app, data: desk.data };
    let hidden = "select query_to_xml('select * from secrets', true, false, '')";
    desk.succeed(&json!([
        query("select count(*) from readings", &json!([[3]])),
        refused("denied", &json!({"do": "query", "from": "lab", "sql": "select * from secrets"})),
        refused("denied", &json!({"do": "query", "from": "lab", "sql": hidden})),
    ]));
    let error = desk.fail(&json!([{"do": "execute", "to": "lab", "sql": "delete from readings"}]));
    assert!(error.contains("`create table anacostia_published (attempt uuid primary key"), "{error}");
    desk.execute(
        "create table anacostia_published (attempt uuid primary key, at timestamptz not null default now());
         grant select, insert, delete on anacostia_published to guest",
    );
    let error = desk.fail(&json!([{"do": "execute", "to": "lab", "sql": "delete from readings"}]));
    assert_eq!(error, "denied: lab refuses a statement: statement 1: permission denied for table readings");
    desk.execute("drop owned by guest; drop role guest");
}

/// What `tables` does in SQLite: a resource for each action, each with a user of its own.
#[test]
fn in_postgres_each_action_has_the_rights_of_the_user_of_its_own_resource() {
    let data = Database::new();
    data.execute(TABLES);
    data.execute(
        "create table anacostia_published (attempt uuid primary key, at timestamptz not null default now());
         create role summariser login; create role auditor login;
         grant select, insert, delete on anacostia_published to summariser, auditor;
         grant select on readings to summariser; grant select, insert on totals to summariser;
         grant select on totals to auditor; create table audits (amount integer); grant insert on audits to auditor",
    );
    let url = |user: &str| data.url().replace("postgres@", &format!("{user}@"));
    let mut app = TestApp::new(&format!(
        r#"
manifest_version = 1
[pipeline]
name = "two-users"
[resources.summary]
kind = "sql"
url = "{}"
[resources.audit]
kind = "sql"
url = "{}"
[actions.summarise]
component = "worker.wasm"
reads = ["summary"]
writes = ["summary"]
[actions.summarise.params]
steps = [
    {{ do = "query", from = "summary", sql = "select count(*) from readings", expect = [[3]] }},
    {{ do = "expect", code = "denied", step = {{ do = "query", from = "summary", sql = "select * from secrets" }} }},
    {{ do = "execute", to = "summary", sql = "insert into totals values ('readings', 3)" }},
]
[actions.check]
component = "worker.wasm"
after = ["summarise"]
reads = ["audit"]
writes = ["audit"]
[actions.check.params]
steps = [
    {{ do = "query", from = "audit", sql = "select amount from totals", expect = [[3]] }},
    {{ do = "expect", code = "denied", step = {{ do = "query", from = "audit", sql = "select * from readings" }} }},
    {{ do = "execute", to = "audit", sql = "insert into audits values (3)" }},
]
"#,
        url("summariser"),
        url("auditor"),
    ))
    .with_guest("worker");
    app.start();
    assert!(app.cli(&["trigger", "PATH"]).status.success());
    let run = app.wait_for_runs(1).remove(0);
    assert_eq!(run["state"], "succeeded", "{:#}", app.get("/api/v1/runs/1"));
    let counted = data.query("select (select count(*) from totals), (select count(*) from audits)", &[]).remove(0);
    assert_eq!((counted.get::<_, i64>(0), counted.get::<_, i64>(1)), (1, 1));
    app.kill();
    data.execute("drop owned by summariser, auditor; drop role summariser, auditor");
}

#[test]
fn what_the_database_refuses_at_publishing_fails_the_attempt_and_publishes_nothing() {
    for mut desk in Desk::both(BOTH) {
        desk.app.start();
        let negative = json!({"do": "execute", "to": "lab", "sql": "insert into totals values ('bad', -1)"});
        let file = json!({"do": "write", "to": "out", "path": "a.txt", "text": "a"});
        let error = desk.fail(&json!([file, desk.add("good"), negative]));
        assert!(error.starts_with("failed: lab refuses a statement: statement 2: "), "{error}");
        assert!(error.to_lowercase().contains("check constraint"), "{error}");
        assert_eq!((desk.total("good"), desk.app.path("out/a.txt").exists()), (0, false));
        // Nor does an attempt that fails by itself write anything.
        desk.fail(&json!([desk.add("good"), {"do": "fail"}]));
        assert_eq!(desk.total("good"), 0);
        desk.succeed(&json!([file, desk.add("good"), desk.add("good")]));
        assert_eq!(desk.total("good"), 2);
        let recorded = desk.app.get_all("/api/v1/artifacts?resource=lab");
        assert_eq!(recorded.len(), 1, "{recorded:?}");
        assert_eq!((&recorded[0]["path"], &recorded[0]["state"]), (&json!("act/000003-1.jsonl"), &json!("published")));
    }
}

#[test]
fn what_a_database_checks_at_the_commit_is_checked_before_the_attempt_is_committed() {
    for mut desk in Desk::both(BOTH) {
        desk.execute("create table notes (reading integer references readings (id) deferrable initially deferred)");
        desk.app.start();
        let note = |id: u32| json!({"do": "execute", "to": "lab", "sql": format!("insert into notes values ({id})")});
        let reading = json!({"do": "execute", "to": "lab", "sql": "insert into readings values (70, 'late')"});
        let file = json!({"do": "write", "to": "out", "path": "a.txt", "text": "a"});
        let error = desk.fail(&json!([file, note(1), note(71)]));
        assert!(error.starts_with("failed: lab refuses a statement: "), "{error}");
        if !desk.is_postgres() {
            let why = "FOREIGN KEY constraint failed: a row of `notes` refers to one of `readings` that does not exist";
            assert!(error.ends_with(why), "{error}");
        }
        assert!(!desk.app.path("out/a.txt").exists(), "its attempt was committed");
        assert_eq!(desk.app.get_all("/api/v1/artifacts").len(), 0, "an output is on record");
        // In the order that only a check at the end allows.
        desk.succeed(&json!([file, note(70), reading]));
        assert_eq!(desk.number("select count(*) from notes where reading = 70"), 1);
    }
}

#[test]
fn a_statement_that_takes_too_long_is_cancelled_in_the_database() {
    for mut desk in Desk::both(&format!("{BOTH}\nlimits = {{ wall = \"2s\" }}")) {
        desk.app.start();
        let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n";
        let (ask, change) = if desk.is_postgres() {
            ("select pg_sleep(600)", "insert into totals select 'long', 1 from (select pg_sleep(600)) as s".to_owned())
        } else {
            (
                endless,
                format!("insert into totals select 'long', i from ({})", endless.replace("max(i)", "max(i) as i")),
            )
        };
        let run = desk.run(&json!([{"do": "query", "from": "lab", "sql": ask, "count": 1}]));
        let attempt = &run["actions"][0]["attempts"][0];
        assert_eq!(attempt["state"], "timed_out", "{run:#}");
        // The guest ends in time, and the database does not.
        let error = desk.fail(&json!([{"do": "execute", "to": "lab", "sql": change}]));
        assert_eq!(error, "unavailable: lab did not prepare the outputs in 2s");
        if desk.is_postgres() {
            let at_work =
                "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(600)%'
                and pid <> pg_backend_pid() and datname = current_database()";
            wait_until("the server to stop", || desk.number(at_work) == 0);
        }
        // The lock of the change is free.
        desk.succeed(&json!([desk.add("short")]));
        assert_eq!((desk.total("short"), desk.total("long")), (1, 0));
        desk.app.signal(Signal::TERM);
        assert!(desk.app.wait_for_end().success(), "a thread was still at work");
    }
}

#[test]
fn a_host_that_dies_at_any_step_changes_a_database_exactly_once() {
    let points = [
        "attempt.guest_done",
        "sql.prepared",
        "intent.in_transaction",
        "intent.committed",
        "publish.begin",
        "sql.before_commit",
        "sql.committed",
        "sql.published",
        "publish.visible",
    ];
    for mut desk in Desk::both(BOTH) {
        for point in points {
            desk.app.set_env("ANACOSTIA_FAULT", point);
            desk.app.start();
            desk.begin(
                &json!([desk.add(point), {"do": "write", "to": "out", "path": format!("{point}.txt"), "text": "a"}]),
            );
            assert_eq!(desk.app.wait_for_end().signal(), Some(Signal::KILL.as_raw()), "{point}");
            desk.app.unset_env("ANACOSTIA_FAULT");
            desk.app.start();
            let runs = desk.app.wait_for_runs(1);
            assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{point}: {runs:?}");
            assert_eq!(desk.total(point), 1, "{point}");
            assert!(desk.app.path(&format!("out/{point}.txt")).exists(), "{point}");
            desk.app.kill();
        }
    }
}

#[test]
fn a_lost_answer_to_the_commit_changes_nothing_twice() {
    for mut desk in Desk::both(BOTH) {
        desk.app.set_env("ANACOSTIA_LOSE_ANSWERS", "sql_commit");
        desk.app.start();
        desk.succeed(&json!([desk.add("once")]));
        assert_eq!(desk.total("once"), 1);
        assert_eq!(desk.number("select count(*) from anacostia_published"), 1);
    }
}
