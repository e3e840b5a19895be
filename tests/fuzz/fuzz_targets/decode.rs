//! Payloads of every format: the first byte chooses the rule.
#![no_main]

use std::sync::LazyLock;

use dunlin_agent::{
    config::{self, Overrides, settings::StreamRule},
    record::decode::{CELLS_MAX, Publish, SAMPLES_MAX, decode},
};
use libfuzzer_sys::fuzz_target;

const CONFIGURATION: &str = r#"
device = "d"
[mqtt]
url = "mqtt://127.0.0.1:1"
[upstream]
url = "tdengine://127.0.0.1:1/d"
[[stream]]
name = "json"
topic = "json"
time = "/time"
fields = { a = "f64", b = "text" }
infer = true
[[stream]]
name = "number"
topic = "number"
format = "number"
[[stream]]
name = "csv"
topic = "csv"
format = "csv"
fields = { a = "f64", b = "text" }
[[stream]]
name = "table"
topic = "table"
format = "csv"
header = true
[[stream]]
name = "senml"
topic = "senml"
format = "senml"
[[stream]]
name = "objects"
topic = "objects"
time = "/t"
records = { at = "/values", name = "/id", value = "/v", quality = "/q" }
[[stream]]
name = "inside"
topic = "inside"
records = "/+a/b"
tags = { cpu = { at = "/tags/cpu" } }
[[stream]]
name = "cbor"
topic = "cbor"
format = "cbor"
[[stream]]
name = "msgpack"
topic = "msgpack"
format = "msgpack"
[[stream]]
name = "senml_cbor"
topic = "senml_cbor"
format = "senml_cbor"
[[stream]]
name = "influx"
topic = "influx"
format = "influx"
[[stream]]
name = "burst"
topic = "burst"
samples = ["/x", "/y"]
rate_at = "/fs"
[[stream]]
name = "features"
topic = "features"
format = "raw"
sample_type = "i16"
reduce = ["rms", "kurtosis", "bands"]
keep_samples = true
"#;

static RULES: LazyLock<Vec<StreamRule>> = LazyLock::new(|| {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), CONFIGURATION).expect("a configuration");
    let settings = config::load(Some(file.path()), &Overrides::default()).expect("no mistakes");
    settings.streams
});

fuzz_target!(|bytes: &[u8]| {
    let Some((first, payload)) = bytes.split_first() else {
        return;
    };
    let rule = &RULES[usize::from(*first) % RULES.len()];
    match decode(rule, None, Publish::of(payload)) {
        Ok(decoded) => {
            let records: Vec<_> = decoded.groups.iter().flat_map(|group| &group.records).collect();
            assert!(!records.is_empty() && records.len() <= SAMPLES_MAX);
            let cells: usize = records.iter().map(|record| record.values.len()).sum();
            assert!(cells <= CELLS_MAX);
        }
        Err(reject) => assert!(reject.records >= 1 && !reject.detail.contains(char::is_control)),
    }
});
