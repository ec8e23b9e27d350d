//! Rows as a Parquet file.
//!
//! A Parquet file says the type of each column, and a column of SQL may have values of several
//! types. So the query is executed twice, on the same records: first to find the types, then to
//! write the values. Neither time are all rows in memory.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;

use super::{Rows, ask, unique};
use crate::base::double;
use crate::cli::{Failure, out};
use crate::store::{Value, Views};

/// The most rows of a row group, and about the most bytes of texts in one.
const GROUP_ROWS: usize = 1 << 16;
const GROUP_BYTES: usize = 16 << 20;

/// Writes the rows of a query to standard output.
pub(super) fn parquet(views: &mut dyn Views, query: &str) -> Result<(), Failure> {
    write(views, query, io::stdout())
}

fn write(views: &mut dyn Views, query: &str, to: impl Write + Send) -> Result<(), Failure> {
    let mut types = Types::default();
    ask(views, query, &mut types)?;
    let mut file = File::new(types, to).map_err(unwritten)?;
    ask(views, query, &mut file)?;
    file.end().map_err(unwritten)
}

fn unwritten(error: ParquetError) -> Failure {
    let error = match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    };
    out::unwritten(error).into()
}

/// The type of a column: the least that holds all of its values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It has no values.
    #[default]
    Nothing,
    Integer,
    Real,
    Text,
}

#[derive(Debug, Default)]
struct Types {
    names: Vec<String>,
    kinds: Vec<Kind>,
}

impl Rows for Types {
    fn columns(&mut self, names: &[&str]) -> Result<(), Failure> {
        unique(names)?;
        self.names = names.iter().map(|name| (*name).to_owned()).collect();
        self.kinds = vec![Kind::Nothing; names.len()];
        Ok(())
    }

    fn row(&mut self, values: &[Value<'_>]) -> Result<bool, Failure> {
        for (kind, value) in self.kinds.iter_mut().zip(values) {
            *kind = (*kind).max(match value {
                Value::Null => Kind::Nothing,
                Value::Integer(_) => Kind::Integer,
                Value::Real(_) => Kind::Real,
                Value::Text(_) => Kind::Text,
            });
        }
        Ok(true)
    }
}

/// The values of a column in one row group. A value is absent where its level is 0.
#[derive(Debug)]
struct Buffer {
    levels: Vec<i16>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Integers(Vec<i64>),
    Reals(Vec<f64>),
    Texts(Vec<ByteArray>),
}

impl Buffer {
    fn of(kind: Kind) -> Self {
        let values = match kind {
            Kind::Integer => Values::Integers(Vec::new()),
            Kind::Real => Values::Reals(Vec::new()),
            Kind::Text | Kind::Nothing => Values::Texts(Vec::new()),
        };
        Self { levels: Vec::new(), values }
    }

    /// Adds a value. Returns how many bytes of text it takes.
    fn push(&mut self, value: &Value<'_>) -> usize {
        let mut bytes = 0;
        let is_there = match (&mut self.values, value) {
            (_, Value::Null) => false,
            (Values::Texts(values), value) => {
                let text = text(value);
                bytes = text.len();
                values.push(ByteArray::from(text.into_bytes()));
                true
            }
            (Values::Integers(values), Value::Integer(value)) => {
                values.push(*value);
                true
            }
            (Values::Reals(values), Value::Real(value)) => {
                values.push(*value);
                true
            }
            #[expect(clippy::cast_precision_loss, reason = "the column has values that are no integers")]
            (Values::Reals(values), Value::Integer(value)) => {
                values.push(*value as f64);
                true
            }
            // Not reached: the first execution has found the types of the same values.
            (Values::Integers(_) | Values::Reals(_), _) => false,
        };
        self.levels.push(i16::from(is_there));
        bytes
    }

    fn write(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = Some(self.levels.as_slice());
        match &mut self.values {
            Values::Integers(values) => column.typed::<Int64Type>().write_batch(values, levels, None)?,
            Values::Reals(values) => column.typed::<DoubleType>().write_batch(values, levels, None)?,
            Values::Texts(values) => column.typed::<ByteArrayType>().write_batch(values, levels, None)?,
        };
        self.levels.clear();
        match &mut self.values {
            Values::Integers(values) => values.clear(),
            Values::Reals(values) => values.clear(),
            Values::Texts(values) => values.clear(),
        }
        Ok(())
    }
}

fn text(value: &Value<'_>) -> String {
    match value {
        Value::Null => String::new(),
        Value::Integer(value) => value.to_string(),
        Value::Real(value) => double::text(*value),
        Value::Text(value) => (*value).to_owned(),
    }
}

/// A file that is being written.
struct File<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Buffer>,
    rows: usize,
    bytes: usize,
}

impl<W: Write + Send> File<W> {
    fn new(types: Types, to: W) -> Result<Self, ParquetError> {
        let Types { names, kinds } = types;
        let fields = names.iter().zip(&kinds).map(|(name, kind)| Ok(Arc::new(field(name, *kind)?)));
        let fields = fields.collect::<Result<Vec<_>, ParquetError>>()?;
        let schema = Type::group_type_builder("rows").with_fields(fields).build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("anacostia ", env!("CARGO_PKG_VERSION")).to_owned());
        let writer = SerializedFileWriter::new(to, Arc::new(schema), Arc::new(properties.build()))?;
        Ok(Self { writer, columns: kinds.into_iter().map(Buffer::of).collect(), rows: 0, bytes: 0 })
    }

    /// Writes a row group.
    fn flush(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for buffer in &mut self.columns {
            let Some(mut column) = group.next_column()? else { break };
            buffer.write(&mut column)?;
            column.close()?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    fn end(mut self) -> Result<(), ParquetError> {
        if self.rows > 0 {
            self.flush()?;
        }
        self.writer.close().map(drop)
    }
}

fn field(name: &str, kind: Kind) -> Result<Type, ParquetError> {
    let (physical, logical) = match kind {
        Kind::Integer => (PhysicalType::INT64, None),
        Kind::Real => (PhysicalType::DOUBLE, None),
        Kind::Text | Kind::Nothing => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let field = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
    field.with_logical_type(logical).build()
}

impl<W: Write + Send> Rows for File<W> {
    fn columns(&mut self, _: &[&str]) -> Result<(), Failure> {
        Ok(())
    }

    fn row(&mut self, values: &[Value<'_>]) -> Result<bool, Failure> {
        self.bytes += self.columns.iter_mut().zip(values).map(|(buffer, value)| buffer.push(value)).sum::<usize>();
        self.rows += 1;
        if self.rows == GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.flush().map_err(unwritten)?;
        }
        Ok(true)
    }
}
