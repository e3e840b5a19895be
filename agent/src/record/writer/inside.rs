//! What the writer takes from inside the agent.

use std::{sync::atomic::Ordering::Relaxed, time::Instant};

use super::{
    OWN_TABLE_PREFIX, Refused, Request, RequestContent, Writer, clock_duty::NoTime, commit_gap,
    items, partly::records_of, store, streams_idle_ns_max, window::Window,
};
use crate::record::decode::Misfits;

impl Writer {
    /// All of a request becomes pending, or nothing of it; it is answered once that is durable.
    pub(super) fn take_request(&mut self, request: Request) -> Result<(), String> {
        let mut is_own = false;
        let mut misfits = Misfits::default();
        // Where they are from, if it is to be kept.
        let mut origin = None;
        let mut imported = None;
        let taken = match request.content {
            RequestContent::Settings(settings) => {
                self.intake.reconfigure(&settings);
                self.gap = commit_gap(&settings);
                self.streams_idle_ns_max = streams_idle_ns_max(&settings);
                self.window = Window::new(self.gap, Instant::now());
                // Whoever asked may have gone.
                let _gone = request.reply.send(Ok(0));
                return Ok(());
            }
            RequestContent::Imported { key, imported } => {
                let rows = self.imports.rows(key).map_err(Refused::Permanent);
                let rows = rows.map(|rows| {
                    let done = rows.rows;
                    // Whoever asked may have gone.
                    let _gone = imported.send(rows);
                    done
                });
                // Once what is pending is durable.
                self.pending.reply(request.reply, rows);
                return Ok(());
            }
            RequestContent::Publish {
                topic,
                payload,
                wanted,
                at_ns,
            } => {
                let payload = (Some(&payload[..]), payload.len());
                let now_ns = self.parts.clock.synchronised_ns();
                let wanted = (wanted.as_ref(), false);
                let decoded = self.intake.decode(&topic, payload, wanted, now_ns);
                let decoded = decoded.and_then(|decoded| records_of(decoded, wanted.0.is_some()));
                decoded.map(|mut batch| {
                    misfits = std::mem::take(&mut batch.misfits);
                    if !misfits.missing.is_empty() {
                        let payload = payload.0.unwrap_or_default();
                        origin = Some((topic.clone(), payload.to_vec()));
                    }
                    batch.timed_otherwise(at_ns)
                })
            }
            RequestContent::Records {
                schema,
                stream,
                tags,
                fields,
                records,
                file,
            } => {
                is_own = schema.starts_with(OWN_TABLE_PREFIX);
                imported = file.rows;
                if let Some(Err(why)) = imported.as_ref().map(|rows| self.imports.check(rows)) {
                    self.pending
                        .reply(request.reply, Err(Refused::Permanent(why)));
                    return Ok(());
                }
                let adopted = self.intake.adopt(&schema, &stream, &tags, &fields, records);
                adopted.map(|batch| batch.split_as(file.splits))
            }
        };
        let answer = match taken {
            Ok(batch) => {
                let clock = (&mut self.parts.clock, &*self.clock_path);
                match store(batch, clock, &mut self.pending.builder, &self.stats) {
                    Ok((stored, last_ts)) => {
                        if let Some(rows) = imported {
                            self.imports.add(rows, last_ts);
                        }
                        if is_own {
                            self.stats.records_own.fetch_add(stored, Relaxed);
                        }
                        self.stats.count_misfits(&misfits);
                        if let Some((topic, payload)) = origin {
                            let at_ns = (self.parts.wall_ns)();
                            let item = items::partly_stored(misfits, &topic, &payload, at_ns);
                            self.pending.reject(item);
                        }
                        Ok(stored)
                    }
                    // Whoever asked has it still.
                    Err(NoTime::Transient(why)) => Err(Refused::Transient(why)),
                    Err(NoTime::Permanent(why)) => return Err(why),
                }
            }
            Err(reject) => Err(Refused::Permanent(reject.to_string())),
        };
        self.pending.reply(request.reply, answer);
        Ok(())
    }
}
