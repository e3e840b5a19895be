//! Files to the centre and back: named by what is in them, in chunks, going on where they were cut.
//!
//! Promises: what [`fetch`] leaves at its path is, byte for byte, what its name says, and durable; what [`put`]
//! returns can be fetched. Neither holds more than [`CHUNKS_AT_ONCE`] chunks in memory, or sends faster than it
//! is told to. A put or a fetch that was cut goes on behind the last chunk that arrived.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    num::NonZeroU64,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{Centre, CentreError};

/// Bytes of every chunk but the last: what a cell of every database that can be a centre takes.
pub const CHUNK_BYTES: usize = 60_000;
/// Chunks in a call.
pub const CHUNKS_AT_ONCE: usize = 8;
/// How often a put begins anew because others have removed what it had put.
const TURNS_BACK_MAX: u32 = 8;
/// Longest blob.
pub const BLOB_BYTES_MAX: u64 = 1 << 30;

/// Names a blob: the SHA-256 of its bytes. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobHash(pub [u8; 32]);

impl BlobHash {
    /// The name of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobHash({self})")
    }
}

impl FromStr for BlobHash {
    type Err = CentreError;

    fn from_str(text: &str) -> Result<Self, CentreError> {
        let wrong =
            || CentreError::Refused(format!("{text:?} names no blob: 64 hexadecimal digits do"));
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(hash))
    }
}

/// What is there of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobState {
    /// Its first chunks, none at all among these.
    Partial {
        /// How many.
        chunks: u64,
    },
    /// All of it.
    Whole {
        /// Its length.
        bytes: u64,
    },
}

/// Why a blob did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The database's part.
    #[error(transparent)]
    Centre(#[from] CentreError),
    /// This machine's disk.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It changed while it was sent: nothing was put.
    #[error("{} changed while it was sent; put a file that stays as it is", .0.display())]
    Changed(PathBuf),
    /// Nobody has put it there, or not yet all of it.
    #[error("blob {0} is not at the centre; has its upload ended?")]
    Missing(BlobHash),
    /// What is there is something else. It must be removed, and put anew.
    #[error(
        "blob {0} is damaged at the centre: its bytes have another hash; remove it there and put it again"
    )]
    Damaged(BlobHash),
    /// Longer than [`BLOB_BYTES_MAX`], or than the caller takes.
    #[error("a blob of {bytes} bytes; at most {bytes_max}")]
    TooLong {
        /// Its length.
        bytes: u64,
        /// What is taken.
        bytes_max: u64,
    },
}

/// Holds a transfer to so many bytes a second; `None`: as fast as it goes.
struct Pace {
    bytes_per_s_max: Option<NonZeroU64>,
    begun: Instant,
    bytes: u64,
}

impl Pace {
    fn new(bytes_per_s_max: Option<NonZeroU64>) -> Self {
        Self {
            bytes_per_s_max,
            begun: Instant::now(),
            bytes: 0,
        }
    }

    /// `bytes` have gone: waits until the next may.
    async fn gone(&mut self, bytes: usize) {
        let Some(per_s) = self.bytes_per_s_max else {
            return;
        };
        self.bytes += bytes as u64;
        let due = Duration::from_secs_f64(self.bytes as f64 / per_s.get() as f64);
        tokio::time::sleep_until(self.begun + due).await;
    }
}

