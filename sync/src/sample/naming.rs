//! Names of streams where a data directory has known more than one device.
//!
//! A stream belongs to a device: another device is another stream, also under the same name. In the catalog
//! every name is unique: the device that a directory knew first gives its streams plain names, every
//! other one puts [`DEVICE_MARK`] and its own name behind. What people write without a mark means the
//! streams of the device that the directory works for now; with one, those of any device.

use std::{borrow::Cow, sync::Arc};

use crate::sample::{Catalog, Stream};

/// Stands between a stream's name and its device; no plain name holds one, since no topic can.
pub const DEVICE_MARK: char = '#';

/// The devices that names without a mark may mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices {
    /// The device that the directory works for now: names that people write mean its streams.
    pub here: String,
    /// The device that it knew first: its streams have plain names in the catalog.
    pub home: String,
}

impl Devices {
    /// One device and no other.
    pub fn only(device: &str) -> Self {
        Self {
            here: device.to_owned(),
            home: device.to_owned(),
        }
    }
}

/// A stream's name without the device behind it.
pub fn plain_name(name: &str) -> &str {
    name.split(DEVICE_MARK).next().unwrap_or(name)
}

/// The name with its device behind it.
pub fn marked(plain: &str, device: &str) -> String {
    format!("{plain}{DEVICE_MARK}{device}")
}

impl Stream {
    /// What people call it on its own device, and every upstream beside the device: the schema's name and
    /// the captured values, joined with `/`.
    pub fn plain_name(&self) -> &str {
        plain_name(&self.name)
    }

    /// The device whose stream it is.
    pub fn device(&self) -> &str {
        self.tags.first().map_or("", String::as_str)
    }
}

impl Catalog {
    /// The name in the catalog of the stream that `here` calls `plain`, known or not.
    pub fn name_for(&self, devices: &Devices, plain: &str) -> String {
        let is_plain = match self.stream_named(plain) {
            Some(known) => known.device() == devices.here,
            None => devices.here == devices.home,
        };
        if is_plain {
            plain.to_owned()
        } else {
            marked(plain, &devices.here)
        }
    }

    /// Whether `stream` is one of the device that the directory works for.
    pub fn is_here(&self, stream: &Stream) -> bool {
        let devices = self.devices.as_ref();
        devices.is_none_or(|devices| devices.here == stream.device())
    }

    /// The stream that people mean by `name`: of this device, or of the one named behind the mark.
    pub fn meant(&self, name: &str) -> Option<&Arc<Stream>> {
        let plain = plain_name(name);
        let is_meant = |stream: &&Arc<Stream>| match name.strip_prefix(plain) {
            Some("") | None => self.is_here(stream),
            Some(device) => device[DEVICE_MARK.len_utf8()..] == *stream.device(),
        };
        let of = |name: &str| self.stream_named(name).filter(is_meant);
        let here = self.devices.as_ref().map(|devices| &devices.here);
        of(plain)
            .or_else(|| of(name))
            .or_else(|| of(&marked(plain, here?)))
    }

    /// What people call `stream`, so that it is meant.
    pub fn shown<'s>(&self, stream: &'s Stream) -> Cow<'s, str> {
        if self.is_here(stream) {
            stream.plain_name().into()
        } else {
            marked(stream.plain_name(), stream.device()).into()
        }
    }

    /// The name in the catalog that people mean by `name`, also if the stream is not known (any more).
    pub fn name_meant(&self, name: &str) -> String {
        let plain = plain_name(name);
        match (self.meant(name), &self.devices) {
            (Some(stream), _) => stream.name.clone(),
            (None, Some(devices)) if plain == name => self.name_for(devices, plain),
            (None, Some(devices)) if name == marked(plain, &devices.home) => plain.to_owned(),
            (None, _) => name.to_owned(),
        }
    }

    /// What people call the stream that has `name` in the catalog, or had.
    pub fn name_shown(&self, name: &str) -> String {
        let plain = plain_name(name);
        match (self.stream_named(name), &self.devices) {
            (Some(stream), _) => self.shown(stream).into_owned(),
            (None, Some(devices)) if name == marked(plain, &devices.here) => plain.to_owned(),
            (None, Some(devices)) if plain == name && devices.here != devices.home => {
                marked(plain, &devices.home)
            }
            (None, _) => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
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
}
