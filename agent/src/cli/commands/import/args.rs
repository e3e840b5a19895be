//! What `dunlin import` can be told.

use std::path::PathBuf;

use clap::Args;
use dunlin_sync::sample::FieldType;

use super::{
    super::{Exit, connection::ConnectionArgs},
    source::Encoding,
};
use crate::{
    base::source_time::{TimeFormat, TimeRule, TimeUnit, Zone},
    record::decode::infer::Hints,
};

const ABOUT: &str = "\
A file is known by its content: importing it into the same stream again stores nothing twice, also after an
import that was cut off, and says how many rows are there already. Rows that were refused are stored once they fit, with
another option or another [[stream]]. The newest 4,096 pairs of file and stream are remembered; --again remembers
nothing. Rows that cannot be stored are counted and named, and stop no others; the last line adds up:
read = stored + already there + refused. Exit codes: 0 everything is stored, 1 it failed, 2 wrong usage, 3 some rows were refused.

A file of `dunlin export` comes back as it was, into the streams that it names: fields, types, texts, source
times, splits and folds. What cannot come back: a timestamp is given only once, so records get new ones (`ts`),
and a record without a source time gets its old `ts` as that. The tag `device` is this device. CSV does not say
f32 (`--type NAME=f32`), nor the type of a column without a value; Parquet says both.

Texts are read as UTF-8, or as UTF-16 if they begin with its mark. Parquet: flat columns, with snappy or without
compression. gzip and zstd are unpacked on the way.";

/// Arguments of `dunlin import`.
#[derive(Args, Clone, Debug, Default)]
#[command(after_long_help = ABOUT)]
pub struct ImportArgs {
    /// CSV file whose first line names the columns, or Parquet file; `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Stream to import into: NAME, or NAME/TAG/... for a stream rule with captures; a file of `dunlin
    /// export` names its own
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
    /// Column with the time, by name or by number from 1; found by itself unless given. `DATE,TIME` for two
    /// columns
    #[arg(long, visible_alias = "time", value_name = "COLUMN")]
    pub time_column: Option<String>,
    /// How the time is written, such as '%d.%m.%Y %H:%M:%S', as `time_format` of a stream
    #[arg(long, value_name = "FORMAT")]
    pub time_format: Option<String>,
    /// Zone of times without an offset: local, UTC, +02:00, Europe/Berlin, as `time_zone` of a stream;
    /// UTC unless given
    #[arg(long, value_name = "ZONE", allow_hyphen_values = true)]
    pub time_zone: Option<String>,
    /// Unit of times that are numbers: s, ms, us or ns; told by their size unless given
    #[arg(long, value_name = "UNIT", value_parser = ["s", "ms", "us", "ns"])]
    pub time_unit: Option<String>,
    /// Separator, one character, or `tab`; found by itself unless given
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// What is before the fraction of a number: `comma` is found by itself only where nothing else can be meant
    #[arg(long, value_name = "MARK", value_parser = ["comma", "point"])]
    pub decimal: Option<String>,
    /// Lines that begin with this character are comments; `none` if there are none
    #[arg(long, value_name = "CHAR", default_value = "#", value_parser = comment)]
    pub comment: Comment,
    /// Lines in front of the header to pass over
    #[arg(long, value_name = "LINES", default_value_t = 0)]
    pub skip_lines: u64,
    /// Characters of the file
    #[arg(long, value_enum, default_value_t)]
    pub encoding: Encoding,
    /// Type of a column that is new: f64, f32, i64, bool or text
    #[arg(long = "type", value_name = "COLUMN=TYPE", value_parser = column_type)]
    pub types: Vec<(String, FieldType)>,
    /// Word that says that there is no value, such as 'Bad Input'; may be given more than once
    #[arg(long, value_name = "WORD")]
    pub missing: Vec<String>,
    /// Only show what was understood, the first rows and what would be refused
    #[arg(long)]
    pub dry_run: bool,
    /// Stop at the first row that cannot be stored
    #[arg(long)]
    pub strict: bool,
    /// Store all rows, also those that an import of the same file has stored
    #[arg(long)]
    pub again: bool,
    /// Which agent
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// What comments begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comment(pub Option<u8>);

impl Default for Comment {
    fn default() -> Self {
        Self(Some(b'#'))
    }
}

impl ImportArgs {
    /// What these say about the file.
    ///
    /// # Errors
    /// [`Exit::Usage`] if a time format or zone is none.
    pub(super) fn hints(&self) -> Result<Hints, Exit> {
        let usage = |flag: &str, what: String| Exit::Usage(format!("{flag} {what}"));
        let format = self.time_format.as_deref().map(TimeFormat::parse);
        let format = format
            .transpose()
            .map_err(|what| usage("--time-format", what))?;
        let zone = self.time_zone.as_deref().map(Zone::parse);
        let zone = zone
            .transpose()
            .map_err(|what| usage("--time-zone", what))?;
        let unit = match self.time_unit.as_deref() {
            Some("s") => TimeUnit::Seconds,
            Some("ms") => TimeUnit::Millis,
            Some("us") => TimeUnit::Micros,
            Some("ns") => TimeUnit::Nanos,
            _ => TimeUnit::BySize,
        };
        let is_given = format.is_some() || zone.is_some() || self.time_unit.is_some();
        Ok(Hints {
            delimiter: self.delimiter,
            time: self.time_column.clone(),
            time_rule: is_given.then(|| TimeRule {
                unit,
                zone: Some(zone.unwrap_or(Zone::UTC)),
                format,
            }),
            decimal_comma: self.decimal.as_deref().map(|mark| mark == "comma"),
            comment: self.comment.0,
            skip_lines: self.skip_lines,
            types: self.types.clone(),
            missing: self.missing.clone(),
        })
    }
}

/// A separator as people write it.
///
/// # Errors
/// What to write.
pub fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != b'"' => Ok(*byte),
        _ => Err("write one character such as , ; | or the word tab".into()),
    }
}

fn comment(text: &str) -> Result<Comment, String> {
    match text.as_bytes() {
        b"none" => Ok(Comment(None)),
        [byte] if byte.is_ascii_punctuation() && *byte != b'"' => Ok(Comment(Some(*byte))),
        _ => Err("write one character such as # or ; or the word none".into()),
    }
}

fn column_type(text: &str) -> Result<(String, FieldType), String> {
    let (name, kind) = text
        .rsplit_once('=')
        .ok_or("write COLUMN=TYPE, such as serial=text")?;
    let kind = match kind {
        "f64" => FieldType::F64,
        "f32" => FieldType::F32,
        "i64" => FieldType::I64,
        "bool" => FieldType::Bool,
        "text" => FieldType::Text,
        _ => return Err("the types are f64, f32, i64, bool and text".into()),
    };
    Ok((name.to_owned(), kind))
}
