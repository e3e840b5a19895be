//! Metrics as a snapshot of plain values, and their Prometheus text.
//!
//! Whoever counts keeps its own counters; a function gathers them when somebody asks. Bounded by
//! what that function returns: labels come from settings and from fixed sets, never from payloads.

use std::{fmt::Write, sync::Arc};

/// What a metric does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, until a restart.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Label names and values of one sample.
pub type Labels = Vec<(&'static str, String)>;

/// One metric with its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Such as `dunlin_records_committed_total`: letters, digits and _.
    pub name: &'static str,
    /// One line for people.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: MetricKind,
    /// One value for each combination of labels.
    pub samples: Vec<(Labels, f64)>,
}

impl Metric {
    /// A counter without labels.
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self {
            name,
            help,
            kind: MetricKind::Counter,
            samples: vec![(Vec::new(), value as f64)],
        }
    }

    /// A gauge without labels.
    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self {
            name,
            help,
            kind: MetricKind::Gauge,
            samples: vec![(Vec::new(), value)],
        }
    }
}

/// Gathers every metric of the agent; quick, and called from several threads.
pub type Metrics = Arc<dyn Fn() -> Vec<Metric> + Send + Sync>;

/// Media type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The Prometheus text exposition (format 0.0.4). Metrics of one name become one group, under the
/// help and kind of the first, as the format demands.
pub fn render(metrics: &[Metric]) -> String {
    let mut text = String::new();
    for (index, first) in metrics.iter().enumerate() {
        if metrics[..index]
            .iter()
            .any(|earlier| earlier.name == first.name)
        {
            continue;
        }
        let kind = match first.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        text.push_str("# HELP ");
        text.push_str(first.name);
        text.push(' ');
        escape(&mut text, first.help, false);
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "\n# TYPE {} {kind}", first.name);
        for metric in metrics[index..]
            .iter()
            .filter(|other| other.name == first.name)
        {
            for (labels, value) in &metric.samples {
                sample(&mut text, metric.name, labels, *value);
            }
        }
    }
    text
}

fn sample(text: &mut String, name: &str, labels: &Labels, value: f64) {
    text.push_str(name);
    for (index, (label, value)) in labels.iter().enumerate() {
        text.push(if index == 0 { '{' } else { ',' });
        text.push_str(label);
        text.push_str("=\"");
        escape(text, value, true);
        text.push('"');
    }
    if !labels.is_empty() {
        text.push('}');
    }
    let _infallible = if value == f64::INFINITY {
        writeln!(text, " +Inf")
    } else if value == f64::NEG_INFINITY {
        writeln!(text, " -Inf")
    } else {
        writeln!(text, " {value}")
    };
}

/// Backslash and line break, in label values the quote too.
fn escape(text: &mut String, raw: &str, quotes: bool) {
    for c in raw.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quotes => text.push_str("\\\""),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests;
