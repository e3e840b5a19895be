//! Numbered records: what the harness publishes, so that each can be found again.

use std::fmt::Write as _;

/// Streams that the ordinary records are spread over, unless it is said otherwise.
pub const STREAMS: u64 = 5;

/// Streams of the records that an upstream may refuse.
const SHUNNED_STREAMS: u64 = 20;

/// Fields that a wide record may have: it has most of them, and takes several blocks.
pub const WIDE_FIELDS: u64 = 1_200;

/// When record 0 was made, milliseconds UTC.
const FIRST_MS: u64 = 1_700_000_000_000;

/// One publish to send: where to and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
}

/// Makes record `n`, for any `n`.
#[derive(Clone, Debug)]
pub struct Numbered {
    /// Beginning of every topic; `<prefix>/+line` is the filter that takes them.
    pub prefix: String,
    /// Streams that the ordinary records are spread over.
    pub streams: u64,
    /// Bytes of incompressible text in each record, so that disk fills at a known rate.
    pub pad_bytes: usize,
    /// Every so many-th publish is no JSON; 0: none.
    pub bad_every: u64,
    /// Every so many-th is a record of very many fields, in a table `wide`; 0: none.
    pub wide_every: u64,
    /// Every so many-th is one for a table `shunned`; 0: none.
    pub shunned_every: u64,
    /// Each says when it was made, in `t`, milliseconds UTC.
    pub is_timed: bool,
}

impl Numbered {
    /// Small good records under `prefix`.
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            streams: STREAMS,
            pad_bytes: 0,
            bad_every: 0,
            wide_every: 0,
            shunned_every: 0,
            is_timed: false,
        }
    }

    /// The rule for `--topic`: schema `records`, one stream a line.
    pub fn rule(&self) -> String {
        format!("records={}/+line", self.prefix)
    }

    /// The rules for all kinds of records, for a configuration file.
    pub fn rules(&self) -> String {
        let prefix = &self.prefix;
        format!(
            "[[stream]]\nname = \"records\"\ntopic = \"{prefix}/+line\"\n\
             [[stream]]\nname = \"wide\"\ntopic = \"{prefix}/wide/+line\"\nfields_max = {}\n\
             [[stream]]\nname = \"shunned\"\ntopic = \"{prefix}/shunned/+line\"\n",
            WIDE_FIELDS + 1
        )
    }

    /// Whether publish `n` belongs into quarantine.
    pub fn is_bad(&self, n: u64) -> bool {
        is_one_of(self.bad_every, n)
    }

    /// Whether record `n` has very many fields.
    pub fn is_wide(&self, n: u64) -> bool {
        !self.is_bad(n) && is_one_of(self.wide_every, n)
    }

    fn is_shunned(&self, n: u64) -> bool {
        !self.is_bad(n) && !self.is_wide(n) && is_one_of(self.shunned_every, n)
    }

    /// Of which ordinary stream `n` is a record, if of any.
    pub fn line(&self, n: u64) -> Option<u64> {
        let is_other = self.is_bad(n) || self.is_wide(n) || self.is_shunned(n);
        (!is_other).then_some(n % self.streams)
    }

    /// The values of the wide record `n`, by field; some fields it has not.
    pub fn wide_cells(n: u64) -> impl Iterator<Item = Option<f64>> {
        (0..WIDE_FIELDS).map(move |field| {
            let word = scramble(n.wrapping_mul(WIDE_FIELDS) + field);
            // As many digits as a number of a sensor.
            (!word.is_multiple_of(8)).then_some((word >> 40) as f64 / 1_024.0)
        })
    }

    /// Publish number `n`: always the same bytes.
    pub fn publish(&self, n: u64) -> Publish {
        let prefix = &self.prefix;
        if self.is_wide(n) {
            let mut text = format!("{{\"n\":{n}");
            for (field, cell) in Self::wide_cells(n).enumerate() {
                if let Some(cell) = cell {
                    let _infallible = write!(text, ",\"w{field}\":{cell}");
                }
            }
            text.push('}');
            return Publish {
                topic: format!("{prefix}/wide/line{}", n % 2),
                payload: text.into_bytes(),
            };
        }
        let topic = if self.is_shunned(n) {
            let place = n / self.shunned_every % SHUNNED_STREAMS;
            format!("{prefix}/shunned/line{place}")
        } else {
            format!("{prefix}/line{}", n % self.streams)
        };
        let mut text = format!("{{\"n\":{n},\"v\":{}.5", n % 1000);
        if self.is_bad(n) {
            return Publish {
                topic,
                payload: text.into_bytes(),
            };
        }
        if self.is_timed {
            let _infallible = write!(text, ",\"t\":{}", FIRST_MS + n);
        }
        if self.pad_bytes > 0 {
            text.push_str(",\"x\":\"");
            let end = text.len() + self.pad_bytes;
            let mut word = n;
            while text.len() < end {
                word = scramble(word);
                let _infallible = write!(text, "{word:016x}");
            }
            text.truncate(end);
            text.push('"');
        }
        text.push('}');
        Publish {
            topic,
            payload: text.into_bytes(),
        }
    }
}

/// The number that a payload made by [`Numbered::publish`] begins with.
pub fn number_in(payload: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(payload).ok()?.strip_prefix("{\"n\":")?;
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    text[..end].parse().ok()
}

const fn is_one_of(every: u64, n: u64) -> bool {
    every > 0 && n % every == every - 1
}

const fn scramble(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests;
