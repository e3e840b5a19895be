//! Blobs.

use std::{fs, path::PathBuf};

use super::CentreTarget;
use crate::{
    centre::blobs::{self, BlobError, BlobHash, BlobState, CHUNK_BYTES},
    conformance::report::{Finding, Outcome, holds, same},
};

const BYTES_MAX: u64 = 1 << 30;

/// A folder of its own for the files of a scenario; goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Finding> {
        let name = format!("dunlin-conformance-{:032x}", rand::random::<u128>());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn file(&self, bytes: &[u8]) -> Result<PathBuf, Finding> {
        let path = self.0.join("model");
        fs::write(&path, bytes)?;
        Ok(path)
    }

    /// What was fetched is `bytes`; takes it away.
    fn is_fetched(&self, bytes: &[u8]) -> Outcome {
        let path = self.back();
        let is_same = fs::read(&path)? == bytes;
        fs::remove_file(&path)?;
        holds(
            "what was fetched",
            is_same,
            "what was put",
            "something else",
        )
    }

    fn back(&self) -> PathBuf {
        self.0.join("back")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _nothing_else_to_do = fs::remove_dir_all(&self.0);
    }
}

/// Bytes without a pattern.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

pub(super) async fn a_blob_comes_back_as_it_was(target: &dyn CentreTarget) -> Outcome {
    let (centre, folder) = (target.connect()?, Folder::new()?);
    for bytes in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 2_000_000] {
        let bytes = noise(bytes);
        let path = folder.file(&bytes)?;
        for _ in 0..2 {
            let hash = blobs::put(&*centre, &path, None).await?;
            same("its name", &BlobHash::of(&bytes), &hash)?;
        }
        let hash = BlobHash::of(&bytes);
        let elsewhere = target.connect()?;
        blobs::fetch(&*elsewhere, hash, &folder.back(), BYTES_MAX, None).await?;
        folder.is_fetched(&bytes)?;
    }
    Ok(())
}

pub(super) async fn a_put_that_was_cut_goes_on_unless_it_was_something_else(
    target: &dyn CentreTarget,
) -> Outcome {
    let (centre, folder) = (target.connect()?, Folder::new()?);
    let bytes = noise(CHUNK_BYTES * 20 + 5);
    let (path, hash) = (folder.file(&bytes)?, BlobHash::of(&bytes));
    let chunks: Vec<Vec<u8>> = bytes.chunks(CHUNK_BYTES).take(3).map(Vec::from).collect();
    centre.put_chunks(hash, 0, &chunks).await?;
    let there = centre.blob(hash).await?;
    same("what is there", &BlobState::Partial { chunks: 3 }, &there)?;
    let missing = blobs::fetch(&*centre, hash, &folder.back(), BYTES_MAX, None).await;
    let is_missing = matches!(missing, Err(BlobError::Missing(_)));
    holds(
        "fetching a part",
        is_missing,
        "missing",
        format!("{missing:?}"),
    )?;
    let there = centre.put_chunks(hash, 5, &chunks).await?;
    same("what is there after a gap", &3, &there)?;
    for wrong in [Vec::new(), vec![0; CHUNK_BYTES + 1]] {
        let chunk = centre.put_chunks(hash, 3, &[wrong]).await;
        holds(
            "a chunk of a wrong length",
            chunk.is_err(),
            "refused",
            "taken",
        )?;
    }
    let early = centre.seal_blob(hash, bytes.len() as u64).await;
    holds("sealing a part", early.is_err(), "refused", "taken")?;
    blobs::put(&*centre, &path, None).await?;
    blobs::fetch(&*centre, hash, &folder.back(), BYTES_MAX, None).await?;
    folder.is_fetched(&bytes)?;

    centre.remove_partial(hash).await?;
    let whole = BlobState::Whole {
        bytes: bytes.len() as u64,
    };
    same(
        "what is whole, after a part was to go",
        &whole,
        &centre.blob(hash).await?,
    )?;
    centre.remove_blob(hash).await?;
    let wrong = vec![vec![7; CHUNK_BYTES]; 2];
    centre.put_chunks(hash, 0, &wrong).await?;
    blobs::put(&*centre, &path, None).await?;
    blobs::fetch(&*centre, hash, &folder.back(), BYTES_MAX, None).await?;
    folder.is_fetched(&bytes)
}

pub(super) async fn a_fetch_goes_on_and_takes_nothing_damaged(
    target: &dyn CentreTarget,
) -> Outcome {
    let (centre, folder) = (target.connect()?, Folder::new()?);
    let bytes = noise(CHUNK_BYTES * 9 + 1);
    let hash = blobs::put(&*centre, &folder.file(&bytes)?, None).await?;
    let part = folder.0.join(format!("back.{hash}.part"));
    // Cut in the middle of a chunk; and what arrived is not what was there.
    for arrived in [&bytes[..CHUNK_BYTES * 4 + 17], &vec![7; CHUNK_BYTES * 2]] {
        fs::write(&part, arrived)?;
        blobs::fetch(&*centre, hash, &folder.back(), BYTES_MAX, None).await?;
        folder.is_fetched(&bytes)?;
    }
    // The centre holds something else under this name.
    let wrong = BlobHash::of(b"something else");
    let chunks: Vec<Vec<u8>> = bytes.chunks(CHUNK_BYTES).take(2).map(Vec::from).collect();
    centre.put_chunks(wrong, 0, &chunks).await?;
    centre.seal_blob(wrong, 2 * CHUNK_BYTES as u64).await?;
    let damaged = blobs::fetch(&*centre, wrong, &folder.back(), BYTES_MAX, None).await;
    let is_damaged = matches!(damaged, Err(BlobError::Damaged(_)));
    holds("fetching it", is_damaged, "damaged", format!("{damaged:?}"))?;
    let part = folder.0.join(format!("back.{wrong}.part"));
    let nothing = !folder.back().exists() && !part.exists();
    holds("what is left of that", nothing, "nothing", "a file")?;
    let long = blobs::fetch(&*centre, hash, &folder.back(), 1_000, None).await;
    let is_long = matches!(long, Err(BlobError::TooLong { .. }));
    holds(
        "more than is taken",
        is_long,
        "too long",
        format!("{long:?}"),
    )
}

pub(super) async fn several_may_put_the_same_blob(target: &dyn CentreTarget) -> Outcome {
    let folder = Folder::new()?;
    let bytes = noise(CHUNK_BYTES * 17);
    let path = folder.file(&bytes)?;
    let (one, other) = (target.connect()?, target.connect()?);
    let (first, second) = tokio::join!(
        blobs::put(&*one, &path, None),
        blobs::put(&*other, &path, None)
    );
    same("both names", &first?, &second?)?;
    let hash = BlobHash::of(&bytes);
    blobs::fetch(&*one, hash, &folder.back(), BYTES_MAX, None).await?;
    folder.is_fetched(&bytes)
}
