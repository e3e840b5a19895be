use super::horizon;

#[test]
fn never_passes_either() {
    assert_eq!(horizon(3, 7), 3);
    assert_eq!(horizon(7, 3), 3);
    assert_eq!(horizon(0, u64::MAX), 0);
}
