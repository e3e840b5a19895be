//! What the agent is doing, as a monitoring system wants it.

use std::sync::atomic::Ordering::Relaxed;

use super::View;
use crate::{
    features,
    observe::metrics::{Metric, MetricKind},
};

impl View {
    /// Everything a monitoring system wants.
    pub fn metrics(&self) -> Vec<Metric> {
        let s = self.status();
        let flag = |on: bool| f64::from(u8::from(on));
        let counter = Metric::counter;
        let gauge = Metric::gauge;
        let by_reason = s.records.quarantined_by_reason.iter();
        let quarantined = Metric {
            name: "dunlin_records_quarantined_total",
            help: "Records in publishes that went to quarantine, by reason",
            kind: MetricKind::Counter,
            samples: by_reason
                .map(|(r, n)| (vec![("reason", r.clone())], *n as f64))
                .collect(),
        };
        let mut metrics = vec![
            gauge(
                "dunlin_uptime_seconds",
                "Time since the start",
                s.uptime_s as f64,
            ),
            gauge(
                "dunlin_mqtt_connected",
                "1 while connected to the broker",
                flag(s.mqtt.connected),
            ),
            counter(
                "dunlin_mqtt_connections_total",
                "Connections made to the broker",
                s.mqtt.connections,
            ),
            counter(
                "dunlin_mqtt_publishes_total",
                "Publishes received",
                s.mqtt.publishes,
            ),
            counter(
                "dunlin_mqtt_pubacks_total",
                "PUBACKs sent",
                s.mqtt.acknowledged,
            ),
            counter(
                "dunlin_mqtt_duplicates_total",
                "Publishes sent again that were stored already",
                s.mqtt.duplicates,
            ),
            counter(
                "dunlin_mqtt_retained_known_total",
                "Retained publishes sent again with a payload stored already, or ignored",
                s.mqtt.retained_known,
            ),
            gauge(
                "dunlin_mqtt_subscriptions_refused",
                "Subscriptions that the broker refuses at present",
                self.ingest.filters_refused.load(Relaxed) as f64,
            ),
            counter(
                "dunlin_mqtt_possible_duplicates_total",
                "Publishes stored that may have been stored already",
                s.mqtt.possible_duplicates,
            ),
            counter(
                "dunlin_records_received_total",
                "Records received",
                s.records.received,
            ),
            counter(
                "dunlin_records_committed_total",
                "Records durable in the buffer",
                s.records.committed,
            ),
            counter(
                "dunlin_records_dropped_total",
                "Records lost because the buffer or the quarantine was full",
                s.records.dropped,
            ),
            quarantined,
            counter(
                "dunlin_source_times_implausible_total",
                "Records whose source's time cannot be one and was left out",
                s.records.times_implausible,
            ),
            gauge(
                "dunlin_buffer_bytes",
                "Disk the buffer takes",
                s.buffer.shape.bytes as f64,
            ),
            gauge(
                "dunlin_buffer_bytes_max",
                "Disk the buffer may take",
                s.buffer.bytes_max as f64,
            ),
            gauge(
                "dunlin_buffer_full",
                "1 while the buffer takes nothing",
                flag(s.buffer.full),
            ),
            gauge(
                "dunlin_buffer_generations",
                "Generations in the buffer",
                s.buffer.shape.generations as f64,
            ),
            gauge("dunlin_streams", "Streams known", s.buffer.streams as f64),
            gauge(
                "dunlin_streams_used_ratio",
                "Share of the room for streams that is used",
                s.buffer.streams_percent as f64 / 100.0,
            ),
            counter("dunlin_commits_total", "Durable commits", s.buffer.commits),
            gauge(
                "dunlin_commit_seconds",
                "Duration of the last commit",
                self.writer.commit_ns.load(Relaxed) as f64 / 1e9,
            ),
            counter(
                "dunlin_blocks_corrupt_total",
                "Blocks that could not be read",
                s.buffer.blocks_corrupt,
            ),
            counter(
                "dunlin_set_aside_total",
                "Damaged parts set aside",
                s.buffer.set_aside,
            ),
            gauge(
                "dunlin_quarantine_bytes",
                "Disk the quarantine takes",
                s.buffer.quarantine_bytes as f64,
            ),
            gauge(
                "dunlin_upstream_connected",
                "1 if the last upload succeeded",
                flag(s.upstream.connected),
            ),
            counter(
                "dunlin_rows_uploaded_total",
                "Rows the upstream took",
                s.upstream.uploaded,
            ),
            counter(
                "dunlin_rows_rejected_total",
                "Rows the upstream will never take",
                s.upstream.rejected,
            ),
            counter(
                "dunlin_upload_retries_total",
                "Uploads that failed and were sent again",
                s.upstream.retries,
            ),
            gauge(
                "dunlin_upload_lag_rows",
                "Rows committed and not upstream yet, held ones among them",
                s.upstream.lag_rows as f64,
            ),
            gauge(
                "dunlin_upload_lag_seconds",
                "Age of the oldest row not upstream",
                s.upstream.lag_s,
            ),
            gauge(
                "dunlin_uploads_held",
                "1 while uploads wait for the clock",
                flag(s.upstream.held_for_clock),
            ),
            gauge(
                "dunlin_streams_held",
                "Streams the upstream refuses",
                s.upstream.streams_held as f64,
            ),
            gauge(
                "dunlin_rows_held",
                "Rows of streams that the upstream refuses, held in the buffer",
                s.upstream.rows_held as f64,
            ),
            gauge(
                "dunlin_clock_skew_seconds",
                "Timestamps minus wall clock",
                s.clock.skew_s,
            ),
            counter(
                "dunlin_clock_steps_total",
                "Steps of the wall clock believed",
                s.clock.steps,
            ),
            gauge(
                "dunlin_clock_unsynchronised",
                "1 while the clock is not synchronised",
                flag(s.clock.unsynchronised),
            ),
            counter(
                "dunlin_flash_written_bytes_total",
                "Bytes this process has written to disk",
                s.flash.written_bytes,
            ),
        ];
        metrics.extend(s.disk.metrics());
        if features::LEARNING.is_in {
            metrics.extend(s.learn.metrics());
        }
        metrics
    }
}
