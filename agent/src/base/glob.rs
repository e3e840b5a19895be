//! Patterns over names of streams, the same wherever somebody chooses streams.

use dunlin_sync::sample::{
    Catalog, Stream,
    naming::{DEVICE_MARK, marked},
};

/// A piece of a pattern.
#[derive(Clone, Copy, PartialEq)]
enum Piece {
    Any,
    One,
    Literal(char),
}

/// Whether `name` matches `pattern`, in which `*` stands for any characters and `?` for one; a
/// back-slash takes the meaning from the character behind it.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<Piece>, Vec<char>) = (pieces(pattern), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The last star and the place in the name it reaches to so far.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(Piece::Any) => {
                star = Some((p, n));
                p += 1;
            }
            Some(piece) if *piece == Piece::One || *piece == Piece::Literal(name[n]) => {
                (p, n) = (p + 1, n + 1);
            }
            _ => match star {
                Some((at, reach)) => {
                    star = Some((at, reach + 1));
                    (p, n) = (at + 1, reach + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|piece| *piece == Piece::Any)
}

/// Whether `pattern` means `stream`: its name on the device that the directory works for now; with
/// [`DEVICE_MARK`], name and device of any.
pub(crate) fn means(pattern: &str, catalog: &Catalog, stream: &Stream) -> bool {
    let plain = stream.plain_name();
    catalog.is_here(stream) && matches(pattern, plain)
        || pattern.contains(DEVICE_MARK) && matches(pattern, &marked(plain, stream.device()))
}

/// Whether any name matches `pattern` that begins with `start` and goes on.
#[cfg(any(test, feature = "learning"))]
pub(crate) fn may_match_below(pattern: &str, start: &str) -> bool {
    let pattern = pieces(pattern);
    // Places in the pattern that what has been read may have led to.
    let mut places = vec![false; pattern.len() + 1];
    places[0] = true;
    let skip_stars = |places: &mut Vec<bool>| {
        for (place, piece) in pattern.iter().enumerate() {
            places[place + 1] |= places[place] && *piece == Piece::Any;
        }
    };
    skip_stars(&mut places);
    for c in start.chars() {
        let mut next = vec![false; places.len()];
        for (place, piece) in pattern
            .iter()
            .enumerate()
            .filter(|(place, _)| places[*place])
        {
            match piece {
                Piece::Any => next[place] = true,
                Piece::Literal(literal) if *literal != c => {}
                Piece::One | Piece::Literal(_) => next[place + 1] = true,
            }
        }
        skip_stars(&mut next);
        places = next;
    }
    // Whatever is left of it, some text matches that.
    places[..pattern.len()].contains(&true)
}

/// The pattern that `name` alone matches.
#[cfg(any(test, feature = "learning"))]
pub(crate) fn exactly(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '*' | '?' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        pieces.push(match c {
            '*' => Piece::Any,
            '?' => Piece::One,
            // At the end it stands for itself.
            '\\' => Piece::Literal(chars.next().unwrap_or(c)),
            _ => Piece::Literal(c),
        });
    }
    pieces
}

#[cfg(test)]
mod tests;
