//! Reads all records of a store, and makes a store from those of another one.
//!
//! Redis shows no client the records as of one moment. So a store is only copied while no host has
//! it, and each page is refused if anything was written since the copy began.
//!
//! A copy is written in pages, a script each. Until it is complete, the key `copy` names the other
//! store, and no host opens it. Its token tells this copy from another one that has begun since,
//! because this process was silent for long: then nothing of this one is written any more.

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::connect::{Link, Place};
use super::reply::{Fail, Reply, Work};
use super::scripts::{COPY, LEASE};
use super::{copied, lease, open};
use crate::base::{Timestamp, WriteId};
use crate::manifest::SecretSource;
use crate::store::copy::{self, DOING, KINDS, Record, RecordKind, RecordSource, RecordTarget};
use crate::store::rival::Rival;
use crate::store::{Holder, Result, StoreError};

/// How long the place of a copy is kept for this process after it was last heard of, in
/// milliseconds of the server.
const VALID_MS: u64 = 30_000;

/// The keys that are not records: whose place it is, and until when.
const NO_RECORDS: [&str; 3] = ["copy", "lease", "host"];

/// A connection that reads all records, and the runtime on which it does so.
#[derive(Debug)]
pub(in crate::store) struct RedisRecords {
    place: Place,
    link: Link,
    runtime: Runtime,
    /// How many writes there were. It does not change while records are read.
    writes: String,
    /// The token of the copy that the records are to become; empty if they are a store.
    token: String,
    reading: Option<Reading>,
}

/// Where the reading is.
#[derive(Debug)]
struct Reading {
    kind: &'static RecordKind,
    /// The place after which the next page begins; empty after the last one.
    after: String,
}

impl RedisRecords {
    /// Connects to the store. `None` if nothing was ever recorded there. Not for work on a runtime.
    ///
    /// # Errors
    /// As [`RedisStore::open_read_only`](super::RedisStore::open_read_only);
    /// [`StoreError::Invalid`] if a host has the store.
    pub(in crate::store) fn open(url: &str, password: Option<&SecretSource>, prefix: &str) -> Result<Option<Self>> {
        let mut records = Self::connect(url, password, prefix)?;
        let standing = records.work(lease::look(&records.link))?;
        let Some(standing) = standing else { return Ok(None) };
        if let Some(holder) = standing.holder.filter(|holder| !holder.has_ended()) {
            return Err(StoreError::Invalid(format!(
                "{} is in use by {holder}, and Redis shows no records as of one moment while a host writes them; stop that host, \
                 and copy them then",
                records.place
            )));
        }
        records.writes = standing.writes.to_string();
        Ok(Some(records))
    }

    fn connect(url: &str, password: Option<&SecretSource>, prefix: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| StoreError::Unavailable { doing: DOING.to_owned(), why: error.to_string() })?;
        let place = Place::of(url, password, prefix)?;
        let link = runtime.block_on(Link::open(place.clone()))?;
        Ok(Self { place, link, runtime, writes: "0".to_owned(), token: String::new(), reading: None })
    }

    fn work<T>(&self, work: impl Future<Output = Work<T>>) -> Result<T> {
        self.told(self.runtime.block_on(work))
    }

    fn told<T>(&self, done: Work<T>) -> Result<T> {
        done.map_err(|fail| self.place.name(fail.into_store(DOING)))
    }

    /// Executes a method of a copy, and returns its answer.
    fn call(&mut self, method: &str, arguments: Value) -> Result<Reply> {
        let more = [self.token.clone(), self.writes.clone(), VALID_MS.to_string()];
        let answer = self.work(async { self.link.call(&COPY, method, arguments, &more).await?.list() })?;
        let mut answer = answer.into_iter();
        let mut next = || answer.next().unwrap_or(Reply::Nothing);
        let place = &self.place;
        match self.told(next().text())?.as_str() {
            "done" => {
                self.writes = self.told(next().text())?;
                Ok(next())
            }
            "lost" => Err(StoreError::Conflict(format!(
                "another `anacostia store copy` makes a copy at {place} since, because this one was silent for long; nothing of \
                 this one is used"
            ))),
            _ => Err(StoreError::Conflict(format!(
                "the records of {place} changed while they were copied, because a host was started there; stop it, and run \
                 the same `anacostia store copy` again"
            ))),
        }
    }

    /// Reads the next page of a kind: the place after which the next one begins, and the records,
    /// or how many.
    fn page(&mut self, Reading { kind, after }: &Reading, only_count: bool) -> Result<(String, Reply)> {
        let arguments = json!({ "kind": kind.name, "after": after, "only_count": only_count });
        let answer = self.call("page", arguments)?;
        let [after, found] = self.told(answer.parts())?;
        Ok((self.told(after.text())?, found))
    }
}

impl Reading {
    /// The beginning of a kind.
    fn of(kind: &'static RecordKind) -> Self {
        Self { kind, after: "0".to_owned() }
    }
}

