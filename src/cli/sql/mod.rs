//! `anacostia sql`: answers a query over the records.

mod parquet;
mod table;
mod text;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::load::{PathArg, load_for_records};
use super::{End, Failure, open, out};
use crate::store::{RowSink, Value, Views};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The query: one SELECT over artifacts, attempts, lineage, metrics, params, runs and tags
    query: String,
    #[command(flatten)]
    path: PathArg,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Form {
    /// Print each row as a line of JSON
    #[arg(long)]
    json: bool,
    /// Print the rows as CSV, with a header
    #[arg(long)]
    csv: bool,
    /// Write the rows as a Parquet file to standard output
    #[arg(long)]
    parquet: bool,
}

pub(crate) fn sql(args: &Args) -> Result<End, Failure> {
    let pipeline = load_for_records(&args.path)?;
    let mut views = open::views(&pipeline, &args.path.shown())?;
    let (views, query) = (views.as_mut(), args.query.as_str());
    match args.form {
        Form { json: true, .. } => text::json(views, query)?,
        Form { csv: true, .. } => text::csv(views, query)?,
        Form { parquet: true, .. } if out::person_reads() => {
            return Err(Failure::usage("Parquet is not text: send it to a file, as in `--parquet > rows.parquet`"));
        }
        Form { parquet: true, .. } => parquet::parquet(views, query)?,
        Form { .. } => table::table(views, query)?,
    }
    Ok(End::Well)
}

/// A form in which rows are printed.
trait Rows {
    /// Receives the names of the columns, before the first row.
    fn columns(&mut self, names: &[&str]) -> Result<(), Failure>;

    /// Receives the next row. Returns `false` if it needs no more.
    fn row(&mut self, values: &[Value<'_>]) -> Result<bool, Failure>;
}

/// Executes a query, and passes the result on.
fn ask(views: &mut dyn Views, query: &str, rows: &mut dyn Rows) -> Result<(), Failure> {
    let mut sink = Sink { rows, failed: None };
    views.query(query, &mut sink)?;
    sink.failed.map_or(Ok(()), Err)
}

/// Ends a query when its rows cannot be printed.
struct Sink<'a> {
    rows: &'a mut dyn Rows,
    failed: Option<Failure>,
}

impl Sink<'_> {
    fn go_on(&mut self, done: Result<bool, Failure>) -> ControlFlow<()> {
        match done {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => ControlFlow::Break(()),
            Err(failure) => {
                self.failed = Some(failure);
                ControlFlow::Break(())
            }
        }
    }
}

impl RowSink for Sink<'_> {
    fn columns(&mut self, names: &[&str]) -> ControlFlow<()> {
        let done = self.rows.columns(names).map(|()| true);
        self.go_on(done)
    }

    fn row(&mut self, values: &[Value<'_>]) -> ControlFlow<()> {
        let done = self.rows.row(values);
        self.go_on(done)
    }
}

/// Refuses columns of the same name, for forms that find a value by it.
fn unique(names: &[&str]) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(**name)) {
        None => Ok(()),
        Some(twice) => Err(Failure::usage(format!("two columns are named `{twice}`: give one another name with `AS`"))),
    }
}
