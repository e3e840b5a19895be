//! Numbers that are dear to round.
//!
//! A decimal of up to 19 digits becomes a float in some 20 ns. With more it may lie so close to the
//! middle between two floats that every digit counts, which takes a thousand times longer: a payload
//! full of such numbers would cost a hundred times what another does. No sensor has that many digits, so
//! of each publish the first [`LONG_MAX`] numbers are taken as they are, and of later ones the first 19
//! digits: the float is the same, or its neighbour.

/// Digits that never take long.
const DIGITS_EASY: usize = 19;
/// Longer numbers of one publish that are taken as they are.
pub(super) const LONG_MAX: u32 = 64;

/// How many longer numbers may still come.
#[derive(Debug)]
pub(super) struct Floats {
    long_left: u32,
}

impl Default for Floats {
    fn default() -> Self {
        Self {
            long_left: LONG_MAX,
        }
    }
}

impl Floats {
    /// What to read instead of `text`, if it is a number that is too dear.
    pub(super) fn shortened(&mut self, text: &str) -> Option<String> {
        if text.len() <= DIGITS_EASY {
            return None;
        }
        let short = cut(text)?;
        if self.long_left == 0 {
            return Some(short);
        }
        self.long_left -= 1;
        None
    }

    pub(super) fn parse(&mut self, text: &str) -> Option<f64> {
        let short = self.shortened(text);
        short.as_deref().unwrap_or(text).parse().ok()
    }
}

/// The first digits of a decimal that has more, at their place; `None` if it has not, or is none.
fn cut(text: &str) -> Option<String> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let mut short = String::with_capacity(DIGITS_EASY + 8);
    let (mut digits, mut is_behind_point, mut is_cut) = (0, false, false);
    for byte in mantissa.bytes() {
        match byte {
            b'0'..=b'9' if digits >= DIGITS_EASY => {
                is_cut = true;
                // In front of the point its place still counts.
                if !is_behind_point {
                    short.push('0');
                }
            }
            b'0'..=b'9' => {
                digits += usize::from(digits > 0 || byte != b'0');
                short.push(byte as char);
            }
            b'.' => {
                is_behind_point = true;
                short.push('.');
            }
            b'-' | b'+' => short.push(byte as char),
            _ => return None,
        }
    }
    short.push_str(exponent);
    // A date or a serial number may be made of digits, too.
    (is_cut && short.parse::<f64>().is_ok()).then_some(short)
}

#[cfg(test)]
mod tests;
