//! Formats records for the terminal, with pure functions from records to text.
//!
//! The text always has colours; the output stream removes them if they are not wanted (no terminal,
//! `NO_COLOR`). The width is an argument. So a snapshot test sees exactly what a person sees, and
//! no function depends on where its text goes.

mod artifact;
mod banner;
mod empty;
mod event;
mod fit;
mod format;
mod held;
mod lineage;
mod log;
mod mark;
mod models;
mod notification;
mod pipeline;
mod requests;
mod run;
mod run_diff;
mod run_outputs;
mod run_rows;
mod steps;
mod table;
mod trigger;

pub(crate) use artifact::{ArtifactAbout, artifact_detail, artifact_list, artifacts_of_run};
pub(crate) use banner::banner;
pub(crate) use empty::nothing_yet;
pub(crate) use event::event_line;
pub(crate) use format::{ago, duration, plain, plural, short_digest, styles};
pub(crate) use held::is_paused;
pub(crate) use lineage::lineage_trees;
pub(crate) use log::log_line;
pub(crate) use mark::state_mark;
pub(crate) use models::{ModelAbout, model_detail, model_list};
pub(crate) use notification::notification_list;
pub(crate) use pipeline::pipeline_summary;
pub(crate) use run::{Seen, run_detail, run_list};
pub(crate) use run_diff::run_diff;
pub(crate) use run_outputs::RunOutputs;
pub(crate) use steps::{beside, next_steps, resume_command};
pub(crate) use table::{Cell, Column, Table};
pub(crate) use trigger::trigger_list;

#[cfg(test)]
pub(crate) use pipeline::tests::sample as sample_pipeline;
#[cfg(test)]
mod samples;
