//! What was understood of a file, and what its first rows would be stored as.

use dunlin_sync::sample::{Field, Value};

use super::{row::Row, send::Imported, table::Table};
use crate::{
    admin::operations::Target,
    base::{
        source_time::TimeUnit,
        text::{self, quoted},
    },
    record::{
        decode::infer::{OwnColumns, TimeFormat},
        writer::Imported as Done,
    },
};

/// Said of a file without a column of times.
pub(super) const NO_TIME: &str = "none found: records get the time of the import only; name the column with \
                                  --time-column, and its form with --time-format if it is another";
/// Rows shown.
const ROWS_SHOWN: usize = 5;

/// What a dry run sees.
#[derive(Default)]
pub(super) struct Preview {
    rows: Vec<String>,
    first_ns: Option<i64>,
    last_ns: Option<i64>,
    pub(super) imported: Imported,
}

impl Preview {
    /// Takes a row as an import would.
    pub(super) fn take(&mut self, row: Row, fields: &[Field], done: &Done) {
        self.imported.read += row.span;
        let record = match row.record {
            Ok(record) => record,
            Err(reject) => return self.imported.refuse(reject, row.span),
        };
        self.imported.doubtful_times += u64::from(row.is_time_doubtful);
        self.imported.timeless += u64::from(record.source_ts.is_none());
        if let Some(ns) = record.source_ts {
            self.first_ns = Some(self.first_ns.map_or(ns, |first| first.min(ns)));
            self.last_ns = Some(self.last_ns.map_or(ns, |last| last.max(ns)));
        }
        if row.from < done.rows && !done.refused.contains(row.from) {
            self.imported.already += row.span;
        } else {
            self.imported.records += 1;
        }
        if self.rows.len() < ROWS_SHOWN {
            let time = record.source_ts.map_or("no time".to_owned(), time);
            let values = record.values.iter().filter_map(|(place, value)| {
                let name = &fields.get(place)?.name;
                Some(format!("{name}={}", shown(value)))
            });
            let stream = row
                .own
                .map_or(String::new(), |own| format!("  {}", own.stream));
            let values: Vec<String> = values.collect();
            self.rows
                .push(format!("  {time}{stream}  {}", values.join(" ")));
        }
    }

    /// In words.
    pub(super) fn text(&self) -> String {
        let mut lines = vec!["first rows".to_owned()];
        lines.extend(self.rows.iter().cloned());
        if let (Some(first), Some(last)) = (self.first_ns, self.last_ns) {
            lines.push(format!("span       {} to {}", time(first), time(last)));
        }
        lines.join("\n")
    }
}

fn time(ns: i64) -> String {
    let time = jiff::Timestamp::from_nanosecond(ns.into());
    time.map(|time| time.to_string()).unwrap_or_default()
}

fn shown(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::F64(value) => format!("{value:?}"),
        Value::F32(value) => format!("{value:?}"),
        Value::Text(value) => quoted(value),
    }
}

/// What was understood.
pub(super) fn describe(stream: &str, target: &Target, table: &Table) -> String {
    let mut lines = vec![format!(
        "stream     {stream} (table {})",
        target.schema.name
    )];
    match table {
        Table::Csv(csv) => {
            let plan = &csv.plan;
            let separator = match plan.delimiter {
                b'\t' => "tab".to_owned(),
                byte => format!("`{}`", char::from(byte)),
            };
            let decimal = if plan.has_decimal_comma {
                ", decimal comma"
            } else {
                ""
            };
            lines.push(format!("separator  {separator}{decimal}"));
            lines.push(match (&plan.time, &plan.own) {
                (Some(time), _) => {
                    let second = time.second.map(|at| format!(" and {}", at + 1));
                    format!(
                        "time       column {}{} ({}), kept as source_ts",
                        time.column + 1,
                        second.unwrap_or_default(),
                        written(&time.format)
                    )
                }
                (None, own) => no_time(own.as_ref()),
            });
            let columns = plan.columns.iter();
            lines.extend(fields(
                columns.map(|(at, field)| (*at, field)),
                &plan.new_fields,
            ));
        }
        Table::Parquet(columns) => {
            let plan = &columns.plan;
            lines.push("format     Parquet".to_owned());
            lines.push(match plan.time {
                Some(column) => format!("time       column {}, kept as source_ts", column + 1),
                None => no_time(plan.own.as_ref()),
            });
            let all = plan.columns.iter();
            lines.extend(fields(
                all.map(|(at, field, _)| (*at, field)),
                &plan.new_fields,
            ));
            if !columns.left_out.is_empty() {
                lines.push(format!("left out   {}", columns.left_out.join(", ")));
            }
        }
    }
    lines.extend(notes(table));
    lines.join("\n")
}