impl RecordSource for RedisRecords {
    fn count(&mut self) -> Result<u64> {
        let mut all = 0;
        for mut reading in KINDS.iter().map(Reading::of) {
            while !reading.after.is_empty() {
                let (after, count) = self.page(&reading, true)?;
                all += self.told(count.value::<u64>())?;
                reading.after = after;
            }
        }
        Ok(all)
    }

    fn begin(&mut self, kind: &'static RecordKind) -> Result<()> {
        self.reading = Some(Reading::of(kind));
        Ok(())
    }

    fn next(&mut self) -> Result<Vec<Record>> {
        while let Some(reading) = self.reading.take_if(|reading| !reading.after.is_empty()) {
            let kind = reading.kind;
            let (after, found) = self.page(&reading, false)?;
            self.reading = Some(Reading { kind, after });
            let records = self.told(found.each(|reply| copied::record(kind, &reply.row()?)))?;
            if !records.is_empty() {
                return Ok(records);
            }
        }
        Ok(Vec::new())
    }
}

/// Keys that take the records of another store.
#[derive(Debug)]
pub(in crate::store) struct RedisCopy(RedisRecords);

impl RedisCopy {
    /// Begins a copy of the store `from`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if there are records already, or the server may lose some;
    /// [`StoreError::InUse`] if another process has the place.
    pub(in crate::store) fn begin(
        url: &str,
        password: Option<&SecretSource>,
        prefix: &str,
        from: &str,
        now: Timestamp,
    ) -> Result<Self> {
        let mut records = RedisRecords::connect(url, password, prefix)?;
        records.runtime.block_on(open::check_server(&records.link, &records.place))?;
        records.work(refuse_other_keys(&records.link, &records.place))?;
        records.token = WriteId::new().to_string();
        records.runtime.block_on(reserve(&records, from, now))?;
        records.work(remove_records(&records.link, &records.place))?;
        Ok(Self(records))
    }
}

impl RecordTarget for RedisCopy {
    fn records(&mut self) -> &mut dyn RecordSource {
        &mut self.0
    }

    fn write(&mut self, kind: &'static RecordKind, records: &[Record]) -> Result<()> {
        let records = records.iter().map(|record| copied::arguments(kind, record)).collect::<Work<Vec<_>>>();
        let records = self.0.told(records)?;
        let written = self.0.call("fill", json!({ "kind": kind.name, "records": records }));
        written.map(drop).map_err(|error| match error {
            StoreError::Invalid(why) => {
                StoreError::Invalid(format!("{} cannot have a record of `{}`: {why}", self.0.place, kind.name))
            }
            other => other,
        })
    }

    fn complete(mut self: Box<Self>) -> Result<()> {
        self.0.call("complete", json!({ "schema": lease::SCHEMA })).map(drop)
    }
}

/// Makes the keys the place of a copy. If another process has them, waits until that has renewed
/// its lease or has ended, which takes a few seconds at most.
async fn reserve(RedisRecords { place, link, token, .. }: &RedisRecords, from: &str, now: Timestamp) -> Result<()> {
    let mut rival = Rival::default();
    let holder = Holder::this_host(now);
    let failed = |fail: Fail| place.name(fail.into_store(DOING));
    loop {
        let holder = serde_json::to_string(&holder).map_err(|error| failed(error.into()))?;
        let stale = rival.stale().map(str::to_owned);
        let arguments = json!({ "from": from, "token": token, "holder": holder, "stale": stale, "valid": VALID_MS });
        let answer = link.call(&LEASE, "reserve", arguments, &[]).await.and_then(Reply::list).map_err(failed)?;
        let mut answer = answer.into_iter().map(|part| part.text().map_err(failed));
        let mut next = || answer.next().unwrap_or(Ok(String::new()));
        match next()?.as_str() {
            "reserved" => return Ok(()),
            "records" => return Err(copy::not_empty(&place.to_string())),
            _ => {
                let (lease, holder) = (next()?, next()?);
                if rival.is_running(lease, Some(&holder)).await {
                    let holder = Holder::describe(Some(&holder));
                    return Err(StoreError::InUse { store: place.to_string(), holder });
                }
            }
        }
    }
}

