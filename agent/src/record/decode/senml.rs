//! `SenML` JSON (RFC 8428): an array of measurements that share base values.
//!
//! How it becomes records:
//! - measurements of the same resolved time make up one record; records come in the order of time;
//! - a field is called by its own name `n` while one base name `bn` covers the whole pack (the base
//!   names the device, which the topic already does); by `bn` and `n` together if the base changes; by
//!   `bn` if there is no `n`;
//! - a sum `s` becomes the field `NAME.sum`; units and update times are not kept;
//! - a time below 2^28 seconds counts from now, and there is no clock here: its record has no source
//!   time, but keeps its place in the order;
//! - binary data (`vd`), labels that must be understood (they end in `_`) and versions above 10 are
//!   refused; other unknown labels are ignored.

use std::borrow::Cow;

use super::{
    FIELD_NAME_BYTES_MAX, Reason, Reject, builder::Builder, float::Floats, quoted, scan::Scanner,
    time::decimal_ns, value::Cell,
};
use crate::config::settings::TimeUnit;

/// Times below this count from now.
const ABSOLUTE_NS_MIN: i64 = (1 << 28) * 1_000_000_000;
/// The newest version we know.
const VERSION_MAX: f64 = 10.0;

/// One value of the pack, resolved except for its name.
struct Measurement<'a> {
    time_ns: i64,
    base: usize,
    name: Cow<'a, str>,
    is_sum: bool,
    cell: Cell<'a>,
}

/// What the base labels say so far.
#[derive(Default)]
struct Bases<'a> {
    /// Every `bn` that came, the last one in force; entries in front of the first have none.
    names: Vec<Cow<'a, str>>,
    time_ns: i64,
    value: Option<f64>,
    sum: Option<f64>,
    floats: Floats,
}

/// The labels of one entry.
#[derive(Default)]
struct SenmlRecord<'a> {
    name: Option<Cow<'a, str>>,
    time_ns: i64,
    value: Option<Cell<'a>>,
    sum: Option<Cell<'a>>,
}

pub(super) fn decode(text: &str, builder: &mut Builder<'_>) -> Result<(), Reject> {
    let (bases, mut measurements) = resolve(text)?;
    if measurements.is_empty() {
        return Err(Reject::new(Reason::Empty, "no measurement in the pack"));
    }
    let one_base = measurements
        .iter()
        .all(|measurement| measurement.base == measurements[0].base);
    let bytes_max = builder.path_bytes_max();
    measurements.sort_by_key(|measurement| measurement.time_ns);
    for record in measurements.chunk_by(|a, b| a.time_ns == b.time_ns) {
        builder.begin()?;
        let time_ns = record[0].time_ns;
        builder.set_source_ts((time_ns >= ABSOLUTE_NS_MIN).then_some(time_ns));
        for measurement in record {
            let name = Name::of(&bases, measurement, one_base)?;
            if name.bytes() <= bytes_max {
                builder.put(&name.joined(), &measurement.cell)?;
            } else if builder.rule().infer {
                // Would be refused; joined, it would cost each measurement what all of them may hold.
                return Err(name.too_long());
            }
        }
        builder.end()?;
    }
    Ok(())
}

/// Records in a payload that is refused: distinct times, or entries if they cannot be told.
pub(super) fn count(text: &str) -> u64 {
    let Ok((_, measurements)) = resolve(text) else {
        return super::json::count(text);
    };
    let mut times: Vec<i64> = measurements.iter().map(|entry| entry.time_ns).collect();
    times.sort_unstable();
    times.dedup();
    times.len() as u64
}

/// Of what the name of a measurement's field is made.
struct Name<'m>([&'m str; 3]);

