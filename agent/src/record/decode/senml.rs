//! `SenML` (RFC 8428), JSON or CBOR: an array of measurements that share base values.
//!
//! How it becomes records:
//! - the base name `bn` names the device, so that it is a tag: what differs there is of different streams;
//! - measurements of one base name and the same resolved time make up one record; records come in the
//!   order of time;
//! - a field is called by its name `n`, by `bn` if there is no `n`;
//! - a sum `s` becomes the field `NAME.sum`; units and update times are not kept;
//! - a time below 2^28 seconds counts from now, and there is no clock here: its record has no source
//!   time, but keeps its place in the order;
//! - binary data (`vd`) is left out as what does not fit; labels that must be understood (they end in
//!   `_`) and versions above 10 are refused; other unknown labels are ignored.

use std::{borrow::Cow, collections::HashMap};

use super::{
    FIELD_NAME_BYTES_MAX, Reason, Reject,
    builder::Builder,
    float::Floats,
    json,
    names::clean_tag,
    quoted,
    tape::{Tape, Value},
    value::Cell,
};
use crate::base::source_time::{TimeUnit, decimal_ns};

/// Times below this count from now.
const ABSOLUTE_NS_MIN: i64 = (1 << 28) * 1_000_000_000;
/// The newest version we know.
const VERSION_MAX: f64 = 10.0;

/// One value of the pack, resolved.
struct Measurement<'t> {
    time_ns: i64,
    /// Place of its base name.
    base: usize,
    name: Cow<'t, str>,
    is_sum: bool,
    cell: Cell<'t>,
}

/// What the base labels say so far.
#[derive(Default)]
struct Bases<'t> {
    /// Different base names in the order in which they came first; the one without a name is the first.
    names: Vec<Cow<'t, str>>,
    places: HashMap<Cow<'t, str>, usize>,
    /// Place of the one in force.
    base: usize,
    time_ns: i64,
    value: Option<f64>,
    sum: Option<f64>,
    floats: Floats,
}

/// The labels of one entry.
#[derive(Default)]
struct SenmlRecord<'t> {
    name: Option<Cow<'t, str>>,
    time_ns: i64,
    value: Option<Cell<'t>>,
    sum: Option<Cell<'t>>,
}

pub(super) fn decode_text(text: &str, builder: &mut Builder<'_>) -> Result<(), Reject> {
    decode(tape(text)?.root(), builder)
}

pub(super) fn decode(root: Value<'_, '_>, builder: &mut Builder<'_>) -> Result<(), Reject> {
    let (bases, mut measurements) = resolve(root)?;
    if measurements.is_empty() {
        return Err(Reject::new(Reason::Empty, "no measurement in the pack"));
    }
    let rule = builder.rule();
    let bytes_max = builder.path_bytes_max();
    measurements.sort_by_key(|measurement| (measurement.time_ns, measurement.base));
    for record in measurements.chunk_by(|a, b| (a.time_ns, a.base) == (b.time_ns, b.base)) {
        let (base, time_ns) = (&*bases.names[record[0].base], record[0].time_ns);
        let tags = rule.payload_tags.iter().map(|_| clean_tag(base));
        builder.set_tags(tags.collect());
        builder.begin()?;
        builder.set_source_ts((time_ns >= ABSOLUTE_NS_MIN).then_some(time_ns));
        for measurement in record {
            let name = match (&*measurement.name, base) {
                ("", "") => return Err(not_senml("a measurement without a name")),
                ("", base) => base,
                (name, _) => name,
            };
            let name = if measurement.is_sum {
                Cow::Owned(format!("{name}.sum"))
            } else {
                Cow::Borrowed(name)
            };
            // A longer one cannot be any that is known; mapped, it would cost what all may hold.
            if name.len() <= bytes_max.max(FIELD_NAME_BYTES_MAX) || rule.infer {
                builder.put(&name, &measurement.cell)?;
            }
        }
        builder.end()?;
    }
    Ok(())
}

/// Records in a payload that is refused: distinct times, or entries if they cannot be told.
pub(super) fn count(text: &str) -> u64 {
    let resolved = tape(text).map(|tape| {
        let (_, measurements) = resolve(tape.root()).ok()?;
        let places = measurements.iter().map(|entry| (entry.time_ns, entry.base));
        let mut places: Vec<(i64, usize)> = places.collect();
        places.sort_unstable();
        places.dedup();
        Some(places.len() as u64)
    });
    resolved.ok().flatten().unwrap_or_else(|| json::count(text))
}

fn tape(text: &str) -> Result<Tape<'_>, Reject> {
    json::tape(text).map_err(|reject| match reject.reason {
        Reason::NotJson => Reject {
            reason: Reason::NotSenml,
            ..reject
        },
        _ => reject,
    })
}

fn resolve<'t>(root: Value<'t, '_>) -> Result<(Bases<'t>, Vec<Measurement<'t>>), Reject> {
    if !root.is_array() {
        return Err(not_senml("not a list of entries"));
    }
    let mut bases = Bases {
        names: vec![Cow::Borrowed("")],
        ..Bases::default()
    };
    let mut measurements = Vec::new();
    for entry in root.items() {
        let entry = self::entry(entry, &mut bases)?;
        resolve_entry(entry, &mut bases, &mut measurements)?;
    }
    Ok((bases, measurements))
}

