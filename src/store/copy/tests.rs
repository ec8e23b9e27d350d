//! Tests of copies, between stores in memory and between real ones.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use redis::FromRedisValue as _;
use serde_json::{Value, json};

use super::{CopiedRecords, Field, KINDS, PAGE, Record, RecordKind, RecordSource, RecordTarget, Sum, copy, digest};
use crate::base::{Digest, Timestamp};
use crate::manifest::StoreSpec;
use crate::model::Durability;
use crate::store::conformance::{CASES, StoreFactory, World, run_case};
use crate::store::postgres::tests::postgres_server;
use crate::store::redis::tests::redis_server;
use crate::store::{MetadataStore, Result, StoreError, copy_store, open, open_upkeep};

/// The records of some kinds.
type Held = Vec<(&'static RecordKind, Vec<Record>)>;

#[derive(Debug, Default)]
struct Memory {
    held: Held,
    reading: Vec<Record>,
    /// Whether a value is lost on the way.
    loses: bool,
    completed: Arc<Mutex<Option<Held>>>,
}

impl RecordSource for Memory {
    fn count(&mut self) -> Result<u64> {
        Ok(self.held.iter().map(|(_, records)| records.len() as u64).sum())
    }

    fn begin(&mut self, kind: &'static RecordKind) -> Result<()> {
        let of_kind = self.held.iter().filter(|(held, _)| *held == kind);
        self.reading = of_kind.flat_map(|(_, records)| records.clone()).collect();
        Ok(())
    }

    fn next(&mut self) -> Result<Vec<Record>> {
        let most = PAGE.min(self.reading.len());
        Ok(self.reading.drain(..most).collect())
    }
}

impl RecordTarget for Memory {
    fn records(&mut self) -> &mut dyn RecordSource {
        self
    }

    fn write(&mut self, kind: &'static RecordKind, records: &[Record]) -> Result<()> {
        let mut records = records.to_vec();
        if self.loses {
            *records.last_mut().unwrap().last_mut().unwrap() = Field::None;
        }
        self.held.push((kind, records));
        Ok(())
    }

    fn complete(self: Box<Self>) -> Result<()> {
        *self.completed.lock().unwrap() = Some(self.held);
        Ok(())
    }
}

fn held() -> Held {
    let kind = KINDS.iter().find(|kind| kind.name == "claims").unwrap();
    vec![(kind, (0..1_500).map(|at| vec![Field::Bytes(vec![7; 16]), Field::Int(at)]).collect())]
}

#[test]
fn a_copy_has_every_record_and_tells_how_far_it_is() {
    let completed = Arc::default();
    let target = Memory { completed: Arc::clone(&completed), ..Memory::default() };
    let mut source = Memory { held: held(), ..Memory::default() };
    let mut told = Vec::new();
    let copied = copy(&mut source, Box::new(target), &mut |at| told.push((at.written, at.verified, at.all))).unwrap();
    let found = completed.lock().unwrap().take().unwrap();
    assert_eq!(found.iter().flat_map(|(_, records)| records.clone()).collect::<Vec<_>>(), held()[0].1);
    assert_eq!(told, [(1_000, 0, 1_500), (1_500, 0, 1_500), (1_500, 1_000, 1_500), (1_500, 1_500, 1_500)]);
    let counts: Vec<_> = copied.iter().filter(|of| of.count > 0).map(|of| (of.kind, of.count)).collect();
    assert_eq!(counts, [("claims", 1_500)]);
    assert_eq!(copied.len(), KINDS.len());
}

#[test]
fn a_copy_with_other_records_than_it_was_given_is_not_used() {
    let completed = Arc::default();
    let target = Memory { loses: true, completed: Arc::clone(&completed), ..Memory::default() };
    let mut source = Memory { held: held(), ..Memory::default() };
    let Err(StoreError::Conflict(why)) = copy(&mut source, Box::new(target), &mut |_| {}) else {
        panic!("it was not noticed")
    };
    assert!(why.starts_with("the copy has other records than it was given: of `claims`, 1500 records"), "{why}");
    assert_eq!(*completed.lock().unwrap(), None);
}

#[test]
fn the_form_of_a_digest_tells_values_apart() {
    let text = |text: &str| Field::Text(text.to_owned());
    let all = [
        vec![text("ab"), text("c")],
        vec![text("a"), text("bc")],
        vec![Field::Bytes(b"ab".to_vec()), text("c")],
        vec![Field::None, text("")],
        vec![text(""), Field::None],
        vec![Field::Int(1)],
        vec![Field::Bool(true)],
    ];
    let digests: std::collections::BTreeSet<_> = all.iter().map(digest).collect();
    assert_eq!(digests.len(), all.len());
    assert_eq!(digest(&vec![Field::real(-0.0)]), digest(&vec![Field::real(0.0)]));
    assert_eq!(digest(&vec![Field::real(-f64::NAN)]), digest(&vec![Field::real(f64::NAN)]));
}

#[test]
fn the_digest_of_records_does_not_depend_on_their_order_and_tells_sets_apart() {
    let of = |numbers: &[i64]| {
        let mut sum = Sum::default();
        for number in numbers {
            sum.add(digest(&vec![Field::Int(*number)]));
        }
        sum.digest()
    };
    assert_eq!(of(&[1, 2, 3, 4]), of(&[4, 2, 1, 3]));
    for other in [&[1, 2, 3][..], &[1, 2, 3, 5], &[1, 2, 3, 3], &[1, 2, 3, 4, 4], &[]] {
        assert_ne!(of(&[1, 2, 3, 4]), of(other), "{other:?}");
    }
    let mut sum = Sum([0xff; 32]);
    sum.add(Digest::from_bytes([0xff; 32]));
    assert_eq!(sum.0[30..], [0xff, 0xfe], "the carry goes on");
}

/// What was found out about all histories.
#[derive(Default)]
struct Found {
    /// How many records of each kind were copied.
    counts: BTreeMap<&'static str, u64>,
    /// The keys of Redis that are not what they were after a copy from there and back.
    differ: Vec<String>,
}

/// A history that goes on in a store of another kind whenever a host opens it.
struct Moving {
    folder: tempfile::TempDir,
    /// Which history it is.
    history: u32,
    opened: AtomicU32,
    found: Arc<Mutex<Found>>,
}

impl Moving {
    /// Where the history is when it is opened for the nth time, or a `copy` of it. Half of the
    /// histories go from SQLite to Redis to PostgreSQL, and the others back.
    fn place(&self, nth: u32, copy: &str) -> StoreSpec {
        let name = format!("{copy}_{}_{nth}", self.history);
        let step = if self.history.is_multiple_of(2) { nth } else { 2 * nth };
        match (self.history / 2 + step) % 3 {
            0 => StoreSpec::Sqlite { path: self.folder.path().join(name) },
            1 => {
                let url = format!("redis://127.0.0.1:{}", redis_server::server().port);
                StoreSpec::Redis { url, password: None, prefix: name.replace('_', "-") }
            }
            _ => {
                let url = format!("postgres://postgres@127.0.0.1:{}/postgres", postgres_server::server().port);
                StoreSpec::Postgres { url, password: None, schema: name }
            }
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_micros(1_772_366_400_000_000)
}

/// Copies a history to another store, which must be whole then.
fn moved(from: &StoreSpec, to: &StoreSpec) -> Vec<CopiedRecords> {
    let mut last = None;
    let copied = copy_store(from, to, now(), &mut |at| last = Some(at)).unwrap().unwrap();
    let all = copied.iter().map(|of| of.count).sum();
    assert_eq!(last.map(|at| (at.written, at.verified, at.all)), Some((all, all, all)), "{from:?} {to:?}");
    assert_eq!(open_upkeep(to).unwrap().unwrap().check().unwrap(), [""; 0], "{from:?} {to:?}");
    copied
}

/// All keys with a prefix, without it, and what they have. Documents are read, because scripts
/// write their fields in any order, and lists whose order means nothing are sorted.
fn keys(spec: &StoreSpec) -> BTreeMap<String, Value> {
    let StoreSpec::Redis { url, prefix, .. } = spec else { panic!("{spec:?}") };
    let mut server = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
    let names: Vec<String> = redis::cmd("KEYS").arg(format!("{{{prefix}}}:*")).query(&mut server).unwrap();
    let mut found = BTreeMap::new();
    for name in names {
        let kind: String = redis::cmd("TYPE").arg(&name).query(&mut server).unwrap();
        let (command, more): (_, &[&str]) = match kind.as_str() {
            "hash" => ("HGETALL", &[]),
            "zset" => ("ZRANGE", &["0", "-1", "WITHSCORES"]),
            "set" => ("SMEMBERS", &[]),
            "list" => ("LRANGE", &["0", "-1"]),
            "stream" => ("XRANGE", &["-", "+"]),
            _ => ("GET", &[]),
        };
        let value: redis::Value = redis::cmd(command).arg(&name).arg(more).query(&mut server).unwrap();
        let short = name.strip_prefix(&format!("{{{prefix}}}:")).unwrap();
        found.insert(short.to_owned(), shown(short, &kind, &value));
    }
    // The lease, and what stays empty.
    for name in ["lease", "host"] {
        found.remove(name);
    }
    found.retain(|name, value| !name.ends_with(":published") && (name != "events" || *value != json!([])));
    found
}

fn shown(name: &str, kind: &str, value: &redis::Value) -> Value {
    let redis::Value::Array(items) = value else { return json!(plain(value)) };
    let texts = || items.iter().map(plain).collect::<Vec<_>>();
    match kind {
        "hash" => {
            let all = texts();
            let fields = all.chunks(2).map(|pair| (pair[0].clone(), document(&pair[1])));
            let mut fields: serde_json::Map<String, Value> = fields.collect();
            let word = name.split(':').next().unwrap_or_default();
            fields.retain(|field, value| match (word, field.as_str()) {
                // Only the counters that are on record, and what points to a memory that another
                // attempt has taken over.
                ("meta", field) => {
                    let counts = ["epoch", "seq", "event", "run", "paused", "notified", "stopping"].contains(&field);
                    counts && *value != json!(0)
                }
                ("attempt", "memory") => false,
                ("waiting", "batch_new") => *value != json!(0),
                _ => true,
            });
            if let (Some(text), "notification") = (fields.get_mut("text"), word) {
                // What changes is beside it.
                for changing in ["state", "attempts", "error", "ended_at"] {
                    text[changing] = Value::Null;
                }
            }
            Value::Object(fields)
        }
        "set" => {
            let mut all = texts();
            all.sort();
            json!(all)
        }
        "list" => texts().iter().map(|text| document(text)).collect(),
        "stream" => {
            let entry = |entry: &redis::Value| {
                let redis::Value::Array(parts) = entry else { panic!("{entry:?}") };
                [json!(plain(&parts[0])), shown("event", "hash", &parts[1])]
            };
            items.iter().flat_map(entry).collect()
        }
        _ => json!(texts()),
    }
}

fn plain(value: &redis::Value) -> String {
    String::from_redis_value(value.clone()).unwrap()
}

/// The value of a text that is JSON, with lists in one order.
fn document(text: &str) -> Value {
    let mut value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    if value == json!({}) {
        // Lua writes an empty list so.
        value = json!([]);
    }
    if let Value::Array(items) = &mut value {
        items.sort_by_key(Value::to_string);
    }
    value
}

/// Adds the keys that are not the same.
fn differ(one: &BTreeMap<String, Value>, other: &BTreeMap<String, Value>, found: &mut Vec<String>) {
    for name in one.keys().chain(other.keys().filter(|name| !one.contains_key(*name))) {
        if one.get(name) != other.get(name) {
            found.push(format!("{name}: {:?} {:?}", one.get(name), other.get(name)));
        }
    }
}

#[async_trait]
impl StoreFactory for Moving {
    async fn open(&self) -> Arc<dyn MetadataStore> {
        let nth = self.opened.fetch_add(1, Ordering::Relaxed);
        let here = self.place(nth, "moved");
        if nth > 0 {
            let (from, to, further) = (self.place(nth - 1, "moved"), here.clone(), self.place(nth + 1, "further"));
            let back = self.place(nth + 2, "back");
            let found = Arc::clone(&self.found);
            let work = tokio::task::spawn_blocking(move || {
                let copied = moved(&from, &to);
                assert_eq!(copied, moved(&to, &further), "{to:?}");
                // The scripts of the copy make what those of a host have made.
                if matches!(from, StoreSpec::Redis { .. }) {
                    assert_eq!(copied, moved(&further, &back), "{back:?}");
                    differ(&keys(&from), &keys(&back), &mut found.lock().unwrap().differ);
                }
                for of in copied {
                    *found.lock().unwrap().counts.entry(of.kind).or_default() += of.count;
                }
            });
            work.await.unwrap();
        }
        open(&here, Durability::Normal, now()).await.unwrap().store
    }
}

/// Each case of the suite makes a history, and some go on with it after a restart. Together they
/// have records of every kind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_histories_of_all_cases_go_on_in_stores_of_other_kinds() {
    let found = Arc::<Mutex<Found>>::default();
    for (history, case) in (0..).zip(CASES) {
        eprintln!("{case}");
        let (folder, opened) = (tempfile::tempdir().unwrap(), AtomicU32::new(0));
        let moving = Moving { folder, history, opened, found: Arc::clone(&found) };
        let mut world = World::new(Box::new(moving)).await;
        run_case(case, &mut world).await;
        world.restart().await;
    }
    let Found { counts, differ } = &*found.lock().unwrap();
    assert!(differ.is_empty(), "{differ:#?}");
    let none: Vec<_> = KINDS.iter().filter(|kind| counts.get(kind.name).is_none_or(|count| *count == 0)).collect();
    assert!(none.is_empty(), "no case has records of these kinds: {none:?}");
}