/// Puts the file at `path` to the centre and returns its name there. One that is there already is not sent again.
///
/// # Errors
/// [`BlobError`]; after an unavailable centre the same again goes on where this was cut.
pub async fn put(
    centre: &dyn Centre,
    path: &Path,
    bytes_per_s_max: Option<NonZeroU64>,
) -> Result<BlobHash, BlobError> {
    let disk = |source| BlobError::Disk {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(disk)?;
    let (mut file, (hash, bytes)) = hashed(file).await.map_err(disk)?;
    if bytes > BLOB_BYTES_MAX {
        return Err(BlobError::TooLong {
            bytes,
            bytes_max: BLOB_BYTES_MAX,
        });
    }
    let mut next = match centre.blob(hash).await? {
        BlobState::Whole { .. } => return Ok(hash),
        BlobState::Partial { chunks } => chunks,
    };
    if next > 0
        && !are_ours(centre, &mut file, hash, next)
            .await
            .map_err(|error| error.at(path))?
    {
        // Whoever began it sent something else.
        centre.remove_partial(hash).await?;
        next = 0;
    }
    let mut pace = Pace::new(bytes_per_s_max);
    let chunks_max = bytes.div_ceil(CHUNK_BYTES as u64);
    let mut turns_back = 0;
    while next < chunks_max {
        file.seek(SeekFrom::Start(next * CHUNK_BYTES as u64))
            .map_err(disk)?;
        let chunks = read_chunks(&mut file).map_err(disk)?;
        if chunks.is_empty() {
            return Err(BlobError::Changed(path.to_owned()));
        }
        let there = centre.put_chunks(hash, next, &chunks).await?;
        if there <= next {
            // Somebody has removed it.
            turns_back += 1;
            if turns_back > TURNS_BACK_MAX {
                let reason = format!("others remove blob {hash} again and again");
                return Err(CentreError::Unavailable(reason).into());
            }
        }
        next = there;
        pace.gone(chunks.iter().map(Vec::len).sum()).await;
    }
    file.rewind().map_err(disk)?;
    let (_, after) = hashed(file).await.map_err(disk)?;
    if after != (hash, bytes) {
        centre.remove_partial(hash).await?;
        return Err(BlobError::Changed(path.to_owned()));
    }
    centre.seal_blob(hash, bytes).await?;
    Ok(hash)
}

/// What went wrong while a file was compared with the centre.
enum CompareError {
    Centre(CentreError),
    Disk(io::Error),
}

impl CompareError {
    fn at(self, path: &Path) -> BlobError {
        match self {
            Self::Centre(error) => error.into(),
            Self::Disk(source) => BlobError::Disk {
                path: path.to_owned(),
                source,
            },
        }
    }
}

/// Whether the first `chunks` chunks at the centre are those of `file`.
async fn are_ours(
    centre: &dyn Centre,
    file: &mut File,
    hash: BlobHash,
    chunks: u64,
) -> Result<bool, CompareError> {
    file.rewind().map_err(CompareError::Disk)?;
    let mut at = 0;
    while at < chunks {
        let there = centre.chunks(hash, at, CHUNKS_AT_ONCE).await;
        let there = there.map_err(CompareError::Centre)?;
        let ours = read_chunks(file).map_err(CompareError::Disk)?;
        if there.is_empty() || !ours.starts_with(&there) {
            return Ok(false);
        }
        at += there.len() as u64;
    }
    Ok(true)
}

/// Fetches blob `hash` into the file `path`, which appears whole or not at all. What has arrived is kept beside
/// it, in `<path>.<hash>.part`, until the rest has; one fetch at a time.
///
/// # Errors
/// [`BlobError`]; after an unavailable centre the same again goes on where this was cut.
pub async fn fetch(
    centre: &dyn Centre,
    hash: BlobHash,
    path: &Path,
    bytes_max: u64,
    bytes_per_s_max: Option<NonZeroU64>,
) -> Result<(), BlobError> {
    let BlobState::Whole { bytes } = centre.blob(hash).await? else {
        return Err(BlobError::Missing(hash));
    };
    if bytes > bytes_max {
        return Err(BlobError::TooLong { bytes, bytes_max });
    }
    let mut name = OsString::from(path);
    name.push(format!(".{hash}.part"));
    let part = PathBuf::from(name);
    let disk = |source| BlobError::Disk {
        path: part.clone(),
        source,
    };
    let place = part.clone();
    // Long where much of a long file has arrived.
    let arriving = tokio::task::spawn_blocking(move || Arriving::at(&place)).await;
    let arriving = arriving.unwrap_or_else(|error| Err(io::Error::other(error)));
    let mut arriving = arriving.map_err(disk)?;
    let mut pace = Pace::new(bytes_per_s_max);
    // What was there before may be what is wrong: then all of it is fetched once more.
    let mut may_begin_anew = arriving.bytes > 0;
    loop {
        let is_right = arriving.rest(centre, hash, bytes, &mut pace).await;
        if is_right.map_err(|error| error.at(&part))? {
            break;
        }
        if !may_begin_anew {
            fs::remove_file(&part).map_err(disk)?;
            return Err(BlobError::Damaged(hash));
        }
        may_begin_anew = false;
        arriving.begin_anew().map_err(disk)?;
    }
    arriving.file.sync_all().map_err(disk)?;
    fs::rename(&part, path).map_err(disk)?;
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))
        .and_then(|dir| dir.sync_all())
        .map_err(disk)
}

