//! JSON: an object, or an array of objects.
//!
//! Every scalar is put under its path (see [`decode`](super::decode)): one walk serves flat payloads,
//! declared pointers and inferred nested fields alike, and builds no tree. Objects and arrays that hold
//! nothing wanted are passed over. A field that is declared as a scalar refuses an object or array.

use super::{
    Reason, Reject,
    builder::{Builder, Target},
    quoted,
    scan::Scanner,
};

pub(super) fn decode(text: &str, builder: &mut Builder<'_>) -> Result<(), Reject> {
    let mut scanner = Scanner::new(text);
    let mut path = String::new();
    match scanner.peek() {
        None => return Err(Reject::new(Reason::Empty, "an empty payload")),
        Some(b'[') => {
            scanner.expect(b'[')?;
            let mut first = true;
            while scanner.more(b']', first)? {
                first = false;
                record(&mut scanner, builder, &mut path)?;
            }
            if first {
                return Err(Reject::new(Reason::Empty, "an empty array"));
            }
        }
        Some(_) => record(&mut scanner, builder, &mut path)?,
    }
    scanner.end()
}

/// Records in a payload that is refused: elements of its array as far as it can be read, at least 1.
pub(super) fn count(text: &str) -> u64 {
    let mut scanner = Scanner::new(text);
    if scanner.expect(b'[').is_err() {
        return 1;
    }
    let mut records = 0;
    while let Ok(true) = scanner.more(b']', records == 0) {
        records += 1;
        if scanner.skip(1).is_err() {
            break;
        }
    }
    records.max(1)
}

fn record(
    scanner: &mut Scanner<'_>,
    builder: &mut Builder<'_>,
    path: &mut String,
) -> Result<(), Reject> {
    builder.begin()?;
    if scanner.peek() != Some(b'{') {
        return Err(scanner.error(
            "neither an object nor an array of objects (bare numbers: format = \"number\")",
        ));
    }
    members(scanner, builder, path, 1)?;
    builder.end()
}

/// The members of the object or elements of the array that lies at `path`, `depth` levels down.
fn members(
    scanner: &mut Scanner<'_>,
    builder: &mut Builder<'_>,
    path: &mut String,
    depth: usize,
) -> Result<(), Reject> {
    scanner.check_depth(depth)?;
    let mut position = 0;
    if scanner.peek() == Some(b'[') {
        scanner.expect(b'[')?;
        while scanner.more(b']', position == 0)? {
            member(scanner, builder, path, &position.to_string(), depth)?;
            position += 1;
        }
    } else {
        scanner.expect(b'{')?;
        while scanner.more(b'}', position == 0)? {
            let key = scanner.key()?;
            member(scanner, builder, path, &key, depth)?;
            position += 1;
        }
    }
    Ok(())
}

/// One member, in front of its value.
fn member(
    scanner: &mut Scanner<'_>,
    builder: &mut Builder<'_>,
    path: &mut String,
    key: &str,
    depth: usize,
) -> Result<(), Reject> {
    let nested = scanner.at_container();
    if depth == 1 && !nested {
        return builder.put(key, &scanner.scalar()?);
    }
    let parent_bytes = path.len();
    if depth > 1 {
        path.push('.');
    }
    path.push_str(key);
    if nested {
        container(scanner, builder, path, depth + 1)?;
    } else {
        builder.put(path, &scanner.scalar()?)?;
    }
    path.truncate(parent_bytes);
    Ok(())
}

fn container(
    scanner: &mut Scanner<'_>,
    builder: &mut Builder<'_>,
    path: &mut String,
    depth: usize,
) -> Result<(), Reject> {
    match builder.find(path) {
        // What lies below it has names of its own.
        Target::Column(column) if builder.may_have_second(column) => {
            members(scanner, builder, path, depth)
        }
        Target::Column(_) => Err(Reject::new(
            Reason::WrongType,
            format!(
                "field {} is held as a single value, but an object or array came",
                quoted(path)
            ),
        )),
        Target::Time => Err(Reject::new(
            Reason::BadTime,
            format!("the time {} is an object or array", quoted(path)),
        )),
        Target::Undeclared if builder.wants_below(path) => members(scanner, builder, path, depth),
        Target::Undeclared => scanner.skip(depth),
    }
}
