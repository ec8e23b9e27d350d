//! Floor 8: the command line. Each verb has its own file; [`show`] formats output, [`mod@load`]
//! loads the pipeline that a PATH names.
//!
//! The functions of [`show`] format output for people. Output for programs (`--json`) has the shape
//! of the HTTP interface. Results go to standard output, progress and messages to standard error,
//! so that both can be piped. A verb exits with 0 on success, with 1 if work failed, and with 2 for
//! an invalid request: wrong usage, or a manifest that cannot be run.

mod artifacts;
mod build;
mod check;
mod component;
mod dev;
mod dry_run;
mod failure;
mod gc;
mod load;
mod loaded;
mod models;
mod new;
mod notifications;
mod open;
mod out;
mod pause;
mod progress;
mod records;
mod remote;
mod replay;
mod run;
mod runs;
mod runtime;
mod schema;
mod show;
mod sources;
mod sql;
mod trigger;
mod triggers;
mod upkeep;
mod writer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::base::memory;
pub use crate::base::memory::Allocator;
use crate::sandbox::{COMPILE_VERB, compiler_main};
use failure::Failure;

/// Runs pipelines of sandboxed WASI components over local data, and records every run.
#[derive(Debug, Parser)]
#[command(name = "anacostia", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 success, 1 work failed, 2 wrong usage or a manifest that cannot be run.\n\
                          Environment: ANACOSTIA_LOG (off, error, warn, info, debug, trace) sets how much the host logs, \
                          ANACOSTIA_TOKEN is the token for a host that asks for one, NO_COLOR turns colours off.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a project that is ready to build and run
    New(new::Args),
    /// Check a manifest, and show what it means
    Check(check::Args),
    /// Build the components whose sources have changed
    Build(build::Args),
    /// Run a pipeline: watch its resources, run its actions, serve HTTP
    Run(run::Args),
    /// Run a pipeline, and rebuild and swap in each action whose sources change
    Dev(dev::Args),
    /// Start a run by hand, on the running host
    Trigger(trigger::Args),
    /// Pause the pipeline, a resource or an action: what arrives or is due meanwhile waits
    Pause(pause::PauseArgs),
    /// End a pause
    Resume(pause::ResumeArgs),
    /// Show what each trigger would do now, why, and when it could fire next
    Triggers(triggers::Args),
    /// Do the work of a run again in a scratch folder, and compare the outputs
    Replay(replay::Args),
    /// Look at runs, and steer them
    #[command(subcommand)]
    Runs(runs::Verb),
    /// Show artifacts, and get their content
    #[command(subcommand)]
    Artifacts(artifacts::Verb),
    /// Look at registered models, and say which version is in use
    #[command(subcommand)]
    Models(models::Verb),
    /// Show notifications: what was sent, to whom, and whether it arrived
    Notifications(notifications::Args),
    /// Ask the records with SQL
    Sql(sql::Args),
    /// Look after the metadata store: sizes, checks, backups
    #[command(subcommand)]
    Store(upkeep::Verb),
    /// Free disk space that is no longer needed
    Gc(gc::Args),
    /// Print the JSON Schema of `anacostia.toml`, for editors
    Schema(schema::Args),
    /// Inspect components
    #[command(subcommand)]
    Component(component::Verb),
    /// Compile a component, within bounds; used by the sandbox
    #[command(name = COMPILE_VERB, hide = true)]
    Compile {
        /// Where the code goes
        out: PathBuf,
    },
}

/// How long the process waits at its end for a reader that reads nothing.
const READER_PATIENCE: Duration = Duration::from_secs(2);

/// How a verb without an error ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All went well.
    Well,
    /// It did its work, and reports work that failed, such as a run.
    WorkFailed,
}

/// Parses the arguments and runs the verb. `allocator` is the binary's.
#[must_use]
pub fn main(allocator: Allocator) -> ExitCode {
    memory::set_allocator(allocator);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A failure to print cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let end = match cli.verb {
        Verb::New(args) => new::new(&args),
        Verb::Check(args) => check::check(&args),
        Verb::Build(args) => build::build(&args),
        Verb::Run(args) => run::run(&args),
        Verb::Dev(args) => dev::dev(&args),
        Verb::Trigger(args) => trigger::trigger(&args),
        Verb::Pause(args) => pause::pause(&args),
        Verb::Resume(args) => pause::resume(&args),
        Verb::Triggers(args) => triggers::triggers(args),
        Verb::Replay(args) => replay::replay(&args),
        Verb::Runs(verb) => runs::runs(verb),
        Verb::Artifacts(verb) => artifacts::artifacts(verb),
        Verb::Models(verb) => models::models(verb),
        Verb::Notifications(args) => notifications::notifications(args),
        Verb::Sql(args) => sql::sql(&args),
        Verb::Store(verb) => upkeep::upkeep(&verb),
        Verb::Gc(args) => gc::gc(&args),
        Verb::Schema(args) => schema::schema(&args),
        Verb::Component(verb) => component::component(verb),
        Verb::Compile { out } => return compiler_main(&out),
    };
    let (code, patience) = match end {
        Ok(End::Well) => (ExitCode::SUCCESS, READER_PATIENCE),
        Ok(End::WorkFailed) => (ExitCode::from(1), READER_PATIENCE),
        Err(failure) => (failure.report(), READER_PATIENCE / 10),
    };
    out::finish(patience);
    code
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_argument_definitions_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
