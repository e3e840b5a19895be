//! The name of this device.

use crate::{
    base::host,
    config::{diagnostic::Diagnostics, read::values::Values, schema::keys::device::DEVICE},
};

/// The name that was given, or else the host's.
pub(super) fn name(values: &Values, found: &mut Diagnostics) -> String {
    let origin = values.origin(&DEVICE);
    let set = values.maybe(&DEVICE);
    let is_default = set.is_none();
    let hint = "add device = \"press-7\" at the top of the file, or --device press-7";
    let Some(device) = set.or_else(host::name) else {
        if !values.is_bad(&DEVICE) {
            found.error(&origin, "device: the host has no name to use instead", hint);
        }
        return String::new();
    };
    // It becomes a level of the status topic and part of the client id.
    if device.contains(['/', '+', '#']) || device.trim() != device {
        let message = format!("device: `{device}` holds / + # or a space at an end");
        found.error(&origin, message, "use letters, digits, - _ and .");
    }
    if is_default && device == "localhost" {
        found.warning(
            &origin,
            "device: every machine is called localhost; two of them would push each other off the \
             broker and mix their data",
            hint,
        );
    }
    device
}
