//! Answers too long for memory, written while they are sent.

use std::io::{self, Write};

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::{sync::mpsc, task::JoinHandle};

/// Bytes of one chunk of a streamed answer.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks of a streamed answer that wait for a slow reader.
const CHUNKS_MAX: usize = 4;

/// A body that `produce` writes on a thread of its own while it is sent.
///
/// A slow reader makes `produce` wait; a reader gone makes its writes fail. If `produce` fails or
/// panics, the answer breaks off and the reader knows.
pub(super) fn stream(
    produce: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()> + Send + 'static,
) -> Body {
    let (chunks, received) = mpsc::channel(CHUNKS_MAX);
    let producer = tokio::task::spawn_blocking(move || {
        let mut writer = ChunkWriter {
            pending: Vec::new(),
            chunks,
        };
        produce(&mut writer)?;
        writer.flush()
    });
    Body::from_stream(stream::unfold(
        (received, Some(producer)),
        |(mut received, producer)| async move {
            if let Some(chunk) = received.recv().await {
                return Some((Ok(chunk), (received, producer)));
            }
            let error = ended(producer?).await.err()?;
            tracing::warn!(%error, "a streamed answer broke off");
            Some((Err(error), (received, None)))
        },
    ))
}

async fn ended(producer: JoinHandle<io::Result<()>>) -> io::Result<()> {
    producer
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// Gathers small writes into chunks.
struct ChunkWriter {
    pending: Vec<u8>,
    chunks: mpsc::Sender<Bytes>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK_BYTES - self.pending.len());
        self.pending.extend_from_slice(&bytes[..taken]);
        if self.pending.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.pending).into();
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the reader is gone");
        self.chunks.blocking_send(chunk).map_err(gone)
    }
}
