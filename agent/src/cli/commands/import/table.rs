//! Rows of a file, whatever its kind.

use std::io::{self, BufRead, Read};

use dunlin_sync::sample::{Field, Schema};

use super::{
    super::Exit,
    columns::Columns,
    row::Row,
    source::{Encoding, Source},
};
use crate::record::decode::{
    Reason, Record, Reject,
    infer::{CsvPlan, Hints, LINES_MAX, Line, Lines},
};

/// Bytes of the file from which it is understood.
const HEAD_BYTES_MAX: u64 = 1 << 20;

/// A file that is understood.
pub(super) enum Table {
    Csv(Box<Csv>),
    Parquet(Box<Columns>),
}

pub(super) struct Csv {
    pub(super) plan: CsvPlan,
    lines: Lines<Box<dyn BufRead>>,
    /// Comments in front of the rows.
    comments_in_front: u64,
    line: Line,
    /// What the name of the stream was, for which the tags are known.
    stream: String,
}

impl Table {
    /// Works out how to read `source` into `schema`.
    ///
    /// # Errors
    /// [`Exit::Usage`] if it cannot be read, with what to change.
    pub(super) fn open(
        source: &Source,
        schema: Option<&Schema>,
        hints: &Hints,
        encoding: Encoding,
    ) -> Result<Self, Exit> {
        let usage = |what: String| Exit::Usage(format!("{}: {what}", source.name));
        let failed = |error: io::Error| Exit::Failed(format!("{}: {error}", source.name));
        if source.is_parquet() {
            let columns = Columns::open(source.hashed(), schema, hints).map_err(usage)?;
            return Ok(Self::Parquet(Box::new(columns)));
        }
        let head = source.text(encoding).and_then(head).map_err(failed)?;
        if head.chars().take(64).any(|character| character == '\0') {
            return Err(usage(
                "holds zero bytes, so it is no text: if it is UTF-16 without a mark, add --encoding utf-16le"
                    .to_owned(),
            ));
        }
        let plan = CsvPlan::infer_with(&head, schema, hints);
        let mut plan = plan.map_err(|error| usage(error.to_string()))?;
        if plan.names_lost_characters() {
            return Err(usage(
                "the line that names the columns is not UTF-8: if the file comes from Excel or another \
                 Windows program, add --encoding windows-1252"
                    .to_owned(),
            ));
        }
        if !plan.is_settled() {
            let text = source.text(encoding).map_err(failed)?;
            let lines = plan.reader(text).map_err(failed)?;
            plan.settle(lines).map_err(failed)?;
        }
        let text = source.text(encoding).map_err(failed)?;
        let lines = plan.reader(text).map_err(failed)?;
        Ok(Self::Csv(Box::new(Csv {
            plan,
            comments_in_front: lines.comments(),
            lines,
            line: Line::default(),
            stream: String::new(),
        })))
    }

    /// Fields the schema does not have yet.
    pub(super) fn new_fields(&self) -> &[Field] {
        match self {
            Self::Csv(csv) => &csv.plan.new_fields,
            Self::Parquet(columns) => &columns.plan.new_fields,
        }
    }

    /// Whether it is one of our own exports.
    pub(super) fn is_own(&self) -> bool {
        match self {
            Self::Csv(csv) => csv.plan.own.is_some(),
            Self::Parquet(columns) => columns.plan.own.is_some(),
        }
    }

    /// Lines among the rows that are comments, as far as it is read.
    pub(super) fn comments(&self) -> u64 {
        match self {
            Self::Csv(csv) => csv.lines.comments() - csv.comments_in_front,
            Self::Parquet(_) => 0,
        }
    }

    /// Whether its rows have a time of their own.
    pub(super) fn has_time(&self) -> bool {
        match self {
            Self::Csv(csv) => csv.plan.time.is_some() || csv.plan.own.is_some(),
            Self::Parquet(columns) => columns.plan.time.is_some() || columns.plan.own.is_some(),
        }
    }

    /// How far it is read, of how much.
    pub(super) fn progress(&self) -> u64 {
        match self {
            Self::Csv(csv) => csv.lines.position(),
            Self::Parquet(columns) => columns.row(),
        }
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// In words, if the file cannot be read any further.
    pub(super) fn next(&mut self) -> Result<Option<Row>, String> {
        match self {
            Self::Csv(csv) => csv.next().map_err(|error| error.to_string()),
            Self::Parquet(columns) => columns.next(),
        }
    }
}

impl Csv {
    fn next(&mut self) -> io::Result<Option<Row>> {
        let Self {
            plan, lines, line, ..
        } = self;
        loop {
            if !lines.read(line)? {
                return Ok(None);
            }
            // Spreadsheets write empty rows as cells without anything in them.
            let is_blank = line.bad().is_none() && line.iter().all(|cell| cell.trim().is_empty());
            if !is_blank && !plan.is_header(line) {
                break;
            }
        }
        let from = line.number().saturating_sub(1);
        let mut row = Row {
            from,
            to: from + line.span,
            span: 1,
            is_time_doubtful: false,
            own: None,
            tags: Vec::new(),
            record: plan.record(line),
        };
        let source_ts = row.record.as_ref().ok().and_then(|record| record.source_ts);
        row.is_time_doubtful = source_ts.is_some_and(|ns| plan.is_time_doubtful(line, ns));
        // A stray quote takes the lines behind it along.
        if matches!(&row.record, Err(reject) if line.bad().is_some() || reject.reason == Reason::NotCsv)
        {
            row.span = line.span;
        }
        if row.record.is_ok() {
            match plan.own_row(line) {
                Ok(own) => row.own = own,
                Err(reject) => row.record = Err(reject),
            }
        }
        if let Some(own) = &row.own
            && own.stream != self.stream
        {
            row.tags = plan.own_tags(line);
            self.stream.clone_from(&own.stream);
        }
        let is_empty = |record: &Record| record.source_ts.is_none() && record.values.is_empty();
        if row.record.as_ref().is_ok_and(is_empty) {
            let detail = format!("line {}: nothing in it", line.number());
            row.record = Err(Reject::new(Reason::Empty, detail));
        }
        Ok(Some(row))
    }
}

/// The header and the first lines, whole.
///
/// # Errors
/// What the system said.
pub(in super::super) fn head(file: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(HEAD_BYTES_MAX).read_to_end(&mut bytes)?;
    let lines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let mut ends = lines.map(|(at, _)| at + 1);
    if let Some(end) = ends.by_ref().nth(LINES_MAX) {
        bytes.truncate(end);
    } else if bytes.len() as u64 == HEAD_BYTES_MAX {
        let last = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(last.map_or(0, |last| last + 1));
    }
    // A bad byte further down is one bad line; here it only must not hide the rest.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
