//! Lines of a CSV file as cells (RFC 4180), with what the quotes say and the line they begin on.
//!
//! Promises: memory is bounded whatever comes, also behind a quote that is never closed; work is linear;
//! lines without a cell, and comments, are passed over and counted as lines.

use std::io::{self, BufRead};

/// Most bytes of one line of cells.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Most cells of one line.
const CELLS_MAX: usize = 16_384;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineFormat {
    /// Between cells.
    pub delimiter: u8,
    /// Lines that begin with it say nothing.
    pub comment: Option<u8>,
}

/// Why a line has no cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLine {
    /// More bytes or cells than a line may have.
    TooLong,
    /// The file ends within quotes.
    Unclosed,
    /// Not UTF-8.
    NotUtf8,
}

/// One line of cells; reused.
#[derive(Clone, Debug, Default)]
pub struct Line {
    text: String,
    /// Where each cell ends in the text, and whether it was quoted.
    ends: Vec<(usize, bool)>,
    number: u64,
    /// Lines of the file that it takes.
    pub span: u64,
    bad: Option<BadLine>,
}

impl Line {
    /// Cells.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The cell at `position`.
    pub fn get(&self, position: usize) -> Option<&str> {
        let (end, _) = *self.ends.get(position)?;
        let start = position
            .checked_sub(1)
            .map_or(0, |before| self.ends[before].0);
        self.text.get(start..end)
    }

    /// Whether the cell there was quoted.
    pub fn is_quoted(&self, position: usize) -> bool {
        self.ends.get(position).is_some_and(|(_, quoted)| *quoted)
    }

    /// All cells.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|position| self.get(position))
    }

    /// The line of the file on which it begins, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Why it has no cells.
    pub fn bad(&self) -> Option<BadLine> {
        self.bad
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a cell.
    Start,
    Bare,
    Quoted,
    /// Behind a quote that may have closed the cell.
    Closed,
    Comment,
    /// Of a line that is too long.
    Skipped,
}

/// Reads lines.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    format: LineFormat,
    /// Ends of lines passed.
    passed: u64,
    /// Bytes passed.
    bytes: u64,
    /// Comments passed.
    comments: u64,
    /// The last byte was a CR that ended a line.
    after_cr: bool,
}

impl<R: BufRead> Lines<R> {
    /// Reads from `input`, of which `passed` lines are read already.
    pub fn new(input: R, format: LineFormat, passed: u64) -> Self {
        Self {
            input,
            format,
            passed,
            bytes: 0,
            comments: 0,
            after_cr: false,
        }
    }

    /// Lines passed over since they are comments.
    pub fn comments(&self) -> u64 {
        self.comments
    }

    /// Bytes read.
    pub fn position(&self) -> u64 {
        self.bytes
    }

    /// The next line with a cell; `false` at the end.
    ///
    /// # Errors
    /// What the system said.
    pub fn read(&mut self, line: &mut Line) -> io::Result<bool> {
        loop {
            let more = self.read_any(line)?;
            if !more {
                return Ok(false);
            }
            let is_blank = line.len() == 1 && line.get(0) == Some("") && !line.is_quoted(0);
            if line.bad.is_some() || !(line.is_empty() || is_blank) {
                return Ok(true);
            }
        }
    }

    fn read_any(&mut self, line: &mut Line) -> io::Result<bool> {
        let mut text = std::mem::take(&mut line.text).into_bytes();
        text.clear();
        line.ends.clear();
        line.bad = None;
        line.number = self.passed + 1;
        let LineFormat { delimiter, comment } = self.format;
        let is_blank = |byte: u8| (byte == b' ' || byte == b'\t') && byte != delimiter;
        let mut state = State::Start;
        let mut any = false;
        let mut ended = false;
        // Where the open cell begins.
        let mut start = 0;
        while !ended {
            let chunk = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if chunk.is_empty() {
                break;
            }
            let mut used = 0;
            for &byte in chunk {
                used += 1;
                if std::mem::take(&mut self.after_cr) && byte == b'\n' {
                    continue;
                }
                any = true;
                let is_end = byte == b'\n' || byte == b'\r';
                if is_end && state != State::Quoted {
                    self.after_cr = byte == b'\r';
                    self.passed += 1;
                    ended = true;
                    break;
                }
                self.passed += u64::from(byte == b'\n');
                match state {
                    State::Comment | State::Skipped => continue,
                    State::Quoted if byte == b'"' => state = State::Closed,
                    State::Quoted => text.push(byte),
                    State::Closed if byte == b'"' => {
                        text.push(byte);
                        state = State::Quoted;
                    }
                    State::Start | State::Bare | State::Closed if byte == delimiter => {
                        close(&mut text, start, state, &is_blank, &mut line.ends);
                        start = text.len();
                        state = State::Start;
                    }
                    State::Start if line.ends.is_empty() && Some(byte) == comment => {
                        state = State::Comment;
                    }
                    State::Start if is_blank(byte) => {}
                    State::Start if byte == b'"' => state = State::Quoted,
                    State::Closed if is_blank(byte) => {}
                    // What follows a closing quote belongs to the cell, as other readers have it.
                    State::Start | State::Bare | State::Closed => {
                        text.push(byte);
                        if state == State::Start {
                            state = State::Bare;
                        }
                    }
                }
                if text.len() > LINE_BYTES_MAX || line.ends.len() >= CELLS_MAX {
                    line.bad = Some(BadLine::TooLong);
                    state = State::Skipped;
                }
            }
            self.bytes += used as u64;
            self.input.consume(used);
        }
        if line.bad.is_none() {
            match state {
                State::Comment => self.comments += 1,
                State::Skipped => {}
                State::Quoted => line.bad = Some(BadLine::Unclosed),
                State::Start | State::Bare | State::Closed => {
                    close(&mut text, start, state, &is_blank, &mut line.ends);
                }
            }
        }
        line.span = (self.passed + u64::from(!ended) + 1)
            .saturating_sub(line.number)
            .max(1);
        match String::from_utf8(text) {
            Ok(text) => line.text = text,
            Err(error) => {
                line.bad = line.bad.or(Some(BadLine::NotUtf8));
                let mut text = error.into_bytes();
                text.clear();
                line.text = String::from_utf8(text).unwrap_or_default();
            }
        }
        if line.bad.is_some() {
            line.ends.clear();
        }
        Ok(any)
    }
}

/// Ends a cell; a bare one is without the blanks behind it.
fn close(
    text: &mut Vec<u8>,
    start: usize,
    state: State,
    is_blank: &impl Fn(u8) -> bool,
    ends: &mut Vec<(usize, bool)>,
) {
    if state == State::Bare {
        let kept = text[start..].iter().rposition(|byte| !is_blank(*byte));
        text.truncate(start + kept.map_or(0, |last| last + 1));
    }
    ends.push((text.len(), state == State::Closed));
}

#[cfg(test)]
mod tests;
