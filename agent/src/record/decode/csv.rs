//! CSV: one record a line, with a header line or with columns in the order of the declared fields.
//!
//! An empty cell is missing; blanks around a cell do not count. Without a header, a pointer that is a
//! number (`/3`), of a field or of the time, is a column counted from 0; the fields without one take the
//! columns left over, in declared order, and columns behind the last one used are ignored only if there
//! is such a pointer. With `infer`, a column of the header that is not declared gets its type from its
//! first cell that is not empty.

use csv::{ReaderBuilder, StringRecord, Trim};

use super::{
    Reason, Reject,
    builder::{Builder, Target},
    path_of, quoted,
    value::Cell,
};

/// Longest name of a column, bytes.
const NAME_BYTES_MAX: usize = 1024;

/// What becomes of a column.
enum Slot {
    Ignored,
    Time,
    Field(usize),
    /// A field that is the time, too.
    TimedField(usize),
    /// Inferred, and nothing seen of it yet.
    Unseen(String),
}

/// What each line must look like.
struct CsvLayout {
    slots: Vec<Slot>,
    /// Whether a line may have more cells than slots.
    open: bool,
}

pub(super) fn decode(
    text: &str,
    delimiter: u8,
    header: bool,
    builder: &mut Builder<'_>,
) -> Result<(), Reject> {
    // The header line, if there is one, says what follows.
    let mut layout = if header {
        None
    } else {
        Some(by_declaration(builder)?)
    };
    each_line(text, delimiter, |cells| {
        let Some(layout) = &mut layout else {
            layout = Some(by_header(cells, builder)?);
            return Ok(());
        };
        builder.begin()?;
        layout.take(cells, builder)?;
        builder.end()
    })?;
    if builder.begun() == 0 {
        return Err(Reject::new(Reason::Empty, "no line with data"));
    }
    Ok(())
}

/// Calls `take` with the cells of every line that is not blank.
fn each_line(
    text: &str,
    delimiter: u8,
    mut take: impl FnMut(&[&str]) -> Result<(), Reject>,
) -> Result<(), Reject> {
    if !text.contains('"') && delimiter.is_ascii() {
        return each_plain_line(text, char::from(delimiter), take);
    }
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .from_reader(text.as_bytes());
    let mut line = StringRecord::new();
    while reader
        .read_record(&mut line)
        .map_err(|error| Reject::new(Reason::NotCsv, error.to_string()))?
    {
        let cells: Vec<&str> = line.iter().collect();
        if cells != [""] {
            take(&cells)?;
        }
    }
    Ok(())
}

/// The same for a text without quotes. The csv crate builds tables before its first line (12 us): too
/// much for a publish of one line.
fn each_plain_line(
    text: &str,
    delimiter: char,
    mut take: impl FnMut(&[&str]) -> Result<(), Reject>,
) -> Result<(), Reject> {
    let mut cells = Vec::new();
    for line in text.split(['\n', '\r']) {
        cells.clear();
        cells.extend(line.split(delimiter).map(str::trim));
        if cells != [""] {
            take(&cells)?;
        }
    }
    Ok(())
}

/// Records in a payload that is refused: lines that are not blank, at least 1.
pub(super) fn count(text: &str, header: bool) -> u64 {
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count() as u64;
    lines.saturating_sub(u64::from(header)).max(1)
}

fn by_header(names: &[&str], builder: &mut Builder<'_>) -> Result<CsvLayout, Reject> {
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Reject::new(
            Reason::NotCsv,
            format!("the header names {} twice", quoted(pair[0])),
        ));
    }
    if let Some(long) = names.iter().find(|name| name.len() > NAME_BYTES_MAX) {
        let detail = format!("a column's name of {} bytes", long.len());
        return Err(Reject::new(Reason::BadFieldName, detail));
    }
    let slots = names
        .iter()
        .map(|name| match builder.find(name) {
            Target::Column(column) => Slot::Field(column),
            Target::Time => Slot::Time,
            Target::Undeclared if builder.infers(name) => Slot::Unseen((*name).to_owned()),
            Target::Undeclared => Slot::Ignored,
        })
        .collect();
    Ok(CsvLayout { slots, open: false })
}

fn by_declaration(builder: &Builder<'_>) -> Result<CsvLayout, Reject> {
    let rule = builder.rule();
    let mut slots = Vec::new();
    let mut open = false;
    let mut claim = |slots: &mut Vec<Slot>, pointer: &str, slot: Slot| {
        let Ok(column) = path_of(pointer).parse::<u16>() else {
            return Err(Reject::new(
                Reason::NotCsv,
                format!(
                    "without a header line, {} in the configuration must be a column's number from 0",
                    quoted(pointer)
                ),
            ));
        };
        let column = usize::from(column);
        while slots.len() <= column {
            slots.push(Slot::Ignored);
        }
        slots[column] = slot;
        open = true;
        Ok(())
    };
    let is_field = |time: &&String| rule.fields.iter().any(|field| field.field.name == **time);
    if let Some(time) = rule.time.as_ref().filter(|time| !is_field(time)) {
        claim(&mut slots, time, Slot::Time)?;
    }
    let mut in_order = Vec::new();
    for (declared, &column) in rule.fields.iter().zip(builder.declared()) {
        let slot = if rule.time.as_ref() == Some(&declared.field.name) {
            Slot::TimedField(column)
        } else {
            Slot::Field(column)
        };
        match &declared.pointer {
            Some(pointer) => claim(&mut slots, pointer, slot)?,
            None => in_order.push(slot),
        }
    }
    let mut column = 0;
    for slot in in_order {
        while !matches!(slots.get(column), None | Some(Slot::Ignored)) {
            column += 1;
        }
        match slots.get_mut(column) {
            Some(free) => *free = slot,
            None => slots.push(slot),
        }
        column += 1;
    }
    Ok(CsvLayout { slots, open })
}

impl CsvLayout {
    fn take(&mut self, cells: &[&str], builder: &mut Builder<'_>) -> Result<(), Reject> {
        let expected = self.slots.len();
        if cells.len() < expected || (cells.len() > expected && !self.open) {
            return Err(Reject::new(
                Reason::NotCsv,
                format!("a line of {} cells instead of {expected}", cells.len()),
            ));
        }
        for (slot, text) in self.slots.iter_mut().zip(cells) {
            let cell = match *text {
                "" => Cell::Null,
                text => Cell::Bare(text),
            };
            match slot {
                Slot::Ignored => {}
                Slot::Time => builder.put_time(&cell)?,
                Slot::Field(column) => builder.put_column(*column, &cell)?,
                Slot::TimedField(column) => {
                    builder.put_time(&cell)?;
                    builder.put_column(*column, &cell)?;
                }
                Slot::Unseen(name) => {
                    if let Some(column) = builder.put_new(name, &cell)? {
                        *slot = Slot::Field(column);
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
