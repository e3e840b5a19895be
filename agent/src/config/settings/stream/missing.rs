//! Words that say that there is no value.

/// Words for "no value", whatever their case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissingWords {
    words: Vec<String>,
    /// Nearly everything else is longer or shorter: a look at the length is all that it costs.
    bytes_max: usize,
    has_number: bool,
}

impl From<Vec<String>> for MissingWords {
    fn from(words: Vec<String>) -> Self {
        let is_number = |word: &String| word.parse().is_ok_and(f64::is_finite);
        Self {
            bytes_max: words.iter().map(String::len).max().unwrap_or_default(),
            has_number: words.iter().any(is_number),
            words,
        }
    }
}

impl MissingWords {
    /// No word at all.
    pub(crate) const fn none() -> Self {
        Self {
            words: Vec::new(),
            bytes_max: 0,
            has_number: false,
        }
    }

    /// Whether `text` is one of them.
    pub fn contains(&self, text: &str) -> bool {
        let mut words = self.words.iter();
        text.len() <= self.bytes_max && words.any(|word| text.eq_ignore_ascii_case(word))
    }

    /// Whether one of them is a number, such as the -999 of a sensor that is not there.
    pub fn has_number(&self) -> bool {
        self.has_number
    }
}