/// Labels that may come once in an entry, and what CBOR writes for them.
const LABELS: [(&str, i128); 12] = [
    ("bver", -1),
    ("bn", -2),
    ("bt", -3),
    ("bv", -5),
    ("bs", -6),
    ("n", 0),
    ("v", 2),
    ("vs", 3),
    ("vb", 4),
    ("s", 5),
    ("t", 6),
    ("vd", 8),
];

fn entry<'t>(object: Value<'t, '_>, bases: &mut Bases<'t>) -> Result<SenmlRecord<'t>, Reject> {
    if !object.is_object() {
        return Err(not_senml("an entry that is no object"));
    }
    let mut entry = SenmlRecord::default();
    // One bit a label, to find those that come twice.
    let mut seen = 0_u16;
    for (key, value) in object.raw_members() {
        let mut labels = LABELS.iter();
        let known = labels.position(|(label, number)| match key {
            Cell::Integer(own) => own == number,
            key => key.text().is_some_and(|own| own == *label),
        });
        let Some(known) = known else {
            let label = key.text().unwrap_or_default();
            if label.ends_with('_') {
                return Err(not_senml(format!(
                    "the label {} must be understood and is not",
                    quoted(&label)
                )));
            }
            continue;
        };
        let label = LABELS[known].0;
        if seen >> known & 1 == 1 {
            return Err(not_senml(format!("`{label}` twice in one entry")));
        }
        seen |= 1 << known;
        let Some(cell) = value.as_scalar() else {
            return Err(not_senml(format!("`{label}` is an object or array")));
        };
        match label {
            "bn" => bases.set_name(text(cell, label)?),
            "bt" => bases.time_ns = seconds(cell, label)?,
            "bv" => bases.value = Some(float(cell, label, &mut bases.floats)?),
            "bs" => bases.sum = Some(float(cell, label, &mut bases.floats)?),
            "bver" => {
                if float(cell, label, &mut bases.floats)? > VERSION_MAX {
                    return Err(not_senml("a version above 10"));
                }
            }
            "n" => entry.name = Some(text(cell, label)?),
            "t" => entry.time_ns = seconds(cell, label)?,
            "s" => entry.sum = Some(number(cell, label)?),
            "v" => entry.set_value(number(cell, label)?)?,
            "vs" => entry.set_value(Cell::Text(text(cell, label)?))?,
            "vb" => match cell {
                Cell::Bool(truth) => entry.set_value(Cell::Bool(*truth))?,
                _ => return Err(not_senml("`vb` must be true or false")),
            },
            // Text of base 64 in JSON; nothing that a field could hold.
            _ => entry.set_value(Cell::Bytes(&[]))?,
        }
    }
    Ok(entry)
}

impl<'t> Bases<'t> {
    fn set_name(&mut self, name: Cow<'t, str>) {
        let next = self.names.len();
        self.base = match &*name {
            "" => 0,
            _ => *self.places.entry(name.clone()).or_insert(next),
        };
        if self.base == next {
            self.names.push(name);
        }
    }
}

impl<'t> SenmlRecord<'t> {
    fn set_value(&mut self, cell: Cell<'t>) -> Result<(), Reject> {
        match self.value.replace(cell) {
            None => Ok(()),
            Some(_) => Err(not_senml("an entry with two values")),
        }
    }
}

fn resolve_entry<'t>(
    entry: SenmlRecord<'t>,
    bases: &mut Bases<'t>,
    measurements: &mut Vec<Measurement<'t>>,
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
    let base = bases.base;
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
fn added<'t>(cell: Cell<'t>, base: Option<f64>, floats: &mut Floats) -> Result<Cell<'t>, Reject> {
    match (&cell, base) {
        (Cell::Number(_) | Cell::Integer(_) | Cell::Float(_), Some(base)) => {
            Ok(Cell::Float(parsed(&cell, floats)? + base))
        }
        _ => Ok(cell),
    }
}

fn number<'t>(cell: &'t Cell<'_>, label: &str) -> Result<Cell<'t>, Reject> {
    match cell {
        Cell::Number(text) => Ok(Cell::Number(text)),
        Cell::Integer(number) => Ok(Cell::Integer(*number)),
        Cell::Float(number) => Ok(Cell::Float(*number)),
        _ => Err(not_senml(format!("`{label}` must be a number"))),
    }
}

fn float(cell: &Cell<'_>, label: &str, floats: &mut Floats) -> Result<f64, Reject> {
    parsed(&number(cell, label)?, floats)
}

fn parsed(cell: &Cell<'_>, floats: &mut Floats) -> Result<f64, Reject> {
    let number = match cell {
        Cell::Integer(number) => Some(*number as f64),
        Cell::Float(number) => Some(*number),
        other => floats.parse(&other.text().unwrap_or_default()),
    };
    number.ok_or_else(|| not_senml("a number that is none"))
}

fn seconds(cell: &Cell<'_>, label: &str) -> Result<i64, Reject> {
    let written = number(cell, label)?;
    let text = written.text().unwrap_or_default();
    decimal_ns(&text, TimeUnit::Seconds).ok_or_else(|| bad_time(label))
}

fn text<'t>(cell: &'t Cell<'_>, label: &str) -> Result<Cow<'t, str>, Reject> {
    match cell {
        Cell::Text(text) => Ok(Cow::Borrowed(text)),
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
