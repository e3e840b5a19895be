#![allow(clippy::unwrap_used)]

use super::*;

fn at(rows: u64) -> Imported {
    Imported {
        rows,
        ..Imported::default()
    }
}

fn rows(key: u128, from: u64, to: u64) -> ImportedRows {
    let (from, to) = (at(from), at(to));
    ImportedRows { key, from, to }
}

fn committed(imports: &mut Imports, rows: ImportedRows, last_ts: i64) {
    imports.check(&rows).unwrap();
    imports.add(rows, last_ts);
    imports.intend().unwrap();
    imports.committed();
}

#[test]
fn a_cut_before_or_after_the_commit_is_told_by_the_newest_timestamp() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(dir.path());
    for (newest_ts, left) in [
        (None, 0),
        (Some(149), 100),
        (Some(150), 200),
        (Some(900), 200),
    ] {
        let mut imports = Imports::open(path.clone(), None);
        if newest_ts.is_some() {
            committed(&mut imports, rows(7, 0, 100), 50);
        }
        imports.add(rows(7, 0, 200), 150);
        imports.intend().unwrap();
        // A power cut, before or after the buffer's commit.
        drop(imports);
        let imports = Imports::open(path.clone(), newest_ts);
        assert_eq!(imports.rows(7), Ok(at(left)), "{newest_ts:?}");
        // Timestamps are given anew: once settled, they say nothing.
        drop(imports);
        let imports = Imports::open(path.clone(), Some(i64::MAX));
        assert_eq!(imports.rows(7), Ok(at(left)), "{newest_ts:?}");
        std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    }
}

#[test]
fn a_batch_that_begins_elsewhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut imports = Imports::open(path(dir.path()), None);
    committed(&mut imports, rows(7, 0, 100), 50);
    imports.add(rows(7, 100, 150), 60);
    // What is pending counts: it will be committed, or the process ends.
    assert!(imports.check(&rows(7, 100, 150)).is_err());
    assert!(imports.check(&rows(7, 150, 160)).is_ok());
    assert!(imports.check(&rows(8, 1, 2)).is_err());
    assert!(imports.check(&rows(8, 0, 2)).is_ok());
}

#[test]
fn a_bounded_number_of_files_is_remembered_and_the_log_stays_short() {
    let dir = tempfile::tempdir().unwrap();
    let mut imports = Imports::open(path(dir.path()), None);
    let files = imports.files.as_mut().unwrap();
    for key in 0..FILES_MAX as u128 + 10 {
        files.note(Intent {
            format: FORMAT,
            key,
            to: at(1),
            last_ts: 0,
        });
    }
    assert_eq!((imports.rows(9), imports.rows(10)), (Ok(at(0)), Ok(at(1))));
    let files = imports.files.as_mut().unwrap();
    let many = vec![
        Intent {
            format: FORMAT,
            key: 5_000,
            to: at(1),
            last_ts: 1,
        };
        LOG_BYTES_MAX as usize / 4
    ];
    files.log.append(&many).unwrap();
    committed(&mut imports, rows(6_000, 0, 3), 2);
    assert!(imports.files.as_ref().unwrap().log.bytes() < LOG_BYTES_MAX / 2);
    drop(imports);
    let imports = Imports::open(path(dir.path()), Some(2));
    assert_eq!(
        (imports.rows(4_000), imports.rows(6_000)),
        (Ok(at(1)), Ok(at(3)))
    );
}

#[test]
fn notes_of_a_newer_version_are_left_alone_and_damaged_ones_are_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(dir.path());
    state_file::write(&path, &(FORMAT + 1, Vec::<(u128, u64)>::new())).unwrap();
    let mut imports = Imports::open(path.clone(), None);
    assert!(imports.rows(7).unwrap_err().contains("format 3"));
    assert!(imports.check(&rows(7, 0, 1)).is_err());
    imports.intend().unwrap();
    imports.settle().unwrap();
    std::fs::write(&path, b"damaged").unwrap();
    assert_eq!(Imports::open(path, None).rows(7), Ok(at(0)));
}

#[test]
fn rows_that_were_refused_stay_so_until_they_fit() {
    let refused = |all: &[(u64, u64)]| {
        let mut ranges = Ranges::default();
        for (from, to) in all {
            ranges.add(*from, *to);
        }
        ranges
    };
    let first = Imported::default().with(100, &refused(&[(5, 8), (20, 21), (90, 91)]));
    assert_eq!(first.rows, 100);
    // Read up to row 30 again, and then to the end; row 50 was stored and does not fit any more.
    let part = first.with(30, &refused(&[(6, 7)]));
    assert_eq!(
        (part.rows, &part.refused),
        (100, &refused(&[(6, 7), (90, 91)]))
    );
    let whole = part.with(110, &refused(&[(6, 7), (50, 51), (98, 102)]));
    assert_eq!(
        (whole.rows, &whole.refused),
        (110, &refused(&[(6, 7), (100, 102)]))
    );
    // A log that is read again changes nothing.
    let dir = tempfile::tempdir().unwrap();
    let mut imports = Imports::open(path(dir.path()), None);
    let batch = |from: &Imported, to: &Imported| ImportedRows {
        key: 7,
        from: from.clone(),
        to: to.clone(),
    };
    let none = Imported::default();
    for (from, to) in [(&none, &first), (&first, &part), (&part, &whole)] {
        committed(&mut imports, batch(from, to), 1);
    }
    assert!(imports.check(&batch(&part, &whole)).is_err());
    let files = imports.files.as_mut().unwrap();
    state_file::write(&files.path, &(FORMAT, &files.committed)).unwrap();
    drop(imports);
    let imports = Imports::open(path(dir.path()), Some(1));
    assert_eq!(imports.rows(7), Ok(whole));
}
