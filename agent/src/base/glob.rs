//! Patterns over names of streams, the same wherever somebody chooses streams.

#[cfg(any(test, feature = "learning"))]
use std::iter;
use std::str::Chars;

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
/// back-slash takes the meaning from the character behind it. Allocates nothing.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    // What follows the last star, and what of the name it does not stand for so far.
    let mut star: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        let (at, mut behind) = (name.clone(), pattern.clone());
        match (next_piece(&mut behind), name.next()) {
            (None, None) => return true,
            (Some(Piece::Any), _) => {
                name = at.clone();
                pattern = behind.clone();
                star = Some((behind, at));
            }
            (Some(Piece::One), Some(_)) => pattern = behind,
            (Some(Piece::Literal(literal)), Some(c)) if literal == c => pattern = behind,
            _ => {
                let Some((after_star, rest)) = &mut star else {
                    return false;
                };
                if rest.next().is_none() {
                    return false;
                }
                (pattern, name) = (after_star.clone(), rest.clone());
            }
        }
    }
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
    let mut chars = pattern.chars();
    let pattern: Vec<Piece> = iter::from_fn(|| next_piece(&mut chars)).collect();
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

/// Takes the next piece off a pattern.
fn next_piece(pattern: &mut Chars<'_>) -> Option<Piece> {
    Some(match pattern.next()? {
        '*' => Piece::Any,
        '?' => Piece::One,
        // At the end it stands for itself.
        c @ '\\' => Piece::Literal(pattern.next().unwrap_or(c)),
        c => Piece::Literal(c),
    })
}

#[cfg(test)]
mod tests;
