use super::*;

#[test]
fn json_pointers() {
    for good in ["/a", "/a/b", "/", "/a~1b", "/a~0b", "/0"] {
        assert_eq!(json_pointer_error(good), None, "{good}");
    }
    for bad in ["", "a", "/a~", "/a~2", "/~~0"] {
        assert!(json_pointer_error(bad).is_some(), "{bad}");
    }
}
