//! What the agent is doing, as a monitoring system wants it.

use std::sync::atomic::Ordering::Relaxed;

use super::{BufferStatus, ClockStatus, MqttStatus, RecordStatus, UpstreamStatus, View};
use crate::{
    features,
    observe::metrics::{Metric, MetricKind},
};

impl View {
    /// Everything a monitoring system wants.
    pub fn metrics(&self) -> Vec<Metric> {
        let s = self.status();
        let refused = self.ingest.filters_refused.load(Relaxed);
        let commit_s = self.writer.commit_ns.load(Relaxed) as f64 / 1e9;
        let mut metrics = vec![Metric::gauge(
            "dunlin_uptime_seconds",
            "Time since the start",
            s.uptime_s as f64,
        )];
        metrics.extend(mqtt(&s.mqtt, refused));
        metrics.extend(records(&s.records));
        metrics.extend(buffer(&s.buffer, commit_s));
        metrics.extend(upstream(&s.upstream));
        metrics.extend(clock(&s.clock));
        metrics.push(Metric::counter(
            "dunlin_flash_written_bytes_total",
            "Bytes this process has written to disk",
            s.flash.written_bytes,
        ));
        metrics.extend(s.disk.metrics());
        if features::LEARNING.is_in {
            metrics.extend(s.learn.metrics());
        }
        metrics
    }
}

fn mqtt(status: &MqttStatus, refused: u64) -> Vec<Metric> {
    vec![
        Metric::gauge(
            "dunlin_mqtt_connected",
            "1 while connected to the broker",
            flag(status.connected),
        ),
        Metric::counter(
            "dunlin_mqtt_connections_total",
            "Connections made to the broker",
            status.connections,
        ),
        Metric::counter(
            "dunlin_mqtt_publishes_total",
            "Publishes received",
            status.publishes,
        ),
        Metric::counter(
            "dunlin_mqtt_pubacks_total",
            "PUBACKs sent",
            status.acknowledged,
        ),
        Metric::counter(
            "dunlin_mqtt_duplicates_total",
            "Publishes sent again that were stored already",
            status.duplicates,
        ),
        Metric::counter(
            "dunlin_mqtt_retained_known_total",
            "Retained publishes sent again with a payload stored already, or ignored",
            status.retained_known,
        ),
        Metric::gauge(
            "dunlin_mqtt_subscriptions_refused",
            "Subscriptions that the broker refuses at present",
            refused as f64,
        ),
        Metric::counter(
            "dunlin_mqtt_possible_duplicates_total",
            "Publishes stored that may have been stored already",
            status.possible_duplicates,
        ),
        Metric::counter(
            "dunlin_sparkplug_rebirth_requests_total",
            "Requests to edge nodes that they announce themselves again",
            status.rebirths_asked,
        ),
    ]
}

fn records(status: &RecordStatus) -> Vec<Metric> {
    let by_reason = status.quarantined_by_reason.iter();
    let quarantined = Metric {
        name: "dunlin_records_quarantined_total",
        help: "Records in publishes that went to quarantine, by reason",
        kind: MetricKind::Counter,
        samples: by_reason
            .map(|(r, n)| (vec![("reason", r.clone())], *n as f64))
            .collect(),
    };
    let missing = status.values_missing.iter();
    let missing = Metric {
        name: "dunlin_values_missing_total",
        help: "Values missing from stored records: they do not fit or are bad, by reason",
        kind: MetricKind::Counter,
        samples: missing
            .map(|(r, fields)| {
                (
                    vec![("reason", r.clone())],
                    fields.values().sum::<u64>() as f64,
                )
            })
            .collect(),
    };
    vec![
        missing,
        Metric::counter(
            "dunlin_publishes_excluded_total",
            "Publishes of which nothing is to be stored: excluded topics, and what is no data",
            status.excluded,
        ),
        Metric::counter(
            "dunlin_records_excluded_total",
            "Records not stored as include_fields and exclude_fields leave nothing of them",
            status.records_excluded,
        ),
        Metric::counter(
            "dunlin_records_received_total",
            "Records received",
            status.received,
        ),
        Metric::counter(
            "dunlin_records_committed_total",
            "Records durable in the buffer",
            status.committed,
        ),
        Metric::counter(
            "dunlin_records_dropped_total",
            "Records lost because the buffer or the quarantine was full",
            status.dropped,
        ),
        quarantined,
        Metric::counter(
            "dunlin_source_times_implausible_total",
            "Records whose source's time cannot be one and was left out",
            status.times_implausible,
        ),
    ]
}

