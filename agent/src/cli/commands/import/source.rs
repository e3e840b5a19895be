//! The bytes of what is imported: of a file or of standard input, compressed or not, in whichever characters.
//!
//! Promises: what is imported is exactly what was hashed, also of a file that grows meanwhile; memory is bounded.
//! Standard input goes to a temporary file first: its hash must be known before its first row is stored.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use clap::ValueEnum;
use flate2::bufread::MultiGzDecoder;
use parquet::{
    errors::ParquetError,
    file::reader::{ChunkReader, Length},
};
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};
use xxhash_rust::xxh3::Xxh3;

use super::super::Exit;
use crate::base::owner;

/// Most bytes of standard input.
const SPOOL_BYTES_MAX: u64 = 64 << 30;
/// The largest window that zstd uses below `--ultra` and `--long`.
const ZSTD_WINDOW_BYTES_MAX: u64 = 8 << 20;
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// In which characters a text file is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Encoding {
    /// By its byte order mark; UTF-8 without one
    #[default]
    Auto,
    /// Western European, as Windows programs write it
    #[value(name = "windows-1252", alias = "latin1")]
    Windows1252,
    /// UTF-16 with the lower byte first
    #[value(name = "utf-16le")]
    Utf16Le,
    /// UTF-16 with the higher byte first
    #[value(name = "utf-16be")]
    Utf16Be,
}

/// What is imported.
pub(super) struct Source {
    /// For people.
    pub(super) name: String,
    /// Hash of its bytes.
    pub(super) content: u128,
    /// How many these are.
    pub(super) bytes: u64,
    file: Arc<File>,
    begins: Vec<u8>,
}

impl Source {
    /// Opens `path`, or standard input for `-`, and reads all of it once.
    ///
    /// # Errors
    /// [`Exit::Failed`] if it cannot be read; [`Exit::Usage`] if it is of a kind that is not imported.
    pub(super) fn open(path: &Path) -> Result<Self, Exit> {
        let is_stdin = path == Path::new("-");
        let name = if is_stdin {
            "standard input".to_owned()
        } else {
            path.display().to_string()
        };
        let failed = |error: io::Error| Exit::Failed(format!("{name}: {error}"));
        let (file, content, bytes) = if is_stdin {
            spool(io::stdin().lock()).map_err(failed)?
        } else {
            let file = owner::as_caller(|| File::open(path)).map_err(failed)?;
            let kind = file.metadata().map_err(failed)?.file_type();
            if kind.is_dir() {
                return Err(Exit::Usage(format!("{name}: is a directory; name a file")));
            }
            if kind.is_file() {
                hashed(file).map_err(failed)?
            } else {
                // A pipe, which can be read once.
                spool(file).map_err(failed)?
            }
        };
        let mut begins = vec![0; 512];
        let read = file.read_at(&mut begins, 0).map_err(failed)?;
        begins.truncate(read);
        let source = Self {
            name,
            content,
            bytes,
            file: Arc::new(file),
            begins,
        };
        source.check_kind()?;
        Ok(source)
    }

    /// Whether it is a Parquet file.
    pub(super) fn is_parquet(&self) -> bool {
        self.begins.starts_with(b"PAR1")
    }

    /// The bytes that were hashed, without what has come behind them since.
    pub(super) fn hashed(&self) -> Hashed {
        Hashed {
            file: Arc::clone(&self.file),
            bytes: self.bytes,
        }
    }

