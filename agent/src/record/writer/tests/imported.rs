//! Rows of files, each stored once over a loss of power.

use super::*;

fn at(rows: u64) -> Imported {
    Imported {
        rows,
        ..Imported::default()
    }
}

fn rows(from: u64, to: u64) -> RequestContent {
    let RequestContent::Records {
        schema,
        stream,
        tags,
        fields,
        records,
        ..
    } = records((to - from) as usize)
    else {
        unreachable!("records are records");
    };
    RequestContent::Records {
        schema,
        stream,
        tags,
        fields,
        records,
        file: FromFile {
            splits: Vec::new(),
            rows: Some(ImportedRows {
                key: 7,
                from: at(from),
                to: at(to),
            }),
        },
    }
}

fn done(device: &mut Device) -> u64 {
    let (imported, _told) = std::sync::mpsc::channel();
    let answer = device.ask(RequestContent::Imported { key: 7, imported });
    device.turn_after_gap();
    answer.recv().unwrap().unwrap()
}

#[test]
fn rows_count_as_imported_if_and_only_if_they_are_committed() {
    let mut device = Device::new();
    let answer = device.ask(rows(0, 1_000));
    device.turn_after_gap();
    assert_eq!(answer.recv().unwrap(), Ok(1_000));
    let mut device = device.restart();
    assert_eq!(done(&mut device), 1_000);
    assert_eq!(device.stored().rows().len(), 1_000);
    // Power fails when everything but the commit is done.
    let answer = device.ask(rows(1_000, 1_100));
    device.turn().unwrap();
    assert!(answer.try_recv().is_err());
    device.w().imports.intend().unwrap();
    let mut device = device.restart();
    // The timestamps of those rows are given to others now.
    let others = device.ask(records(800));
    device.turn_after_gap();
    assert_eq!(others.recv().unwrap(), Ok(800));
    let mut device = device.restart();
    assert_eq!(done(&mut device), 1_000);
    let answer = device.ask(rows(1_000, 1_100));
    device.turn_after_gap();
    assert_eq!(answer.recv().unwrap(), Ok(100));
    assert_eq!(device.stored().rows().len(), 1_900);
    // Begun anew from the beginning, or twice at the same time.
    for again in [rows(0, 500), rows(1_000, 1_100), rows(1_600, 1_700)] {
        let answer = device.ask(again);
        device.turn_after_gap();
        assert!(matches!(answer.recv().unwrap(), Err(Refused::Permanent(_))));
    }
    assert_eq!(done(&mut device.restart()), 1_100);
}

#[test]
fn a_correction_of_the_clock_does_not_make_rows_uncommitted() {
    let mut device = Device::new();
    let answer = device.ask(rows(0, 10));
    device.turn_after_gap();
    assert_eq!(answer.recv().unwrap(), Ok(10));
    device.w().imports.settle().unwrap();
    device.w().parts.buffer.correct(0, -SECOND_NS).unwrap();
    assert_eq!(done(&mut device.restart()), 10);
}
