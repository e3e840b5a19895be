//! Where payloads say when they were made, and how.

use std::collections::BTreeMap;

use super::{spelling::pointer_part, words};
use crate::{
    base::source_time::{TimeError, TimeFormat, TimeRule, TimeUnit, Zone},
    record::decode::tree::Tree,
};

/// 2001-09-09, when seconds got their tenth digit, to 2100: what may be the time of a reading.
const PLAUSIBLE_NS: std::ops::Range<i64> = 1_000_000_000_000_000_000..4_102_444_800_000_000_000;
/// A day in nanoseconds.
const DAY_NS: u64 = 86_400_000_000_000;
/// How far from now a number may be that is a time: three years.
const NUMBERS_WITHIN_NS: u64 = 3 * 366 * DAY_NS;
/// How far from now one of the times must be whose name may mean something else.
const NEAR_NS: u64 = 2 * DAY_NS;
/// Levels below a record that are looked at.
const DEPTH_MAX: usize = 3;
/// Most places looked at.
const PLACES_MAX: usize = 2_000;

/// Names of a time that is that of the reading.
const BEST: &str = "\
    ts time timestamp t tst datetime utc sourcetimestamp measuredat eventtime sampletime epoch \
    unixtime timestamputc tsms tsutc observedat recordedat phenomenontime measurementtime zeitstempel \
    zeit timestampms devicetime";
/// Names of a time that is near it.
const NEAR: &str = "\
    createdat receivedat updatedat sentat publishedat lastseen lastupdate lastupdated dt \
    servertimestamp dateobserved gpstime date resulttime generatedat capturedat enqueuedtime \
    reportedat";
/// Parts of names of times that are of something else.
const OTHERS: &str = "\
    start install boot since expire until build birth next uptime zone offset duration interval \
    timeout togo period remaining runtime changed elapsed airtime cycle operat response life loop process";
/// How times are written that are in none of the forms that are known without a word.
const FORMATS: [&str; 18] = [
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S%.f",
    "%d.%m.%Y %H:%M",
    "%d.%m.%y %H:%M:%S",
    "%d.%m.%Y, %H:%M:%S",
    "%Y%m%d%H%M%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y.%m.%d %H:%M:%S",
    "%Y-%m-%d_%H:%M:%S",
    "%Y-%m-%d %I:%M:%S %p",
    "%d-%m-%Y %H:%M:%S",
    "%d-%b-%Y %H:%M:%S",
    "%d %b %Y %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%b %d %Y %H:%M:%S",
    "%Y-%m-%d-%H-%M-%S",
    "%Y%m%d-%H%M%S",
];
/// Day and month cannot be told apart in these; the first of each pair has the month first.
const SLASHED: [(&str, &str); 4] = [
    ("%m/%d/%Y %I:%M:%S %p", "%d/%m/%Y %I:%M:%S %p"),
    ("%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S"),
    ("%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M"),
    ("%m/%d/%y %H:%M:%S", "%d/%m/%y %H:%M:%S"),
];

/// How times are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Writing {
    pub(super) needs_zone: bool,
    pub(super) format: Option<&'static str>,
}

/// A place with times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    pub(super) at: String,
    pub(super) writing: Writing,
}

/// Whether a time of something may be called this.
pub(super) fn is_time_name(key: &str) -> bool {
    rank(key).is_some()
}

/// The smaller, the likelier.
fn rank(key: &str) -> Option<usize> {
    let key = words::plain(key);
    let is_in = |words: &str| words.split_whitespace().any(|word| word == key);
    if is_in(BEST) {
        return Some(0);
    }
    if OTHERS.split_whitespace().any(|part| key.contains(part)) {
        return None;
    }
    if is_in(NEAR) {
        return Some(2);
    }
    (key.contains("time") || key.contains("stamp")).then_some(1)
}

/// The best place among `levels`, the records first, then what they lie in, from the inside out.
pub(super) fn find(levels: &[Vec<&Tree>], now_ns: i64) -> Option<Clock> {
    let mut best: Option<((usize, usize, usize), Clock)> = None;
    for (level, nodes) in levels.iter().enumerate() {
        let mut places: BTreeMap<String, Place<'_>> = BTreeMap::new();
        for node in nodes {
            collect(node, "", None, 0, &mut places);
        }
        let enough = nodes.len().div_ceil(3);
        for (at, place) in places {
            if place.values.len() < enough {
                continue;
            }
            let Some(writing) = writing(&place.values, now_ns) else {
                continue;
            };
            if place.must_be_near && !has_near(&place.values, writing, now_ns) {
                continue;
            }
            // Between a time around and one that only looks like one, the name decides.
            let score = (place.rank, level, place.depth);
            if best.as_ref().is_none_or(|(known, _)| score < *known) {
                best = Some((score, Clock { at, writing }));
            }
        }
    }
    best.map(|(_, clock)| clock)
}