    /// Its text, without compression, as UTF-8 as far as it can be.
    ///
    /// # Errors
    /// What the system said, or what is wrong with its first bytes.
    pub(super) fn text(&self, encoding: Encoding) -> io::Result<Box<dyn BufRead>> {
        let raw = self.hashed().part(0);
        let mut plain: Box<dyn BufRead> = if self.begins.starts_with(GZIP) {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(raw)))
        } else if self.begins.starts_with(ZSTD) {
            Box::new(BufReader::with_capacity(1 << 16, Zstd::Between(raw)))
        } else {
            Box::new(raw)
        };
        let encoding = match (encoding, plain.fill_buf()?) {
            (Encoding::Auto, [0xff, 0xfe, ..]) => Encoding::Utf16Le,
            (Encoding::Auto, [0xfe, 0xff, ..]) => Encoding::Utf16Be,
            (encoding, _) => encoding,
        };
        Ok(match encoding {
            Encoding::Auto => plain,
            encoding => Box::new(BufReader::new(Recoded::new(plain, encoding))),
        })
    }

    fn check_kind(&self) -> Result<(), Exit> {
        let name = &self.name;
        let refuse = |what: &str| Err(Exit::Usage(format!("{name}: {what}")));
        let text = self.begins.trim_ascii_start();
        match text {
            [b'P', b'K', 3, 4, ..] => {
                refuse("is a ZIP archive or an Excel workbook: unpack it, or save it as CSV")
            }
            [0xd0, 0xcf, 0x11, 0xe0, ..] => refuse("is an old Excel workbook: save it as CSV"),
            [b'S', b'Q', b'L', b'i', b't', b'e', ..] => {
                refuse("is an SQLite database: write a table of it as CSV")
            }
            [b'{' | b'[', ..] => refuse(
                "is JSON, which is not imported: write it as CSV, or publish it to the topic of its stream",
            ),
            [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] => {
                refuse("is compressed with bzip2 or xz: unpack it, or use gzip or zstd")
            }
            _ => Ok(()),
        }
    }
}

/// Reads all of a file once; its hash and length.
fn hashed(mut file: File) -> io::Result<(File, u128, u64)> {
    let (content, bytes) = copy(&mut file, &mut io::sink(), u64::MAX)?;
    Ok((file, content, bytes))
}

/// Puts all of `input` into a file without a name.
fn spool(input: impl Read) -> io::Result<(File, u128, u64)> {
    let mut file = tempfile::tempfile()?;
    let (content, bytes) = copy(input, &mut file, SPOOL_BYTES_MAX)?;
    file.seek(SeekFrom::Start(0))?;
    Ok((file, content, bytes))
}

fn copy(mut from: impl Read, to: &mut impl Write, bytes_max: u64) -> io::Result<(u128, u64)> {
    let mut hash = Xxh3::new();
    let mut bytes = 0;
    let mut chunk = vec![0; 1 << 16];
    loop {
        let read = match from.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Ok((hash.digest128(), bytes));
        }
        bytes += read as u64;
        if bytes > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        hash.update(&chunk[..read]);
        to.write_all(&chunk[..read])?;
    }
}

/// The bytes of a file that were hashed, to be read from anywhere.
pub(super) struct Hashed {
    file: Arc<File>,
    bytes: u64,
}

impl Hashed {
    fn part(&self, from: u64) -> BufReader<Part> {
        let part = Part {
            file: Arc::clone(&self.file),
            next: from.min(self.bytes),
            end: self.bytes,
        };
        BufReader::with_capacity(1 << 16, part)
    }
}

impl Length for Hashed {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Hashed {
    type T = BufReader<Part>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.part(start))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let left = self.bytes.saturating_sub(start);
        if length as u64 > left {
            let what = "it names bytes behind its end".to_owned();
            return Err(ParquetError::EOF(what));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// A part of a file that is open more than once.
pub(super) struct Part {
    file: Arc<File>,
    next: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
        let room = buf.len().min(left);
        let read = self.file.read_at(&mut buf[..room], self.next)?;
        if read == 0 && room > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it was cut while it was read",
            ));
        }
        self.next += read as u64;
        Ok(read)
    }
}

