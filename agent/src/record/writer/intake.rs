//! From a publish to samples of a stream: recognise, route, decode, name, split.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use dunlin_sync::{
    buffer::{Buffer, Declaration},
    sample::{Field, Schema, StreamId, naming::Devices},
};

use super::{
    batch::{DecodedBatch, Decoding, OpenStream, Part, leave_out_times, placed},
    rebirths::Heard,
    room::Room,
    settling::{Settling, tell_seconds},
};
use crate::{
    config::settings::{PayloadFormat, RetainedPolicy, Settings, SplitRule, StreamRule},
    record::{
        clock,
        decode::{self, Misfits, Missing, Publish, Reason, Record, Reject, SecondField, Sessions},
        route::{Destination, Route, Router, tag_names, unescaped},
        split::Splitter,
    },
};

pub(super) struct Intake {
    devices: Devices,
    rules: Vec<StreamRule>,
    router: Router,
    buffer: Arc<Buffer>,
    /// The schema of each rule as far as it is known.
    schemas: Vec<Option<Arc<Schema>>>,
    /// How far the fields of each rule have come.
    settling: Vec<Settling>,
    /// By their plain names.
    streams: HashMap<String, OpenStream>,
    /// Rules whose streams have been told to have other tags now.
    told: HashSet<String>,
    /// Rules of which a time that cannot be one was told.
    told_times: HashSet<usize>,
    /// Rules of which a publish that they leave nothing of was told.
    told_excluded: HashSet<usize>,
    room: Room,
    /// What Sparkplug's edge nodes have announced.
    sessions: Sessions,
    /// What the last publish tells of an edge node that may be told to announce itself again.
    heard: Option<Heard>,
    /// Most bytes of a payload.
    bytes_max: usize,
    wall_ns: fn() -> i64,
}

impl Intake {
    pub(super) fn new(settings: &Settings, buffer: Arc<Buffer>, wall_ns: fn() -> i64) -> Self {
        let devices = buffer.catalog().devices.as_deref().cloned();
        Self {
            devices: devices.unwrap_or_else(|| Devices::only(&settings.device)),
            router: Router::new(&settings.streams),
            schemas: known_schemas(&buffer, &settings.streams),
            settling: settings
                .streams
                .iter()
                .map(|_| Settling::default())
                .collect(),
            rules: settings.streams.clone(),
            streams: HashMap::new(),
            told: HashSet::new(),
            told_times: HashSet::new(),
            told_excluded: HashSet::new(),
            room: Room::new(settings),
            sessions: Sessions::of(&settings.data_dir),
            heard: None,
            bytes_max: settings.mqtt.payload_bytes_max as usize,
            buffer,
            wall_ns,
        }
    }

    /// Goes on by other stream rules; what is unchanged is not opened anew.
    pub(super) fn reconfigure(&mut self, settings: &Settings) {
        let gone = self
            .rules
            .iter()
            .filter(|rule| !settings.streams.contains(rule));
        let new = settings
            .streams
            .iter()
            .filter(|rule| !self.rules.contains(rule));
        let changed: HashSet<&str> = gone.chain(new).map(|rule| &*rule.name).collect();
        // A stream is called by its rule's name and what comes behind a slash.
        self.streams.retain(|stream, _| {
            let rule = stream.split('/').next().unwrap_or_default();
            !changed.contains(rule)
        });
        self.router = Router::new(&settings.streams);
        self.schemas = known_schemas(&self.buffer, &settings.streams);
        self.settling = settings
            .streams
            .iter()
            .map(|_| Settling::default())
            .collect();
        self.rules.clone_from(&settings.streams);
        self.told.clear();
        self.told_times.clear();
        self.told_excluded.clear();
        self.room = Room::new(settings);
        self.bytes_max = settings.mqtt.payload_bytes_max as usize;
    }

    /// Keeps small what the buffer takes, and forgets the streams that have been idle since `before_ts`
    /// (`now_ts` is the present, both nanoseconds UTC) and that neither the buffer nor an open task refers
    /// to. No record may wait for a commit.
    pub(super) fn tidy(&mut self, now_ts: i64, before_ts: i64) {
        self.buffer.seal_old(now_ts, before_ts);
        self.buffer.close_unread();
        let forgotten = self.buffer.forget_idle(before_ts);
        let ids: HashSet<StreamId> = forgotten.iter().map(|stream| stream.id).collect();
        self.streams.retain(|_, open| !ids.contains(&open.id));
        if let Some(first) = forgotten.first() {
            let (streams, one) = (forgotten.len(), &first.name);
            tracing::info!(
                streams,
                one,
                "idle streams are forgotten (buffer.streams_idle_s_max)"
            );
        }
    }

