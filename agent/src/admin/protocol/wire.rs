//! An operation's answer on the wire: signs of life, data, and how it ended.
//!
//! A frame is a kind (one byte), a length (four bytes, big-endian) and as many bytes:
//! `p` progress (two u64), `d` data, `=` the answer as JSON, `!` an [`OperationError`] as JSON.
//! The last two end it; whatever stops before is broken.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use axum::body::Body;
use bytes::{Buf, BytesMut};

use super::ControlError;
use crate::admin::{
    client::Reply,
    operations::{Listener, OperationError},
    server,
};

/// Smallest gap between two signs of life.
const PROGRESS_GAP: Duration = Duration::from_millis(200);
/// Longest frame, bytes.
const FRAME_BYTES_MAX: usize = 64 << 20;
const HEAD_BYTES: usize = 5;

/// The far end of the control socket.
struct Wire<'a> {
    out: &'a mut (dyn Write + Send),
    told_at: Option<Instant>,
}

impl Wire<'_> {
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
        self.frame(b'p', &bytes)?;
        self.out.flush()
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame(b'd', bytes)
    }
}

/// A body in which `work` tells how it goes and ends.
pub(in crate::admin) fn answer(
    work: impl FnOnce(&mut (dyn Listener + Send)) -> Result<Vec<u8>, OperationError> + Send + 'static,
) -> Body {
    server::stream(move |out| {
        let mut wire = Wire { out, told_at: None };
        match work(&mut wire) {
            Ok(json) => wire.frame(b'=', &json),
            Err(error) => wire.frame(b'!', &serde_json::to_vec(&error)?),
        }
    })
}

/// Follows a reply to its end and returns the answer as JSON.
///
/// # Errors
/// [`OperationError::Failed`] if the agent falls silent or `listener` refuses; otherwise the
/// agent's own.
pub async fn listen(
    mut reply: Reply,
    listener: &mut (dyn Listener + Send),
) -> Result<Vec<u8>, OperationError> {
    let mut bytes = BytesMut::new();
    let broken = |what: &str| OperationError::failed(ControlError::Broken(what.into()));
    loop {
        while let Some((kind, body)) = next_frame(&mut bytes).map_err(|what| broken(&what))? {
            match kind {
                b'p' if body.len() == 16 => {
                    let (done, total) = ((&body[..8]).get_u64(), (&body[8..]).get_u64());
                    listener.progress(done, total)
                }
                b'd' => listener.data(&body),
                b'=' => return Ok(body.to_vec()),
                b'!' => {
                    let error = serde_json::from_slice(&body);
                    return Err(error.unwrap_or_else(OperationError::failed));
                }
                _ => Err(io::Error::other("the agent's answer is not understood")),
            }
            .map_err(OperationError::failed)?;
        }
        match reply.chunk().await.map_err(OperationError::failed)? {
            Some(chunk) => bytes.extend_from_slice(&chunk),
            None => return Err(broken("it ended without an answer")),
        }
    }
}

fn next_frame(bytes: &mut BytesMut) -> Result<Option<(u8, BytesMut)>, String> {
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
