//! The only integration-test binary, because every further one would link the engine again. There
//! is one file per subject; shared code is in `support`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::assigning_clones,
    clippy::format_collect,
    clippy::format_push_string,
    reason = "a test that meets what it does not expect ends there, loudly, and is read more often than it runs"
)]
#![expect(clippy::duplicate_mod, reason = "the tests of the scheduler run over each kind of metadata store")]

mod advice;
mod alert;
mod approvals;
mod breaking;
mod browser;
mod cache;
mod cli;
mod cli_and_http;
mod command;
mod concurrency;
mod conformance;
mod crash;
mod dev;
mod docs;
mod docs_keys;
mod docs_links;
mod docs_usage;
mod faults;
mod faults_sqlite;
mod folder;
mod fuzz;
mod hooks;
mod hostile;
mod house;
mod http;
mod http_answers;
mod http_base_path;
mod http_content;
mod http_events;
mod http_fake;
mod http_guard;
mod http_login;
mod http_nginx;
mod http_page;
mod http_resource;
mod http_runs;
mod http_slow;
mod http_store;
mod http_support;
mod http_tls;
mod inspect;
mod languages;
mod limits;
mod loaded;
mod lost;
mod manifest;
mod new;
mod notify;
mod openapi;
mod openlineage;
mod outbound;
mod over_postgres;
mod over_redis;
mod page_action;
mod page_metrics;
mod page_pipeline;
mod page_resource;
mod page_run;
mod page_runs;
mod page_settings;
mod page_trigger;
mod pauses;
mod penguins;
mod polyglot;
mod postgres_password;
mod postgres_store;
mod power_cut;
mod programs;
mod proxy;
mod publishing;
mod publishing_sqlite;
mod python;
mod python_client;
mod redis_store;
mod renaming;
mod replay;
mod restart;
mod retention;
mod retry_from;
mod runs;
mod runs_diff;
mod s3;
mod sandbox;
mod schema;
mod schemathesis;
mod signals;
mod simplest;
mod space;
mod sql;
mod sql_views;
mod store_upkeep;
mod streams;
mod support;
mod trigger_languages;
mod triggers;
mod waiting;
