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

/// What becomes of a column.
enum Slot {
    Ignored,
    Time,
    Field(usize),
    /// Inferred, and nothing seen of it yet.
    Unseen(String),
}

/// What each line must look like.
struct Layout {
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
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .buffer_capacity(text.len().clamp(64, 8 * 1024))
        .from_reader(without_mark(text).as_bytes());
    let mut line = StringRecord::new();
    let mut layout = if header {
        if !next(&mut reader, &mut line)? {
            return Err(Reject::new(Reason::Empty, "an empty payload"));
        }
        by_header(&line, builder)?
    } else {
        by_declaration(builder)?
    };
    let mut records = 0;
    while next(&mut reader, &mut line)? {
        records += 1;
        builder.begin()?;
        layout.take(&line, builder)?;
        builder.end()?;
    }
    if records == 0 {
        return Err(Reject::new(Reason::Empty, "no line with data"));
    }
    Ok(())
}

/// Records in a payload that is refused: lines that are not blank, at least 1.
pub(super) fn count(text: &str, header: bool) -> u64 {
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count() as u64;
    lines.saturating_sub(u64::from(header)).max(1)
}

/// Without the byte order mark that spreadsheets put in front.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn next(reader: &mut csv::Reader<&[u8]>, line: &mut StringRecord) -> Result<bool, Reject> {
    reader
        .read_record(line)
        .map_err(|error| Reject::new(Reason::NotCsv, error.to_string()))
}

fn by_header(names: &StringRecord, builder: &mut Builder<'_>) -> Result<Layout, Reject> {
    let mut sorted: Vec<&str> = names.iter().collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Reject::new(
            Reason::NotCsv,
            format!("the header names {} twice", quoted(pair[0])),
        ));
    }
    let slots = names
        .iter()
        .map(|name| match builder.find(name) {
            Target::Column(column) => Slot::Field(column),
            Target::Time => Slot::Time,
            Target::Undeclared if builder.rule().infer => Slot::Unseen(name.to_owned()),
            Target::Undeclared => Slot::Ignored,
        })
        .collect();
    Ok(Layout { slots, open: false })
}

fn by_declaration(builder: &mut Builder<'_>) -> Result<Layout, Reject> {
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
    if let Some(time) = &rule.time {
        claim(&mut slots, time, Slot::Time)?;
    }
    let mut in_order = Vec::new();
    for declared in &rule.fields {
        let field = &declared.field;
        let slot = Slot::Field(builder.named_or_new(&field.name, field.kind));
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
    Ok(Layout { slots, open })
}

impl Layout {
    fn take(&mut self, line: &StringRecord, builder: &mut Builder<'_>) -> Result<(), Reject> {
        let expected = self.slots.len();
        if line.len() < expected || (line.len() > expected && !self.open) {
            let number = line.position().map_or(0, csv::Position::line);
            return Err(Reject::new(
                Reason::NotCsv,
                format!(
                    "line {number} has {} cells instead of {expected}",
                    line.len()
                ),
            ));
        }
        for (slot, text) in self.slots.iter_mut().zip(line) {
            let cell = match text {
                "" => Cell::Null,
                text => Cell::Bare(text),
            };
            match slot {
                Slot::Ignored => {}
                Slot::Time => builder.put_time(cell)?,
                Slot::Field(column) => builder.put_column(*column, cell)?,
                Slot::Unseen(name) => {
                    if let Some(column) = builder.put_new(name, cell)? {
                        *slot = Slot::Field(column);
                    }
                }
            }
        }
        Ok(())
    }
}