    /// What the rule of this topic says about retained publishes.
    pub(super) fn retained_policy(&self, topic: &[u8]) -> RetainedPolicy {
        match self.router.route(topic).as_deref() {
            Ok(Destination::Stream(route)) => self.rules[route.rule].retained,
            Ok(Destination::Excluded) => RetainedPolicy::Ignore,
            // What no rule takes goes to quarantine, once like everything else.
            Err(_) => RetainedPolicy::Once,
        }
    }

    /// Decodes a publish; its payload is `None` if its bytes were too many to be read. `wanted` are the
    /// values to take, the others being stored already; what does not come from the broker now is not
    /// `is_live`. `now_ns` is what a synchronised clock says.
    pub(super) fn decode(
        &mut self,
        topic: &[u8],
        (payload, payload_bytes): (Option<&[u8]>, usize),
        (wanted, is_live): (Option<&Missing>, bool),
        now_ns: Option<i64>,
    ) -> Result<Decoding<'_>, Reject> {
        let destination = self.router.route(topic)?;
        let nothing = |records_excluded| Ok(Decoding::Nothing { records_excluded });
        let Destination::Stream(route) = &*destination else {
            return nothing(0);
        };
        let payload = payload.ok_or_else(|| {
            let detail = format!("{payload_bytes} bytes (mqtt.payload_bytes_max)");
            Reject::new(Reason::TooLarge, detail)
        })?;
        let rule = &self.rules[route.rule];
        let known = self.schemas[route.rule].as_deref();
        let publish = Publish {
            payload,
            bytes_max: self.bytes_max,
            field: route.field.as_deref(),
            wanted,
        };
        let mut decoded = if rule.format == PayloadFormat::SparkplugB {
            let topic = std::str::from_utf8(topic).unwrap_or_default();
            let sessions = &self.sessions;
            match decode::decode_sparkplug(rule, known, publish, topic, sessions)? {
                Some((decoded, change)) => {
                    let needs = change.needs_rebirth();
                    let needs = needs.filter(|_| is_live && rule.rebirth_requests);
                    let (group, name) = change.edge_node();
                    self.heard = needs.map(|is_needed| Heard {
                        node: (group.to_owned(), name.to_owned()),
                        needs_rebirth: is_needed,
                    });
                    // Whether its records are taken or not: after a death, aliases may mean others. What is
                    // looked at again is old, and says nothing about what holds now.
                    if is_live {
                        self.sessions.apply(change);
                    }
                    decoded?
                }
                None => return nothing(0),
            }
        } else {
            decode::decode(rule, known, publish)?
        };
        if decoded.groups.is_empty() && decoded.misfits.is_empty() && wanted.is_none() {
            if is_live && decoded.records_excluded > 0 && self.told_excluded.insert(route.rule) {
                tracing::warn!(
                    stream = rule.name,
                    topic = %quoted_topic(topic),
                    "include_fields and exclude_fields leave nothing of a publish: it is counted as excluded, \
                     and not stored; this is told once"
                );
            }
            return nothing(decoded.records_excluded);
        }
        let records: u64 = decoded.groups.iter().map(|g| g.records.len() as u64).sum();
        let records = records + decoded.misfits.records;
        let known = self.schemas[route.rule].as_ref();
        let stages = self.settling[route.rule].reached(known, &decoded, rule.infer_records);
        let schema = match known {
            Some(schema) if stages.is_empty() && decoded.changes_nothing() => Arc::clone(schema),
            _ => {
                let pair = |second: &SecondField| (second.field.clone(), second.second.clone());
                let seconds: Vec<_> = decoded.seconds.iter().map(pair).collect();
                let declaration = Declaration {
                    tag_names: &tag_names(rule),
                    fields: &decoded.new_fields,
                    retyped: &decoded.retyped,
                    seconds: &seconds,
                    stages: &stages,
                    units: &rule.units(),
                    long_names: &decoded.long_names,
                    now_ns: now_ns.or_else(|| clock::believed((self.wall_ns)())),
                };
                let declared = self.buffer.declare(&rule.name, &declaration);
                let schema = declared.map_err(|error| Reject {
                    records,
                    ..Reject::new(Reason::WrongType, error.to_string())
                })?;
                self.schemas[route.rule] = Some(Arc::clone(&schema));
                tell_seconds(&rule.name, &decoded.seconds);
                schema
            }
        };
        let mut times_implausible = 0;
        for group in &mut decoded.groups {
            times_implausible += leave_out_times(&rule.time_range, now_ns, &mut group.records);
        }
        if times_implausible > 0 && self.told_times.insert(route.rule) {
            tracing::warn!(
                stream = rule.name,
                topic = %quoted_topic(topic),
                "source times before time_min or beyond time_max_ahead are left out; this is told once"
            );
        }
        let mut parts = Vec::with_capacity(decoded.groups.len());
        for group in decoded.groups {
            let name = route.stream_with(&group.tags);
            let part = self.part(route, &schema, name, &group.tags, group.records);
            parts.push(part.map_err(|reject| Reject { records, ..reject })?);
        }
        Ok(Decoding::Records(DecodedBatch {
            streams: &mut self.streams,
            parts,
            times_implausible,
            misfits: decoded.misfits,
            records_excluded: decoded.records_excluded,
        }))
    }

    /// The records of one stream of a publish; the stream is opened if need be.
    fn part(
        &mut self,
        route: &Route,
        schema: &Schema,
        name: String,
        payload_tags: &[String],
        records: Vec<Record>,
    ) -> Result<Part, Reject> {
        if !self.streams.contains_key(&name) {
            let captures: Vec<String> =
                route.captures.iter().chain(payload_tags).cloned().collect();
            let tags = self.tags_of(route.rule, &captures);
            self.open_stream(Some(route.rule), schema, &name, &tags)?;
        }
        let Some(open) = self.streams.get(&name) else {
            return Err(Reject::new(Reason::UnknownTopic, "stream not opened"));
        };
        Ok(Part::new(schema, (open.id, name), records.into_iter())?)
    }

    /// Records from inside the agent, under a schema that may be new.
    pub(super) fn adopt(
        &mut self,
        schema: &str,
        stream: &str,
        own_tags: &[(String, String)],
        fields: &[Field],
        records: Vec<Record>,
    ) -> Result<DecodedBatch<'_>, Reject> {
        let rule = self.rules.iter().position(|rule| rule.name == schema);
        let tags = self.tags_from_inside(schema, stream, own_tags, rule)?;
        let names: Vec<String> = tags.iter().map(|(name, _)| name.clone()).collect();
        let conflict = |error: dunlin_sync::buffer::CatalogError| {
            Reject::new(Reason::WrongType, error.to_string())
        };
        let declared = self
            .buffer
            .declare_schema(schema, &names, fields)
            .map_err(conflict)?;
        if let Some(index) = rule {
            self.schemas[index] = Some(Arc::clone(&declared));
        }
        if !self.streams.contains_key(stream) {
            self.open_stream(rule, &declared, stream, &tags)?;
        }
        let Some(open) = self.streams.get(stream) else {
            return Err(Reject::new(Reason::UnknownTopic, "stream not opened"));
        };
        let count = records.len() as u64;
        let records = placed(records, fields, &declared);
        let part = Part::new(&declared, (open.id, stream.to_owned()), records);
        let part = part.map_err(|error| Reject {
            records: count,
            ..Reject::from(error)
        })?;
        Ok(DecodedBatch {
            streams: &mut self.streams,
            parts: vec![part],
            times_implausible: 0,
            misfits: Misfits::default(),
            records_excluded: 0,
        })
    }

    /// Tags of `stream` by name: what it has already, what its rule says, or else `own_tags`.
    fn tags_from_inside(
        &self,
        schema: &str,
        stream: &str,
        own_tags: &[(String, String)],
        rule: Option<usize>,
    ) -> Result<Vec<(String, String)>, Reject> {
        let catalog = self.buffer.catalog();
        let known = catalog
            .stream_named(&catalog.name_for(&self.devices, stream))
            .and_then(|s| catalog.resolve(s.id));
        Ok(match (known, rule) {
            (Some((stream, schema)), rule) => {
                let tags = schema.tag_names.iter().zip(&stream.tags);
                let mut tags: BTreeMap<_, _> = tags.collect();
                if let Some(index) = rule {
                    let rule = &self.rules[index];
                    let names = tag_names(rule);
                    tags.retain(|name, _| names.contains(name));
                    tags.extend(&rule.tags);
                }
                let owned = |(name, value): (&String, &String)| (name.clone(), value.clone());
                tags.into_iter().map(owned).collect()
            }
            (None, Some(index))
                if self.rules[index].filter.tag_names().is_empty()
                    && self.rules[index].payload_tags.is_empty() =>
            {
                self.tags_of(index, &[])
            }
            (None, Some(index)) => {
                let values: Vec<String> = stream.split('/').skip(1).map(unescaped).collect();
                let rule = &self.rules[index];
                let of_payload = rule.payload_tags.iter().map(|tag| &tag.name);
                let names: Vec<&String> =
                    rule.filter.tag_names().iter().chain(of_payload).collect();
                if values.len() != names.len() {
                    let names = names.iter().map(|name| name.as_str()).collect::<Vec<_>>();
                    let names = names.join("/");
                    let detail =
                        format!("name the stream as {schema}/{names}, each with its value");
                    return Err(Reject::new(Reason::UnknownTopic, detail));
                }
                self.tags_of(index, &values)
            }
            (None, None) => {
                let device = ("device".to_owned(), self.devices.here.clone());
                [device]
                    .into_iter()
                    .chain(own_tags.iter().cloned())
                    .collect()
            }
        })
    }

    /// Tags of a stream of rule `rule` by name, `device` first.
    fn tags_of(&self, rule: usize, captures: &[String]) -> Vec<(String, String)> {
        let rule = &self.rules[rule];
        let values = [&self.devices.here].into_iter().chain(captures);
        let values = values.chain(rule.tags.values()).cloned();
        tag_names(rule).into_iter().zip(values).collect()
    }

    /// Opens the stream that this device calls `plain`. One whose tags have changed stays what it is.
    fn open_stream(
        &mut self,
        rule: Option<usize>,
        schema: &Schema,
        plain: &str,
        tags: &[(String, String)],
    ) -> Result<(), Reject> {
        let rule = rule.map(|index| &self.rules[index]);
        let catalog = self.buffer.catalog();
        let name = catalog.name_for(&self.devices, plain);
        let instances_max = rule.and_then(|rule| rule.instances_max);
        self.room
            .check(&catalog, schema, &name, instances_max)
            .map_err(|why| Reject::new(Reason::TooManyStreams, why))?;
        let known = catalog.stream_named(&name);
        let value = |name: &String| {
            let tag = tags.iter().find(|(tag, _)| tag == name);
            tag.map_or_else(String::new, |(_, value)| value.clone())
        };
        let mut tags: Vec<String> = schema.tag_names.iter().map(value).collect();
        let known_tags = known.map_or(tags.len(), |known| known.tags.len());
        while tags.len() > known_tags && tags.last().is_some_and(String::is_empty) {
            tags.pop();
        }
        if let Some(known) = known.filter(|known| known.tags != tags)
            && self.told.insert(schema.name.clone())
        {
            tracing::warn!(
                rule = schema.name,
                stream = plain,
                before = %told(schema, &known.tags),
                now = %told(schema, &tags),
                "tags have changed: streams of this rule keep their records and models, and their tags \
                 upstream follow"
            );
        }
        // Nobody else holds it then, so that a new stream need not copy it.
        drop(catalog);
        let stream = self.buffer.declare_stream(schema.id, &name, &tags);
        let own = SplitRule::Random {
            train: 0.8,
            seed: None,
        };
        let splitter = Splitter::new(rule.map_or(&own, |rule| &rule.split), plain);
        let open = OpenStream {
            id: stream.id,
            splitter,
        };
        self.streams.insert(plain.to_owned(), open);
        Ok(())
    }

    /// What the last publish tells of an edge node that may be told to announce itself again, once.
    pub(super) fn take_heard(&mut self) -> Option<Heard> {
        self.heard.take()
    }

    /// Makes durable what the publishes since the last time have announced.
    pub(super) fn save_sessions(&mut self) {
        self.sessions.save();
    }

    /// Name of the stream rule that takes `topic`.
    pub(super) fn rule_of(&self, topic: &[u8]) -> Option<&str> {
        match self.router.route(topic).as_deref() {
            Ok(Destination::Stream(route)) => Some(&self.rules.get(route.rule)?.name),
            _ => None,
        }
    }
}

/// Tags for people.
fn told(schema: &Schema, tags: &[String]) -> String {
    let tags = schema.tag_names.iter().zip(tags).skip(1);
    let tags: Vec<String> = tags
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    tags.join(" ")
}

/// The schema of each rule, as far as it is known.
fn known_schemas(buffer: &Buffer, rules: &[StreamRule]) -> Vec<Option<Arc<Schema>>> {
    let catalog = buffer.catalog();
    // One that is known takes on the tags and units that its rule has got since.
    let schemas = rules.iter().map(|rule| {
        catalog.schema_named(&rule.name)?;
        let declaration = Declaration {
            tag_names: &tag_names(rule),
            units: &rule.units(),
            ..Declaration::default()
        };
        buffer.declare(&rule.name, &declaration).ok()
    });
    schemas.collect()
}

fn quoted_topic(topic: &[u8]) -> String {
    decode::quoted(&String::from_utf8_lossy(topic))
}