/// What somebody may not have meant.
pub(super) fn notes(table: &Table) -> Vec<String> {
    let Table::Csv(csv) = table else {
        return Vec::new();
    };
    let doubtful = csv.plan.doubtful.iter();
    let note = |(name, cell): &(String, String)| {
        let new = csv.plan.new_fields.iter().any(|field| field.name == *name);
        new.then(|| {
            format!(
                "note: column {name} becomes text for cells such as {}; --missing {cell:?} takes that for no \
                 value, --type {:?} refuses the rows",
                quoted(cell),
                format!("{name}=f64")
            )
        })
    };
    doubtful.filter_map(note).collect()
}

fn no_time(own: Option<&OwnColumns>) -> String {
    match own {
        Some(_) => {
            "an export of dunlin: source_ts, or else ts, is kept as source_ts; splits are kept"
                .to_owned()
        }
        None => format!("time       {NO_TIME}"),
    }
}

fn fields<'f>(
    columns: impl Iterator<Item = (usize, &'f Field)>,
    new_fields: &[Field],
) -> Vec<String> {
    let mut lines = vec!["fields".to_owned()];
    for (column, field) in columns {
        let is_new = new_fields.iter().any(|new| new.name == field.name);
        let new = if is_new { "  new" } else { "" };
        lines.push(format!(
            "  column {:<4} {:<5} {}{new}",
            column + 1,
            field.kind.name(),
            field.name
        ));
    }
    lines
}

fn written(format: &TimeFormat) -> String {
    match format {
        TimeFormat::Rfc3339 => "RFC 3339".to_owned(),
        TimeFormat::Civil => "date and time, taken as UTC; --time-zone names another".to_owned(),
        TimeFormat::Epoch(unit) => format!("{} since 1970", unit_name(*unit)),
        TimeFormat::Rule(_) => "as --time-format, --time-zone and --time-unit say".to_owned(),
    }
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::BySize => "number",
        TimeUnit::Seconds => "seconds",
        TimeUnit::Millis => "milliseconds",
        TimeUnit::Micros => "microseconds",
        TimeUnit::Nanos => "nanoseconds",
    }
}

/// What the last line does not say: rows without a time where others have one, and comments.
pub(super) fn remarks(imported: &Imported, table: &Table) -> Vec<String> {
    let mut remarks = Vec::new();
    if imported.timeless > 0 && table.has_time() {
        remarks.push(format!(
            "note: {} without a time: stored with the time of the import only; --strict refuses them",
            text::of(imported.timeless, "row")
        ));
    }
    if imported.doubtful_times > 0 {
        remarks.push(format!(
            "note: {} with a time that comes twice or never, when summer time ends or begins: taken for the \
             first pass, or moved ahead",
            text::of(imported.doubtful_times, "row")
        ));
    }
    if table.comments() > 0 {
        remarks.push(format!(
            "note: {} among the rows passed over as comments; --comment none reads them",
            text::of(table.comments(), "line")
        ));
    }
    remarks
}

/// The last line: what came of every row.
pub(super) fn sum(imported: &Imported) -> String {
    let count = text::count;
    let reasons: Vec<String> = imported
        .bad
        .iter()
        .map(|(reason, lines)| format!("{} {reason}", count(*lines)))
        .collect();
    let reasons = match reasons.len() {
        0 => String::new(),
        _ => format!(" ({})", reasons.join(", ")),
    };
    format!(
        "{} read = {} stored + {} already there + {} refused{reasons}",
        text::of(imported.read, "row"),
        count(imported.records),
        count(imported.already),
        count(imported.refused())
    )
}