/// Zstd frames, one behind the other.
enum Zstd<R: Read> {
    Between(R),
    Frame(R, Box<FrameDecoder>),
    Ended,
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(self, Self::Ended) {
                Self::Ended => return Ok(0),
                Self::Frame(mut rest, mut decoder) => {
                    while decoder.can_collect() == 0 && !decoder.is_finished() {
                        let one = BlockDecodingStrategy::UptoBlocks(1);
                        let decoded = decoder.decode_blocks(&mut rest, one);
                        decoded.map_err(|error| io::Error::other(format!("zstd: {error}")))?;
                    }
                    let read = decoder.read(buf)?;
                    if read > 0 || buf.is_empty() {
                        *self = Self::Frame(rest, decoder);
                        return Ok(read);
                    }
                    *self = Self::Between(rest);
                }
                Self::Between(mut rest) => {
                    if rest.fill_buf()?.is_empty() {
                        return Ok(0);
                    }
                    let mut decoder = Box::new(FrameDecoder::new());
                    decoder.set_max_window_size(ZSTD_WINDOW_BYTES_MAX);
                    match decoder.init(&mut rest) {
                        Ok(()) => *self = Self::Frame(rest, decoder),
                        Err(FrameDecoderError::ReadFrameHeaderError(
                            ReadFrameHeaderError::SkipFrame { length, .. },
                        )) => {
                            let mut skipped = (&mut rest).take(u64::from(length));
                            io::copy(&mut skipped, &mut io::sink())?;
                            *self = Self::Between(rest);
                        }
                        Err(error) => return Err(io::Error::other(format!("zstd: {error}"))),
                    }
                }
            }
        }
    }
}

/// Bytes of other characters as UTF-8.
struct Recoded<R> {
    input: R,
    encoding: Encoding,
    out: Vec<u8>,
    at: usize,
    /// Half a unit.
    half: Option<u8>,
    /// The first unit of two.
    high: Option<u16>,
    at_start: bool,
}

impl<R: BufRead> Recoded<R> {
    fn new(input: R, encoding: Encoding) -> Self {
        Self {
            input,
            encoding,
            out: Vec::new(),
            at: 0,
            half: None,
            high: None,
            at_start: true,
        }
    }

    fn push(&mut self, character: char) {
        // The mark says how to read, and is no text.
        if !(std::mem::take(&mut self.at_start) && character == '\u{feff}') {
            let mut utf8 = [0; 4];
            self.out
                .extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
        }
    }

    fn push_unit(&mut self, unit: u16) {
        let high = self.high.take();
        if (0xd800..0xdc00).contains(&unit) {
            if high.is_some() {
                self.push(char::REPLACEMENT_CHARACTER);
            }
            self.high = Some(unit);
            return;
        }
        let units = high.into_iter().chain([unit]);
        let characters: Vec<char> = char::decode_utf16(units)
            .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        for character in characters {
            self.push(character);
        }
    }
}

impl<R: BufRead> Read for Recoded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.out.len() {
            self.out.clear();
            self.at = 0;
            let chunk = self.input.fill_buf()?.to_vec();
            self.input.consume(chunk.len());
            if chunk.is_empty() {
                if self.half.take().is_none() && self.high.take().is_none() {
                    return Ok(0);
                }
                // The file ends within a character.
                self.push(char::REPLACEMENT_CHARACTER);
                continue;
            }
            for byte in chunk {
                if self.encoding == Encoding::Windows1252 {
                    self.push(windows_1252(byte));
                    continue;
                }
                match self.half.take() {
                    None => self.half = Some(byte),
                    Some(first) if self.encoding == Encoding::Utf16Be => {
                        self.push_unit(u16::from_be_bytes([first, byte]));
                    }
                    Some(first) => self.push_unit(u16::from_le_bytes([first, byte])),
                }
            }
        }
        let read = buf.len().min(self.out.len() - self.at);
        buf[..read].copy_from_slice(&self.out[self.at..self.at + read]);
        self.at += read;
        Ok(read)
    }
}

/// The character of a byte; the five that none has been given are what they are in Latin-1.
fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests;