impl<'m> Name<'m> {
    fn of(
        bases: &'m Bases<'_>,
        measurement: &'m Measurement<'_>,
        one_base: bool,
    ) -> Result<Self, Reject> {
        let base = match measurement.base.checked_sub(1) {
            Some(last) => &*bases.names[last],
            None => "",
        };
        let name = &*measurement.name;
        let base = match (base, name) {
            ("", "") => return Err(not_senml("a measurement without a name")),
            (_, name) if one_base && !name.is_empty() => "",
            (base, _) => base,
        };
        let end = if measurement.is_sum { ".sum" } else { "" };
        Ok(Self([base, name, end]))
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|part| part.len()).sum()
    }

    fn joined(&self) -> Cow<'m, str> {
        match self.0 {
            [only, "", ""] | ["", only, ""] => Cow::Borrowed(only),
            parts => Cow::Owned(parts.concat()),
        }
    }

    fn too_long(&self) -> Reject {
        Reject::new(
            Reason::BadFieldName,
            format!(
                "{} cannot name a field: with its base name it has {} bytes; the most is \
                 {FIELD_NAME_BYTES_MAX}",
                quoted(&self.joined()),
                self.bytes()
            ),
        )
    }
}

fn resolve(text: &str) -> Result<(Bases<'_>, Vec<Measurement<'_>>), Reject> {
    let mut scanner = Scanner::new(text);
    if scanner.peek().is_none() {
        return Err(Reject::new(Reason::Empty, "an empty payload"));
    }
    let mut bases = Bases::default();
    let mut measurements = Vec::new();
    walk(&mut scanner, &mut bases, &mut measurements).map_err(|reject| match reject.reason {
        Reason::NotJson => Reject {
            reason: Reason::NotSenml,
            ..reject
        },
        _ => reject,
    })?;
    Ok((bases, measurements))
}

fn walk<'a>(
    scanner: &mut Scanner<'a>,
    bases: &mut Bases<'a>,
    measurements: &mut Vec<Measurement<'a>>,
) -> Result<(), Reject> {
    scanner.expect(b'[')?;
    let mut first = true;
    while scanner.more(b']', first)? {
        first = false;
        let entry = entry(scanner, bases)?;
        resolve_entry(entry, bases, measurements)?;
    }
    scanner.end()
}

fn entry<'a>(scanner: &mut Scanner<'a>, bases: &mut Bases<'a>) -> Result<SenmlRecord<'a>, Reject> {
    let mut entry = SenmlRecord::default();
    // One bit a label, to find those that come twice.
    let mut seen = 0_u16;
    let mut first = true;
    scanner.expect(b'{')?;
    while scanner.more(b'}', first)? {
        first = false;
        let label = scanner.key()?;
        if let Some(bit) = LABELS.iter().position(|known| *known == label) {
            if seen >> bit & 1 == 1 {
                return Err(not_senml(format!("`{label}` twice in one entry")));
            }
            seen |= 1 << bit;
        }
        match &*label {
            "bn" => {
                let name = text(scanner, &label)?;
                if bases.names.last() != Some(&name) {
                    bases.names.push(name);
                }
            }
            "bt" => bases.time_ns = seconds(scanner, &label)?,
            "bv" => bases.value = Some(float(scanner, &label, &mut bases.floats)?),
            "bs" => bases.sum = Some(float(scanner, &label, &mut bases.floats)?),
            "bver" => {
                if float(scanner, &label, &mut bases.floats)? > VERSION_MAX {
                    return Err(not_senml("a version above 10"));
                }
            }
            "n" => entry.name = Some(text(scanner, &label)?),
            "t" => entry.time_ns = seconds(scanner, &label)?,
            "s" => entry.sum = Some(Cell::Number(number(scanner, &label)?)),
            "v" => entry.set_value(Cell::Number(number(scanner, &label)?))?,
            "vs" => entry.set_value(Cell::Text(text(scanner, &label)?))?,
            "vb" => match scanner.scalar()? {
                truth @ Cell::Bool(_) => entry.set_value(truth)?,
                _ => return Err(not_senml("`vb` must be true or false")),
            },
            "vd" => {
                return Err(Reject::new(
                    Reason::WrongType,
                    "binary data (`vd`) is not supported: send numbers, booleans or texts",
                ));
            }
            label if label.ends_with('_') => {
                return Err(not_senml(format!(
                    "the label {} must be understood and is not",
                    quoted(label)
                )));
            }
            _ => scanner.skip(2)?,
        }
    }
    Ok(entry)
}

