//! Links two drafts of WASI for components that use them: `wasi:logging` writes to the attempt's
//! log, and `wasi:config` reads the action's params. They are linked by hand, because each draft
//! has only a few functions and no releases, and the names must match those in the component
//! exactly.

use serde_json::{Map, Value};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use crate::model::{LogLevel, LogStream};

use super::GuestState;

/// `wasi:logging`.
const LOGGING: &str = "wasi:logging/logging@0.1.0-draft";
/// `wasi:config`, with the two names that it has had.
const CONFIG: [&str; 2] = ["wasi:config/store@0.2.0-rc.1", "wasi:config/store@0.2.0-draft"];

/// Links both.
pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.instance(LOGGING)?.func_wrap("log", log)?;
    for name in CONFIG {
        let mut config = linker.instance(name)?;
        config.func_wrap("get", |mut store: StoreContextMut<'_, GuestState>, (key,): (String,)| {
            Ok((Ok::<_, ConfigError>(params(store.data_mut())?.get(&key).map(text)),))
        })?;
        config.func_wrap("get-all", |mut store: StoreContextMut<'_, GuestState>, (): ()| {
            let all: Vec<(String, String)> =
                params(store.data_mut())?.iter().map(|(key, value)| (key.clone(), text(value))).collect();
            Ok((Ok::<_, ConfigError>(all),))
        })?;
    }
    Ok(())
}

/// The levels of `wasi:logging`.
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[expect(dead_code, reason = "guests make them")]
#[component(enum)]
#[repr(u8)]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

fn log(
    mut store: StoreContextMut<'_, GuestState>,
    (level, context, message): (Level, String, String),
) -> wasmtime::Result<()> {
    let state = store.data_mut();
    state.gate.enter();
    let level = match level {
        Level::Trace | Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error | Level::Critical => LogLevel::Error,
    };
    let context = (!context.is_empty()).then(|| ("context".to_owned(), context));
    let fields: Vec<(String, String)> = context.into_iter().collect();
    state.log.guest(level, LogStream::Log, &message, &fields).map_err(wasmtime::Error::new)
}

/// The error type of `wasi:config`. This implementation does not fail.
#[derive(Debug, ComponentType, Lower)]
#[component(variant)]
enum ConfigError {
    #[component(name = "upstream")]
    #[expect(dead_code, reason = "the type must be that of the draft")]
    Upstream(String),
    #[component(name = "io")]
    #[expect(dead_code, reason = "the type must be that of the draft")]
    Io(String),
}

fn params(state: &mut GuestState) -> wasmtime::Result<Map<String, Value>> {
    state.gate.enter();
    Ok(serde_json::from_str(&state.order.params)?)
}

/// Returns a string as it is, and any other value as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
