//! An operation's answer on the wire: signs of life, data, and how it ended.
//!
//! A frame is a kind (one byte), a length (four bytes, big-endian) and as many bytes:
//! `p` progress (two u64), `d` data, `=` the answer as JSON, `!` an [`OperationError`] as JSON.
//! The last two end it; whatever stops before is broken.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};

use crate::admin::operations::{Listener, OperationError};

/// How far it is, and a sign of life.
pub(in crate::admin) const PROGRESS: u8 = b'p';
/// More of what it produces.
pub(in crate::admin) const DATA: u8 = b'd';
/// It is done.
pub(in crate::admin) const ANSWER: u8 = b'=';
/// It was not done.
pub(in crate::admin) const ERROR: u8 = b'!';

/// Smallest gap between two signs of life.
const PROGRESS_GAP: Duration = Duration::from_millis(200);
/// Longest frame, bytes.
const FRAME_BYTES_MAX: usize = 64 << 20;
const HEAD_BYTES: usize = 5;

/// The listener at the far end of the control socket.
pub(in crate::admin) struct Wire<'a> {
    out: &'a mut (dyn Write + Send),
    told_at: Option<Instant>,
}

impl<'a> Wire<'a> {
    pub(in crate::admin) fn new(out: &'a mut (dyn Write + Send)) -> Self {
        Self { out, told_at: None }
    }

    /// Tells how it ended; the answer as JSON.
    pub(in crate::admin) fn end(mut self, end: Result<Vec<u8>, OperationError>) -> io::Result<()> {
        match end {
            Ok(json) => self.frame(ANSWER, &json),
            Err(error) => self.frame(ERROR, &serde_json::to_vec(&error)?),
        }
    }

    fn frame(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(&[kind])?;
        self.out.write_all(&(bytes.len() as u32).to_be_bytes())?;
        self.out.write_all(bytes)
    }
}

impl Listener for Wire<'_> {
    fn progress(&mut self, done: u64, total: u64) -> io::Result<()> {
        if self.told_at.is_some_and(|at| at.elapsed() < PROGRESS_GAP) {
            return Ok(());
        }
        self.told_at = Some(Instant::now());
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&done.to_be_bytes());
        bytes[8..].copy_from_slice(&total.to_be_bytes());
        self.frame(PROGRESS, &bytes)?;
        self.out.flush()
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame(DATA, bytes)
    }
}

/// Takes the next frame, its kind and its bytes, off the front of what has arrived; `None` while it is not
/// whole.
///
/// # Errors
/// What is wrong with it, in words.
pub(in crate::admin) fn next_frame(bytes: &mut BytesMut) -> Result<Option<(u8, BytesMut)>, String> {
    let Some((&kind, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let Some(length) = rest.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(format!("a part of {length} bytes is too long"));
    }
    if bytes.len() < HEAD_BYTES + length {
        return Ok(None);
    }
    bytes.advance(HEAD_BYTES);
    Ok(Some((kind, bytes.split_to(length))))
}