/// A file that is not whole yet, and locked.
struct Arriving {
    file: File,
    bytes: u64,
    hasher: Sha256,
}

impl Arriving {
    /// What an earlier fetch has left at `part`, to the last whole chunk.
    fn at(part: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(part)?;
        file.try_lock().map_err(io::Error::from)?;
        // Another fetch may have given it its name between opening and locking.
        let is_there = fs::metadata(part).is_ok_and(|there| {
            let ours = file.metadata();
            ours.is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        });
        if !is_there {
            let words = "another fetch has just ended";
            return Err(io::Error::new(io::ErrorKind::WouldBlock, words));
        }
        let mut hasher = Sha256::new();
        let mut bytes = 0;
        let mut chunk = vec![0; CHUNK_BYTES];
        while read_full(&mut file, &mut chunk)? == CHUNK_BYTES {
            hasher.update(&chunk);
            bytes += CHUNK_BYTES as u64;
        }
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes))?;
        Ok(Self {
            file,
            bytes,
            hasher,
        })
    }

    /// Fetches what is missing of `bytes`; whether all of it is what the hash says.
    async fn rest(
        &mut self,
        centre: &dyn Centre,
        hash: BlobHash,
        bytes: u64,
        pace: &mut Pace,
    ) -> Result<bool, CompareError> {
        while self.bytes < bytes {
            let next = self.bytes / CHUNK_BYTES as u64;
            let chunks = centre.chunks(hash, next, CHUNKS_AT_ONCE).await;
            let chunks = chunks.map_err(CompareError::Centre)?;
            if chunks.is_empty() {
                return Ok(false);
            }
            for chunk in &chunks {
                // Whoever wrote them need not have kept to the bounds.
                let due = (bytes - self.bytes).min(CHUNK_BYTES as u64);
                if chunk.len() as u64 != due {
                    return Ok(false);
                }
                self.file.write_all(chunk).map_err(CompareError::Disk)?;
                self.hasher.update(chunk);
                self.bytes += due;
            }
            pace.gone(chunks.iter().map(Vec::len).sum()).await;
        }
        Ok(self.bytes == bytes && BlobHash(self.hasher.clone().finalize().into()) == hash)
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        (self.bytes, self.hasher) = (0, Sha256::new());
        Ok(())
    }
}

/// `file`, at its start again, with its hash and length. Long for a long file, so not here.
async fn hashed(mut file: File) -> io::Result<(File, (BlobHash, u64))> {
    let hashing =
        tokio::task::spawn_blocking(move || hash_of(&mut file).map(|found| (file, found)));
    hashing
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// The hash and the length of what is in `file`, which is at its start again then.
fn hash_of(file: &mut File) -> io::Result<(BlobHash, u64)> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        let read = read_full(file, &mut chunk)?;
        hasher.update(&chunk[..read]);
        bytes += read as u64;
        if read < chunk.len() {
            break;
        }
    }
    file.rewind()?;
    Ok((BlobHash(hasher.finalize().into()), bytes))
}

/// The next chunks of `file`; none at its end.
fn read_chunks(file: &mut File) -> io::Result<Vec<Vec<u8>>> {
    let mut chunks = Vec::new();
    while chunks.len() < CHUNKS_AT_ONCE {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = read_full(file, &mut chunk)?;
        chunk.truncate(read);
        if read > 0 {
            chunks.push(chunk);
        }
        if read < CHUNK_BYTES {
            break;
        }
    }
    Ok(chunks)
}

/// Fills `bytes` as far as `file` goes; how far.
fn read_full(file: &mut File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read(&mut bytes[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
