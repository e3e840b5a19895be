#![allow(clippy::unwrap_used)]

use super::*;

fn catalog(streams: &[(&str, &str)], here: &str, home: &str) -> Catalog {
    let streams = streams.iter().enumerate().map(|(id, (name, device))| {
        Arc::new(Stream {
            id: id as u32,
            schema: 0,
            name: (*name).into(),
            tags: vec![(*device).into(), "x".into()],
            first_tags: None,
        })
    });
    let mut catalog = Catalog::default();
    streams.for_each(|stream| catalog.put_stream(stream));
    catalog.devices = Some(Arc::new(Devices {
        here: here.into(),
        home: home.into(),
    }));
    catalog
}

#[test]
fn another_device_has_other_streams_and_each_finds_its_own_again() {
    let names = [("vib/m1", "a"), ("vib/m1#b", "b"), ("vib/m2#b", "b")];
    let here_b = catalog(&names, "b", "a");
    let devices = here_b.devices.clone().unwrap();
    assert_eq!(here_b.name_for(&devices, "vib/m1"), "vib/m1#b");
    assert_eq!(here_b.name_for(&devices, "vib/m3"), "vib/m3#b");
    let meant = |catalog: &Catalog, name: &str| catalog.meant(name).map(|stream| stream.id);
    assert_eq!(meant(&here_b, "vib/m1"), Some(1));
    assert_eq!(meant(&here_b, "vib/m1#a"), Some(0));
    assert_eq!(meant(&here_b, "vib/m1#b"), Some(1));
    assert_eq!(meant(&here_b, "vib/m1#c"), None);
    assert_eq!(here_b.shown(here_b.stream(0).unwrap()), "vib/m1#a");
    assert_eq!(here_b.shown(here_b.stream(1).unwrap()), "vib/m1");

    let here_a = catalog(&names, "a", "a");
    let devices = here_a.devices.clone().unwrap();
    assert_eq!(here_a.name_for(&devices, "vib/m1"), "vib/m1");
    assert_eq!(meant(&here_a, "vib/m1"), Some(0));
    assert_eq!(meant(&here_a, "vib/m1#b"), Some(1));
    assert_eq!(meant(&here_a, "vib/m2"), None);
    assert_eq!(meant(&here_a, "vib/m2#b"), Some(2));
    for stream in here_a.streams() {
        let shown = here_a.shown(stream);
        assert_eq!(here_a.meant(&shown).unwrap().id, stream.id);
    }
    // Also of streams that are not known any more.
    for catalog in [&here_a, &here_b] {
        for name in ["vib/m1", "vib/m1#b", "vib/m9", "vib/m9#b", "vib/m9#c"] {
            assert_eq!(catalog.name_meant(&catalog.name_shown(name)), name);
        }
    }
    assert_eq!(here_b.name_meant("vib/m9"), "vib/m9#b");
}

/// Before devices were told apart, a renamed one wrote new streams beside those of the old name.
#[test]
fn a_plain_name_stays_with_the_device_that_has_it() {
    let mixed = catalog(&[("vib/m1", "a"), ("vib/m2", "b")], "b", "a");
    let devices = mixed.devices.clone().unwrap();
    assert_eq!(mixed.name_for(&devices, "vib/m1"), "vib/m1#b");
    assert_eq!(mixed.name_for(&devices, "vib/m2"), "vib/m2");
    assert_eq!(mixed.meant("vib/m2").unwrap().id, 1);
    assert_eq!(mixed.meant("vib/m1#a").unwrap().id, 0);
}
