//! Anacostia: a local-first MLOps pipeline runtime. Data arrives in a resource, sandboxed actions
//! work on it, and every run is on record.
//!
//! The modules form layers, called floors. Each imports only from lower floors
//! (`tests/suite/house.rs` checks that):
//!
//! | floor | module | job |
//! |---|---|---|
//! | 0 | [`base`] | value types, bounds, fault points |
//! | 1 | [`model`] | runs, attempts, artifacts, events and their states |
//! | 2 | [`manifest`] | `anacostia.toml` to a checked pipeline, or a diagnostic |
//! | 3 | [`graph`] | the order of the actions |
//! | 4 | [`store`] | what is on record |
//! | 4 | [`resource`] | where data is: watching, reading, staging, publishing |
//! | 5 | [`sandbox`] | running one component, within its grants and limits |
//! | 6 | [`scheduler`] | what runs when; recovery |
//! | 7 | [`http`] | inspecting and steering over HTTP |
//! | 7 | [`notify`] | telling people and programs what happened |
//! | 7 | [`ui`] | the pages |
//! | 8 | [`cli`] | the verbs; puts everything together |

pub mod base;
pub mod cli;
pub mod graph;
pub mod http;
pub mod manifest;
pub mod model;
pub mod notify;
pub mod resource;
pub mod sandbox;
pub mod scheduler;
pub mod store;
pub mod ui;
