#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use super::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(filter: &str, format: LogFormat, ansi: bool) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let settings = LogSettings {
        filter: filter.into(),
        format,
    };
    let (subscriber, _) = subscriber(&settings, ansi, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(rows = 3, "uploaded");
        tracing::debug!("detail");
        tracing::info!(target: "sled::pagecache", "noise");
        tracing::warn!(target: "sled::pagecache", "trouble");
    });
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn text_without_colours_off_a_terminal() {
    let text = logged("info", LogFormat::Text, false);
    assert!(
        text.contains("uploaded") && text.contains("rows=3"),
        "{text}"
    );
    assert!(
        !text.contains('\u{1b}') && !text.contains("detail"),
        "{text}"
    );
    assert!(logged("info", LogFormat::Text, true).contains('\u{1b}'));
}

#[test]
fn json_lines_parse() {
    let text = logged("info", LogFormat::Json, true);
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["message"], "uploaded");
    assert_eq!(first["rows"], 3);
}

#[test]
fn dependencies_are_quiet_unless_named() {
    for filter in ["info", "debug", "trace"] {
        let text = logged(filter, LogFormat::Text, false);
        assert!(
            !text.contains("noise") && text.contains("trouble"),
            "{text}"
        );
    }
    assert!(logged("info,sled=info", LogFormat::Text, false).contains("noise"));
    assert!(logged("warn,dunlin_agent=debug", LogFormat::Text, false).contains("detail"));
    assert_eq!(logged("off,sled=off", LogFormat::Text, false), "");
}

#[test]
fn another_filter_is_obeyed_from_the_next_line_on() {
    let lines = Lines::default();
    let writer = lines.clone();
    let settings = LogSettings {
        filter: "info".into(),
        format: LogFormat::Text,
    };
    let (subscriber, handle) = subscriber(&settings, false, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::debug!("too early");
        handle.reload(env_filter("debug").unwrap()).unwrap();
        tracing::debug!("heard");
        handle.reload(env_filter("warn").unwrap()).unwrap();
        tracing::info!("too late");
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("heard") && !text.contains("too"), "{text}");
}

#[test]
fn what_the_connector_calls_an_error_and_is_none_is_not_logged() {
    let lines = Lines::default();
    let writer = lines.clone();
    let settings = LogSettings {
        filter: "info".into(),
        format: LogFormat::Text,
    };
    let (subscriber, _) = subscriber(&settings, false, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let (success, failure) = ("Ok(Query(code: 0))", "Err(code: 0x0388)");
        for answer in [success, failure] {
            tracing::error!(target: "taos_ws::query::asyn", "send data with error: {answer}");
            tracing::error!(
                target: "log",
                { log.target = "taos_ws::query::asyn" },
                "send data with error: {answer}"
            );
        }
        tracing::error!("send data with error: {success} of our own");
        tracing::error!(
            target: "log",
            { log.target = "other" },
            "send data with error: {success}"
        );
    });
    let bytes = lines.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.matches("0x0388").count(), 2, "{text}");
    assert_eq!(text.matches("Ok(").count(), 2, "{text}");
    assert!(text.contains("of our own"), "{text}");
}