/// Values at a place.
struct Place<'t> {
    rank: usize,
    /// Its name alone does not say that it is a time.
    must_be_near: bool,
    depth: usize,
    values: Vec<&'t str>,
}

fn collect<'t>(
    node: &'t Tree,
    path: &str,
    named: Option<usize>,
    depth: usize,
    places: &mut BTreeMap<String, Place<'t>>,
) {
    for (key, value) in node.members() {
        // `{"time":{"$date":..}}`
        let own = rank(key).or(named.filter(|_| key.starts_with('$')));
        let at = || format!("{path}/{}", pointer_part(key));
        let text = match value {
            Tree::Object(_) if depth + 1 < DEPTH_MAX => {
                collect(value, &at(), own, depth + 1, places);
                continue;
            }
            Tree::Number(text) | Tree::Text(text) if !words::is_missing(text) => text,
            _ => continue,
        };
        if let Some(rank) = own
            && (places.len() < PLACES_MAX || places.contains_key(&at()))
        {
            let place = places.entry(at()).or_insert(Place {
                rank,
                must_be_near: rank == 1 && !words::plain(key).contains("stamp"),
                depth,
                values: Vec::new(),
            });
            place.values.push(text);
        }
    }
}

/// How all `values` are written, if they are times; some may be times that cannot be, as 0.
pub(super) fn writing(values: &[&str], now_ns: i64) -> Option<Writing> {
    if values.is_empty() || values.iter().any(|text| is_date_alone(text)) {
        return None;
    }
    let mut rule = TimeRule::of(TimeUnit::BySize);
    let first = plausible(&rule, values, now_ns);
    if first == Ok(true) {
        return Some(Writing::default());
    }
    rule.zone = Zone::parse("UTC").ok();
    if first == Err(TimeError::NeedsZone) && plausible(&rule, values, now_ns) == Ok(true) {
        return Some(Writing {
            needs_zone: true,
            format: None,
        });
    }
    let mut fits = |format: &'static str| {
        rule.format = TimeFormat::parse(format).ok();
        rule.format.is_some() && plausible(&rule, values, now_ns) == Ok(true)
    };
    let slashed = SLASHED.iter().find_map(|&(month_first, day_first)| {
        let is_american = month_first.ends_with("%p");
        match (fits(month_first), fits(day_first)) {
            // Which is which nobody can tell.
            (true, true) => is_american.then_some(month_first),
            (true, false) => Some(month_first),
            (false, true) => Some(day_first),
            (false, false) => None,
        }
    });
    let format = slashed.or_else(|| FORMATS.into_iter().find(|format| fits(format)))?;
    Some(Writing {
        needs_zone: true,
        format: Some(format),
    })
}

/// Whether most values are times that may be; an error if one is no time at all.
fn plausible(rule: &TimeRule, values: &[&str], now_ns: i64) -> Result<bool, TimeError> {
    let mut good = 0;
    for value in values {
        let ns = rule.written_ns(value)?;
        // A number has to be about now, as it may count something else; a date is one, whenever it was.
        let is_date = value.parse::<f64>().is_err() || !PLAUSIBLE_NS.contains(&now_ns);
        let may_be = is_date || ns.abs_diff(now_ns) < NUMBERS_WITHIN_NS;
        good += usize::from(may_be && PLAUSIBLE_NS.contains(&ns));
    }
    Ok(good * 2 > values.len())
}

/// Whether one of `values` is near now, as far as anybody knows what time it is.
fn has_near(values: &[&str], writing: Writing, now_ns: i64) -> bool {
    let mut rule = TimeRule::of(TimeUnit::BySize);
    rule.zone = Zone::parse("UTC").ok();
    rule.format = writing
        .format
        .and_then(|format| TimeFormat::parse(format).ok());
    let is_near = |value: &&str| {
        let ns = rule.written_ns(value);
        ns.is_ok_and(|ns| ns.abs_diff(now_ns) < NEAR_NS)
    };
    !PLAUSIBLE_NS.contains(&now_ns) || values.iter().any(is_near)
}

/// Whether a text says by itself that it is a time near now.
pub(super) fn is_now(text: &str, now_ns: i64) -> bool {
    PLAUSIBLE_NS.contains(&now_ns)
        && writing(&[text], now_ns).is_some_and(|writing| has_near(&[text], writing, now_ns))
}

/// A day's date would be its midnight.
fn is_date_alone(text: &str) -> bool {
    let text = text.trim();
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let has_marks = text.contains(['-', '.', '/']) && digits == 8;
    has_marks && text.len() == 10
}
