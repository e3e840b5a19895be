//! JSON: an object, an array of objects, or one bare value.
//!
//! Every scalar is put under its path (see [`decode`](super::decode)): one walk serves flat payloads,
//! declared pointers and inferred nested fields alike, and builds no tree. Objects and arrays that hold
//! nothing wanted are passed over. A field that is declared as a scalar refuses an object or array.

use super::{
    Reason, Reject,
    builder::{Below, Builder},
    scalar,
    scan::Scanner,
    tag_objects::{self, Keys},
    tape::{Tape, TapeBuilder},
    value::Cell,
};

/// `field` is what the topic says the field is called.
pub(super) fn decode(
    text: &str,
    field: Option<&str>,
    builder: &mut Builder<'_>,
) -> Result<(), Reject> {
    let mut scanner = Scanner::new(text);
    let mut path = field.unwrap_or_default().to_owned();
    builder.set_prefix(&path);
    match scanner.peek() {
        None => return Err(Reject::new(Reason::Empty, "an empty payload")),
        Some(b'[') => {
            if scanner.is_list_of_objects() {
                let (first, second) = first_two(&scanner);
                tag_objects::refuse_as_records(builder, &first, second.as_ref())?;
            }
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
        Some(b'{') => record(&mut scanner, builder, &mut path)?,
        Some(_) => {
            let cell = scanner.scalar()?;
            scanner.end()?;
            return scalar::record(&cell, field, None, builder);
        }
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
            "neither an object nor an array of objects (bare numbers: format = \"number\"; a list of \
             samples: `samples`)",
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
    if path.is_empty() && !nested {
        return builder.put(key, &scanner.scalar()?);
    }
    let parent_bytes = path.len();
    if !path.is_empty() {
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
    let below = builder.below(path)?;
    if below == Below::Nothing {
        return scanner.skip(depth);
    }
    if scanner.peek() == Some(b'[') && scanner.is_list_of_objects() {
        if below == Below::Inferred && !builder.has_declared_below(path) {
            return Err(tag_objects::list_refused(path, &first_two(scanner).0));
        }
        // What has a place in such a list is not a field because of that.
        let before = std::mem::replace(&mut builder.declared_only, true);
        members(scanner, builder, path, depth)?;
        builder.declared_only = before;
        return Ok(());
    }
    members(scanner, builder, path, depth)
}

/// Reads all of a payload of one JSON value. Numbers stay as they were written.
pub(super) fn tape(text: &str) -> Result<Tape<'_>, Reject> {
    let mut scanner = Scanner::new(text);
    if scanner.peek().is_none() {
        return Err(Reject::new(Reason::Empty, "an empty payload"));
    }
    let mut tape = TapeBuilder::new(text.len(), Reason::NotJson);
    value(&mut scanner, &mut tape)?;
    scanner.end()?;
    Ok(tape.finish())
}

/// The next value, in front of it. Recursion ends with the nesting that a tape takes.
fn value<'a>(scanner: &mut Scanner<'a>, tape: &mut TapeBuilder<'a>) -> Result<(), Reject> {
    let mut first = true;
    match scanner.peek() {
        Some(b'{') => {
            let open = tape.open_object()?;
            scanner.expect(b'{')?;
            while scanner.more(b'}', first)? {
                first = false;
                tape.key(Cell::Text(scanner.key()?))?;
                value(scanner, tape)?;
            }
            tape.close(open);
        }
        Some(b'[') => {
            let open = tape.open_array()?;
            scanner.expect(b'[')?;
            while scanner.more(b']', first)? {
                first = false;
                value(scanner, tape)?;
            }
            tape.close(open);
        }
        _ => tape.scalar(scanner.scalar()?)?,
    }
    Ok(())
}

/// Keys of the first and the second object of the list that comes next, as far as they can be read.
fn first_two<'a>(scanner: &Scanner<'a>) -> (Keys<'a>, Option<Keys<'a>>) {
    let mut ahead = scanner.clone();
    let (mut first, mut second) = (Keys::new(), None);
    let mut walk = || -> Result<(), Reject> {
        ahead.expect(b'[')?;
        keys(&mut ahead, &mut first)?;
        if ahead.more(b']', false)? && ahead.peek() == Some(b'{') {
            keys(&mut ahead, second.insert(Keys::new()))?;
        }
        Ok(())
    };
    let _partly = walk();
    (first, second)
}

/// Reads the object that comes next: its keys, with what lies there.
fn keys<'a>(scanner: &mut Scanner<'a>, keys: &mut Keys<'a>) -> Result<(), Reject> {
    const KEYS_MAX: usize = 32;
    scanner.expect(b'{')?;
    let mut first = true;
    while scanner.more(b'}', first)? {
        first = false;
        let key = scanner.key()?.into_owned();
        let cell = if scanner.at_container() {
            scanner.skip(1)?;
            Cell::Null
        } else {
            scanner.scalar()?
        };
        if keys.len() < KEYS_MAX {
            keys.push((key, cell));
        }
    }
    Ok(())
}
