//! Numbers that are dear to round.
//!
//! A decimal of up to 19 digits becomes a float in some 20 ns. With more it may lie so close to the
//! middle between two floats that every digit counts, which takes a thousand times longer: a payload
//! full of such numbers would cost a hundred times what another does. No sensor has that many digits, so
//! of each publish the first [`LONG_MAX`] numbers are taken as they are, and of later ones the first 19
//! digits: the float is the same, or its neighbour.

/// Digits that never take long.
const DIGITS_EASY: usize = 19;
/// Digits, with the point among them, whose number a float holds exactly.
const DIGITS_EXACT: usize = 15;
const POWERS_OF_TEN: [f64; DIGITS_EXACT] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14,
];
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
    #[inline]
    pub(super) fn shortened(&mut self, text: &str) -> Option<String> {
        if text.len() <= DIGITS_EASY {
            return None;
        }
        self.shortened_long(text)
    }

    fn shortened_long(&mut self, text: &str) -> Option<String> {
        let short = cut(text)?;
        if self.long_left == 0 {
            return Some(short);
        }
        self.long_left -= 1;
        None
    }

    pub(super) fn parse(&mut self, text: &str) -> Option<f64> {
        let short = self.shortened(text);
        parse(short.as_deref().unwrap_or(text))
    }
}

/// The float nearest to a decimal; `None` if it is none.
#[inline]
pub(super) fn parse(text: &str) -> Option<f64> {
    short_decimal(text).or_else(|| text.parse().ok())
}

/// What sensors send, three times as fast: a decimal of up to 15 digits, without an exponent. Its digits as a whole
/// number are exact in a float, and so is the power of ten they are divided by, so that one division rounds them
/// right (W. D. Clinger, How to Read Floating Point Numbers Accurately, 1990).
fn short_decimal(text: &str) -> Option<f64> {
    let (is_negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > DIGITS_EXACT {
        return None;
    }
    let (mut whole, mut point) = (0_u64, None);
    for (at, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => whole = whole * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    let fraction = match point {
        // Digits on both sides of it, as JSON has them.
        Some(at) if at == 0 || at + 1 == digits.len() => return None,
        Some(at) => digits.len() - at - 1,
        None if digits.is_empty() => return None,
        None => 0,
    };
    let number = whole as f64 / POWERS_OF_TEN[fraction];
    Some(if is_negative { -number } else { number })
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