/// Labels that may come once in an entry.
const LABELS: [&str; 11] = [
    "bn", "bt", "bv", "bs", "bver", "n", "t", "s", "v", "vs", "vb",
];

impl<'a> SenmlRecord<'a> {
    fn set_value(&mut self, cell: Cell<'a>) -> Result<(), Reject> {
        match self.value.replace(cell) {
            None => Ok(()),
            Some(_) => Err(not_senml("an entry with two values")),
        }
    }
}

fn resolve_entry<'a>(
    entry: SenmlRecord<'a>,
    bases: &mut Bases<'a>,
    measurements: &mut Vec<Measurement<'a>>,
) -> Result<(), Reject> {
    let name = entry.name;
    let sum = match (entry.sum, bases.sum) {
        (Some(sum), base) => Some(added(sum, base, &mut bases.floats)?),
        // A base sum alone counts as the sum of an entry that has nothing else.
        (None, Some(base)) if entry.value.is_none() && name.is_some() => Some(Cell::Float(base)),
        (None, _) => None,
    };
    if entry.value.is_none() && sum.is_none() {
        // An entry of base labels alone sets the stage for the next ones.
        return match name {
            Some(name) => Err(not_senml(format!("{} has no value", quoted(&name)))),
            None => Ok(()),
        };
    }
    let Some(time_ns) = bases.time_ns.checked_add(entry.time_ns) else {
        return Err(bad_time("bt + t"));
    };
    let name = name.unwrap_or_default();
    let base = bases.names.len();
    let mut push = |cell, is_sum| {
        measurements.push(Measurement {
            time_ns,
            base,
            name: name.clone(),
            is_sum,
            cell,
        });
    };
    if let Some(value) = entry.value {
        push(added(value, bases.value, &mut bases.floats)?, false);
    }
    if let Some(sum) = sum {
        push(sum, true);
    }
    Ok(())
}

/// A number with its base value added; anything else as it is.
fn added<'a>(cell: Cell<'a>, base: Option<f64>, floats: &mut Floats) -> Result<Cell<'a>, Reject> {
    match (&cell, base) {
        (Cell::Number(text), Some(base)) => Ok(Cell::Float(parsed(text, floats)? + base)),
        _ => Ok(cell),
    }
}

fn number<'a>(scanner: &mut Scanner<'a>, label: &str) -> Result<&'a str, Reject> {
    match scanner.scalar()? {
        Cell::Number(text) => Ok(text),
        _ => Err(not_senml(format!("`{label}` must be a number"))),
    }
}

fn float(scanner: &mut Scanner<'_>, label: &str, floats: &mut Floats) -> Result<f64, Reject> {
    parsed(number(scanner, label)?, floats)
}

fn parsed(text: &str, floats: &mut Floats) -> Result<f64, Reject> {
    let number = floats.parse(text);
    number.ok_or_else(|| not_senml(format!("{} is no number", quoted(text))))
}

fn seconds(scanner: &mut Scanner<'_>, label: &str) -> Result<i64, Reject> {
    decimal_ns(number(scanner, label)?, TimeUnit::Seconds).ok_or_else(|| bad_time(label))
}

fn text<'a>(scanner: &mut Scanner<'a>, label: &str) -> Result<Cow<'a, str>, Reject> {
    match scanner.scalar()? {
        Cell::Text(text) => Ok(text),
        _ => Err(not_senml(format!("`{label}` must be a text"))),
    }
}

fn bad_time(label: &str) -> Reject {
    Reject::new(
        Reason::BadTime,
        format!("`{label}` is no time in seconds between 1677 and 2262"),
    )
}

fn not_senml(detail: impl Into<String>) -> Reject {
    Reject::new(Reason::NotSenml, detail)
}