/// Refuses keys of another program, which a copy that begins anew would remove.
async fn refuse_other_keys(link: &Link, place: &Place) -> Work<()> {
    let mut cursor = None;
    let mut is_foreign = false;
    loop {
        let (next, keys) = link.keys(cursor).await?;
        for key in &keys {
            match place.without_prefix(key) {
                "meta" | "copy" => return Ok(()),
                key => is_foreign |= !NO_RECORDS.contains(&key),
            }
        }
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    if is_foreign { Err(lease::other_program().into()) } else { Ok(()) }
}

/// Removes what an earlier copy, which was not completed, has left.
async fn remove_records(link: &Link, place: &Place) -> Work<()> {
    let mut cursor = None;
    loop {
        let (next, mut keys) = link.keys(cursor).await?;
        keys.retain(|key| !NO_RECORDS.contains(&place.without_prefix(key)));
        if !keys.is_empty() {
            link.command(redis::cmd("UNLINK").arg(&keys)).await?;
        }
        cursor = next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Keys, now};
    use super::{KINDS, RedisCopy, RedisRecords};
    use crate::store::copy::{Field, RecordSource as _, RecordTarget as _};
    use crate::store::{MetadataStore as _, Result, StoreError};

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    fn source(keys: &Keys) -> Result<RedisRecords> {
        Ok(RedisRecords::open(&keys.url(), None, &keys.prefix)?.unwrap())
    }

    fn target(keys: &Keys) -> Result<RedisCopy> {
        RedisCopy::begin(&keys.url(), None, &keys.prefix, "elsewhere", now())
    }

    /// Writes the counters of a store.
    fn write(copy: &mut RedisCopy) -> Result<()> {
        let kind = &KINDS[0];
        copy.write(kind, &[kind.fields.iter().map(|_| Field::Int(7)).collect()])
    }

    #[test]
    fn a_store_is_copied_while_no_host_has_it() {
        let (keys, runtime) = (Keys::new(), runtime());
        let host = runtime.block_on(keys.host());
        let refused = source(&keys).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("{} is in use by process {} on ", keys.place(), std::process::id())));
        let why = ", and Redis shows no records as of one moment while a host writes them; stop that host, and copy them then";
        assert!(refused.ends_with(why), "{refused}");
        drop(host);
        let mut records = source(&keys).unwrap();
        records.begin(&KINDS[0]).unwrap();
        assert_eq!(records.next().unwrap().len(), 1);
        drop(runtime.block_on(keys.host()));
        records.begin(&KINDS[0]).unwrap();
        assert_eq!(
            records.next().unwrap_err().to_string(),
            format!(
                "the records of {} changed while they were copied, because a host was started there; stop it, and run the same \
                 `anacostia store copy` again",
                keys.place()
            )
        );
    }

    #[test]
    fn a_copy_is_no_store_before_it_is_complete_and_begins_anew() {
        let (keys, runtime) = (Keys::new(), runtime());
        let mut first = target(&keys).unwrap();
        write(&mut first).unwrap();
        let incomplete =
            format!("the metadata store is not readable: {}: it is to become a copy of elsewhere, ", keys.place());
        let refused = [runtime.block_on(keys.try_host()).unwrap_err(), source(&keys).unwrap_err()];
        for refused in refused.map(|error| error.to_string()) {
            assert!(refused.starts_with(&incomplete), "{refused}");
        }
        // Another copy sees that the first one goes on.
        let refused = std::thread::scope(|scope| {
            let second = scope.spawn(|| target(&keys).unwrap_err());
            while !second.is_finished() {
                write(&mut first).unwrap();
            }
            second.join().unwrap()
        });
        assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
        // The first one is silent until its lease ends.
        runtime.block_on(keys.command("SET {}:left behind"));
        runtime.block_on(keys.command("DEL {}:lease"));
        let mut second = target(&keys).unwrap();
        assert_eq!(
            write(&mut first).unwrap_err().to_string(),
            format!(
                "another `anacostia store copy` makes a copy at {} since, because this one was silent for long; nothing of this \
                 one is used",
                keys.place()
            )
        );
        let there = async |key: &str| keys.command(&format!("EXISTS {{}}:{key}")).await == redis::Value::Int(1);
        assert!(!runtime.block_on(there("left")) && !runtime.block_on(there("meta")));
        write(&mut second).unwrap();
        Box::new(second).complete().unwrap();
        assert!(!runtime.block_on(there("copy")) && !runtime.block_on(there("lease")));
        assert_eq!(runtime.block_on(keys.host()).epoch(), 8);
        assert_eq!(
            target(&keys).unwrap_err().to_string(),
            format!(
                "{} has records already; copy to a store in which nothing is on record yet: name another one, or remove this one \
                 first",
                keys.place()
            )
        );
    }

    #[test]
    fn keys_of_another_program_are_no_place_for_a_copy() {
        let (keys, runtime) = (Keys::new(), runtime());
        runtime.block_on(keys.command("SET {}:theirs x"));
        assert_eq!(
            target(&keys).unwrap_err().to_string(),
            format!(
                "the metadata store is not readable: {}: they belong to another program; set `metadata_store.prefix` to a name \
                 that is not in use yet",
                keys.place()
            )
        );
        assert_eq!(runtime.block_on(keys.command("EXISTS {}:theirs {}:copy")), redis::Value::Int(1));
    }

    #[test]
    fn a_number_that_the_store_cannot_have_is_refused() {
        let keys = Keys::new();
        let mut copy = target(&keys).unwrap();
        let kind = &KINDS[0];
        let refused = copy.write(kind, &[kind.fields.iter().map(|_| Field::Int(i64::MAX)).collect()]);
        let why = "9223372036854775807 is too large: numbers are at most 9007199254740992";
        assert_eq!(
            refused.unwrap_err().to_string(),
            format!("{} cannot have a record of `{}`: {why}", keys.place(), kind.name)
        );
    }
}
