//! What a server must be so that a write that it has confirmed is never lost.

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, ServerErrorKind, Value};

use super::reply::reason;

/// The oldest version that has all that the scripts use, and does not begin a script that it could
/// not complete for want of memory.
const OLDEST: (u32, u32) = (7, 0);

/// The settings without which a confirmed write could be lost, or a record be dropped. With the
/// last one, a server that rewrites its file syncs nothing meanwhile.
const SETTINGS: [(&str, &str); 4] = [
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    ("maxmemory-policy", "noeviction"),
    ("no-appendfsync-on-rewrite", "no"),
];

/// Why a server cannot have the records.
#[derive(Debug)]
pub(super) enum Unfit {
    /// It does not answer.
    Unreachable(RedisError),
    /// It answers, and this is wrong with it: the end of a sentence that begins with "because".
    Because(String),
}

impl From<RedisError> for Unfit {
    fn from(error: RedisError) -> Self {
        Self::Unreachable(error)
    }
}

/// Checks a server.
pub(super) async fn check(connection: &mut MultiplexedConnection) -> Result<(), Unfit> {
    check_version(connection).await?;
    check_settings(connection).await
}

async fn check_version(connection: &mut MultiplexedConnection) -> Result<(), Unfit> {
    let text = match redis::cmd("INFO").arg("server").query_async(connection).await? {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::VerbatimString { text, .. } => text,
        _ => String::new(),
    };
    let version = text.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").trim();
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= OLDEST {
        return Ok(());
    }
    let (major, minor) = OLDEST;
    Err(Unfit::Because(format!("the server's version is {version}; it must be {major}.{minor} or newer")))
}

async fn check_settings(connection: &mut MultiplexedConnection) -> Result<(), Unfit> {
    let mut ask = redis::cmd("CONFIG");
    ask.arg("GET").arg(&SETTINGS.map(|(name, _)| name));
    let found: HashMap<String, String> = ask.query_async(connection).await.map_err(|error| match error.kind() {
        redis::ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::ResponseError) => {
            Unfit::Because(untold(&reason(&error)))
        }
        _ => Unfit::Unreachable(error),
    })?;
    let mut wrong = Vec::new();
    for (name, wanted) in SETTINGS {
        match found.get(name) {
            Some(value) if value == wanted => {}
            Some(value) => wrong.push(format!("`{name}` is `{value}`, and must be `{wanted}`")),
            None => return Err(Unfit::Because(untold("it does not answer CONFIG GET"))),
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Unfit::Because(format!(
        "the server may lose what it has confirmed: {}; set this in redis.conf, or by `redis-cli CONFIG SET` and then `CONFIG \
         REWRITE`",
        wrong.join("; ")
    )))
}

fn untold(why: &str) -> String {
    let wanted = SETTINGS.map(|(name, value)| format!("`{name} {value}`")).join(", ");
    format!(
        "the server does not tell its settings: {why}; permit `CONFIG GET` to this user: Anacostia has to see {wanted}"
    )
}
