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
mod tests;
