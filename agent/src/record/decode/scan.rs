//! A JSON scanner that builds nothing: it hands out keys and scalars as slices of the payload.
//!
//! Why not `serde_json`: a record must refuse a key that comes twice and subject `1e999` to the rule's
//! NaN policy, floats must be rounded correctly and times taken as decimals, all of which need numbers
//! as they were written. The tests hold it to `serde_json`'s verdict on any input. The one thing taken
//! beyond RFC 8259 is what Python and others write for want of better: `NaN`, `Infinity`, `-Infinity`.

use std::borrow::Cow;

use super::{NESTING_MAX, Reason, Reject, value::Cell};

/// A place in a JSON text.
#[derive(Clone)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is not white space; stays in front of it.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes `byte`, past white space.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Reject> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.expected(byte))
        }
    }

    #[cold]
    fn expected(&self, byte: u8) -> Reject {
        self.error(&format!("expected `{}`", byte as char))
    }

    /// Inside an object or array that ends with `close`: whether another item follows. Takes the comma
    /// in front of it, or `close`.
    #[inline]
    pub(super) fn more(&mut self, close: u8, first: bool) -> Result<bool, Reject> {
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            Some(_) if first => Ok(true),
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.neither_more_nor(close)),
        }
    }

    #[cold]
    fn neither_more_nor(&self, close: u8) -> Reject {
        self.error(&format!("expected `,` or `{}`", close as char))
    }

    /// Nothing but white space may be left.
    pub(super) fn end(&mut self) -> Result<(), Reject> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error("nothing may follow the value")),
        }
    }

    /// A string, borrowed unless it holds escapes.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Reject> {
        self.expect(b'"')?;
        let start = self.at;
        self.plain_run()?;
        let run = &self.text[start..self.at];
        if self.text.as_bytes()[self.at] == b'"' {
            self.at += 1;
            return Ok(Cow::Borrowed(run));
        }
        self.escaped(run)
    }

    /// The rest of a string that begins with `run`, from its first escape on.
    fn escaped(&mut self, run: &str) -> Result<Cow<'a, str>, Reject> {
        let mut text = run.to_owned();
        loop {
            self.at += 1;
            text.push(self.escape()?);
            let start = self.at;
            self.plain_run()?;
            text.push_str(&self.text[start..self.at]);
            if self.text.as_bytes()[self.at] == b'"' {
                self.at += 1;
                return Ok(Cow::Owned(text));
            }
        }
    }

    /// A key and the colon behind it.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Cow<'a, str>, Reject> {
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    /// Whether an object or array comes next.
    #[inline]
    pub(super) fn at_container(&mut self) -> bool {
        matches!(self.peek(), Some(b'{' | b'['))
    }

    /// Whether the array that comes next begins with an object.
    pub(super) fn is_list_of_objects(&self) -> bool {
        let mut ahead = self.clone();
        ahead.expect(b'[').is_ok() && ahead.peek() == Some(b'{')
    }

    /// A string, number, boolean or null.
    pub(super) fn scalar(&mut self) -> Result<Cell<'a>, Reject> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => self.number().map(Cell::Number),
            Some(b'"') => self.string().map(Cell::Text),
            Some(b't') => self.word("true").map(|_| Cell::Bool(true)),
            Some(b'f') => self.word("false").map(|_| Cell::Bool(false)),
            Some(b'n') => self.word("null").map(|_| Cell::Null),
            Some(b'N') => self.word("NaN").map(Cell::Number),
            Some(b'I') => self.word("Infinity").map(Cell::Number),
            _ => Err(self.error("expected a value")),
        }
    }

    /// Passes over one value of any kind, `depth` levels down.
    pub(super) fn skip(&mut self, depth: usize) -> Result<(), Reject> {
        self.check_depth(depth)?;
        let mut first = true;
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                while self.more(b'}', first)? {
                    first = false;
                    self.key()?;
                    self.skip(depth + 1)?;
                }
                Ok(())
            }
            Some(b'[') => {
                self.at += 1;
                while self.more(b']', first)? {
                    first = false;
                    self.skip(depth + 1)?;
                }
                Ok(())
            }
            _ => self.scalar().map(|_| ()),
        }
    }

    /// Bounds the recursion of whoever walks the text.
    #[inline]
    pub(super) fn check_depth(&self, depth: usize) -> Result<(), Reject> {
        if depth > NESTING_MAX {
            return Err(self.error(&format!("nested deeper than {NESTING_MAX} levels")));
        }
        Ok(())
    }

    /// A refusal that names this place.
    #[cold]
    pub(super) fn error(&self, problem: &str) -> Reject {
        Reject::new(
            Reason::NotJson,
            format!("{problem} at byte {} of {}", self.at, self.text.len()),
        )
    }

    /// Goes to the next quote or backslash of a string.
    #[inline]
    fn plain_run(&mut self) -> Result<(), Reject> {
        let rest = &self.text.as_bytes()[self.at..];
        let is_end = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
        let end = rest.iter().position(is_end);
        self.at += end.unwrap_or(rest.len());
        match end.map(|end| rest[end]) {
            Some(b'"' | b'\\') => Ok(()),
            Some(_) => Err(self.error("an unescaped control character")),
            None => Err(self.error("a string without its end")),
        }
    }

    fn escape(&mut self) -> Result<char, Reject> {
        let escaped = self.text.as_bytes().get(self.at).copied();
        self.at += 1;
        Ok(match escaped {
            Some(same @ (b'"' | b'\\' | b'/')) => same as char,
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.code_point(),
            _ => {
                self.at -= 1;
                return Err(self.error("an unknown escape"));
            }
        })
    }

    /// The rest of a `\u` escape (four hexadecimal digits), or of a pair of them.
    fn code_point(&mut self) -> Result<char, Reject> {
        let mut code = self.four_hex_digits()?;
        if (0xd800..0xdc00).contains(&code) {
            let low = if self.text[self.at..].starts_with("\\u") {
                self.at += 2;
                self.four_hex_digits()?
            } else {
                0
            };
            if !(0xdc00..0xe000).contains(&low) {
                return Err(self.error("half a surrogate pair"));
            }
            code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        char::from_u32(code).ok_or_else(|| self.error("half a surrogate pair"))
    }

    fn four_hex_digits(&mut self) -> Result<u32, Reject> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.text.as_bytes().get(self.at);
            let Some(digit) = digit.and_then(|&byte| char::from(byte).to_digit(16)) else {
                return Err(self.error("expected four hexadecimal digits"));
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    #[inline]
    fn number(&mut self) -> Result<&'a str, Reject> {
        let start = self.at;
        if self.at_byte(b'-') {
            self.at += 1;
            if self.at_byte(b'I') {
                self.word("Infinity")?;
                return Ok(&self.text[start..self.at]);
            }
        }
        if self.at_byte(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.at_byte(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if self.at_byte(b'e') || self.at_byte(b'E') {
            self.at += 1;
            if self.at_byte(b'+') || self.at_byte(b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    #[inline]
    fn digits(&mut self) -> Result<(), Reject> {
        let rest = &self.text.as_bytes()[self.at..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Err(self.error("expected a digit"));
        }
        self.at += digits;
        Ok(())
    }

    #[inline]
    fn at_byte(&self, byte: u8) -> bool {
        self.text.as_bytes().get(self.at) == Some(&byte)
    }

    fn word(&mut self, word: &'static str) -> Result<&'static str, Reject> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.error("expected a value"));
        }
        self.at += word.len();
        Ok(word)
    }
}

#[cfg(test)]
mod tests;