fn buffer(status: &BufferStatus, commit_s: f64) -> Vec<Metric> {
    vec![
        Metric::gauge(
            "dunlin_buffer_bytes",
            "Disk the buffer takes",
            status.shape.bytes as f64,
        ),
        Metric::gauge(
            "dunlin_buffer_bytes_max",
            "Disk the buffer may take",
            status.bytes_max as f64,
        ),
        Metric::gauge(
            "dunlin_buffer_full",
            "1 while the buffer takes nothing",
            flag(status.full),
        ),
        Metric::gauge(
            "dunlin_buffer_generations",
            "Generations in the buffer",
            status.shape.generations as f64,
        ),
        Metric::gauge("dunlin_streams", "Streams known", status.streams as f64),
        Metric::gauge(
            "dunlin_streams_used_ratio",
            "Share of the room for streams that is used",
            status.streams_percent as f64 / 100.0,
        ),
        Metric::counter("dunlin_commits_total", "Durable commits", status.commits),
        Metric::gauge(
            "dunlin_commit_seconds",
            "Duration of the last commit",
            commit_s,
        ),
        Metric::counter(
            "dunlin_blocks_corrupt_total",
            "Blocks that could not be read",
            status.blocks_corrupt,
        ),
        Metric::counter(
            "dunlin_set_aside_total",
            "Damaged parts set aside",
            status.set_aside,
        ),
        Metric::gauge(
            "dunlin_quarantine_bytes",
            "Disk the quarantine takes",
            status.quarantine_bytes as f64,
        ),
    ]
}

fn upstream(status: &UpstreamStatus) -> Vec<Metric> {
    vec![
        Metric::gauge(
            "dunlin_upstream_connected",
            "1 if the last upload succeeded",
            flag(status.connected),
        ),
        Metric::counter(
            "dunlin_rows_uploaded_total",
            "Rows the upstream took",
            status.uploaded,
        ),
        Metric::counter(
            "dunlin_rows_rejected_total",
            "Rows the upstream will never take",
            status.rejected,
        ),
        Metric::counter(
            "dunlin_upload_retries_total",
            "Uploads that failed and were sent again",
            status.retries,
        ),
        Metric::gauge(
            "dunlin_upload_lag_rows",
            "Rows committed and not upstream yet, held ones among them",
            status.lag_rows as f64,
        ),
        Metric::gauge(
            "dunlin_upload_lag_seconds",
            "Age of the oldest row not upstream",
            status.lag_s,
        ),
        Metric::gauge(
            "dunlin_uploads_held",
            "1 while uploads wait for the clock",
            flag(status.held_for_clock),
        ),
        Metric::gauge(
            "dunlin_streams_held",
            "Streams the upstream refuses",
            status.streams_held as f64,
        ),
        Metric::gauge(
            "dunlin_rows_held",
            "Rows of streams that the upstream refuses, held in the buffer",
            status.rows_held as f64,
        ),
    ]
}

fn clock(status: &ClockStatus) -> Vec<Metric> {
    vec![
        Metric::gauge(
            "dunlin_clock_skew_seconds",
            "Timestamps minus wall clock",
            status.skew_s,
        ),
        Metric::counter(
            "dunlin_clock_steps_total",
            "Steps of the wall clock believed",
            status.steps,
        ),
        Metric::gauge(
            "dunlin_clock_unsynchronised",
            "1 while the clock is not synchronised",
            flag(status.unsynchronised),
        ),
    ]
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}
