#![allow(clippy::unwrap_used)]

use super::*;

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_machine_is_known_by_what_lasts() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    assert!(Hardware::read(root).is_unknown());
    write(root, "etc/machine-id", "0123\n");
    write(
        root,
        "sys/class/dmi/id/product_serial",
        "To be filled by O.E.M.\n",
    );
    write(root, "proc/device-tree/serial-number", "10000000abcd\0");
    for (card, kind, address, is_physical) in [
        ("eth0", "0", "B8:27:EB:00:00:01", true),
        ("docker0", "3", "02:42:00:00:00:01", false),
        ("wlan0", "1", "12:34:56:00:00:01", true),
        ("lo", "0", "00:00:00:00:00:00", false),
        ("veth1", "0", "aa:bb:cc:00:00:01", false),
    ] {
        let of = |file: &str| format!("sys/class/net/{card}/{file}");
        write(root, &of("addr_assign_type"), &format!("{kind}\n"));
        write(root, &of("address"), &format!("{address}\n"));
        if is_physical {
            write(root, &of("device/uevent"), "");
        }
    }
    let read = Hardware::read(root);
    assert_eq!(read.machine_id.as_deref(), Some("0123"));
    assert_eq!(read.board_serial.as_deref(), Some("10000000abcd"));
    assert_eq!(Vec::from_iter(&read.macs), ["b8:27:eb:00:00:01"]);
    assert!(!read.is_container);
    write(root, ".dockerenv", "");
    assert!(Hardware::read(root).is_container);
}

#[test]
fn it_is_another_machine_only_if_every_one_of_several_things_differs() {
    let machine = |id: &str, serial: &str, macs: &[&str]| Hardware {
        machine_id: Some(id.to_owned()).filter(|id| !id.is_empty()),
        board_serial: Some(serial.to_owned()).filter(|serial| !serial.is_empty()),
        macs: macs.iter().map(ToString::to_string).collect(),
        is_container: false,
    };
    let here = machine("i", "s", &["m", "n"]);
    for (other, likeness) in [
        (machine("i", "s", &["n"]), Likeness::Same),
        (machine("", "s", &[]), Likeness::Same),
        (machine("i", "S", &["M"]), Likeness::Partly),
        (machine("I", "s", &["M"]), Likeness::Partly),
        (machine("I", "S", &["m"]), Likeness::Partly),
        (machine("I", "S", &["M"]), Likeness::Other),
        // Made anew at every start, or not there yet: nobody knows.
        (machine("I", "", &[]), Likeness::Partly),
        (machine("I", "S", &[]), Likeness::Partly),
        (machine("", "", &["M"]), Likeness::Partly),
        (machine("", "", &[]), Likeness::Unknown),
    ] {
        assert_eq!(here.likeness(&other), likeness, "{other:?}");
        assert_eq!(other.likeness(&here), likeness, "{other:?}");
    }
    let (one, other) = (machine("i", "", &[]), machine("I", "", &[]));
    assert_eq!(one.likeness(&other), Likeness::Partly);
    let (one, other) = (machine("i", "", &["m"]), machine("I", "", &["M"]));
    assert_eq!(one.likeness(&other), Likeness::Other);
    assert_eq!(
        machine("I", "", &[]).or(&here),
        machine("I", "s", &["m", "n"])
    );
}
