//! What may happen to a buffer.

use dunlin_sync::buffer::SplitFilter;
use proptest::prelude::*;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// `rows` small records over a few streams, a new field now and then.
    Commit {
        rows: u16,
        salt: u64,
    },
    /// `rows` records of almost a block each.
    CommitLarge {
        rows: u16,
        salt: u64,
    },
    /// `rows` records of several blocks' worth, of a schema of many fields, among small ones.
    CommitWide {
        rows: u16,
        salt: u64,
    },
    /// Large commits until one is refused, or (dropping) until there were enough.
    Fill {
        salt: u64,
    },
    /// A share of what is there, in 1/256.
    Upload {
        share: u8,
    },
    Reopen,
    /// Goes on with a copy taken while the buffer is open: what a SIGKILL leaves.
    Crash,
    /// A power cut during a commit: of the pages it wrote, some had reached the device.
    PowerCut {
        rows: u16,
        kind: Kind,
        salt: u64,
    },
    /// A record each of `streams` streams that were never seen, with names of up to `name_bytes`.
    NewStreams {
        streams: u16,
        name_bytes: u16,
        salt: u64,
    },
    /// Forgets every stream of which nothing is there.
    Forget,
    /// Moves what lies beyond a share of what is there.
    Correct {
        share: u8,
        delta: i16,
    },
    Query(AnyQuery),
    /// Flips bytes of a generation's database, the newest included if `newest`.
    Damage {
        pick: u8,
        at: Vec<(u16, u8)>,
        while_open: bool,
        newest: bool,
    },
    /// Harms files whose loss costs nothing, then reopens.
    Harm(Harm, u8),
    /// No disk is left, then there is some again.
    DiskFull,
}

/// What a commit holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Small records of a few streams.
    Small,
    /// Records of almost a block each.
    Large,
    /// Records of several blocks' worth among small ones.
    Wide,
    /// Records of new streams, with names of so many bytes.
    New(u16),
}

#[derive(Clone, Debug)]
pub(crate) enum Harm {
    Catalog(Torn),
    Summary(Torn),
    Corrections(Torn),
    CorrectionsCopy(Torn),
    Trash,
    HalfCreated { sled: bool },
    CompleteMark,
    TemporaryFile,
    Reserve,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Torn {
    Gone,
    Empty,
    Half,
    Flipped,
}

#[derive(Clone, Debug)]
pub(crate) struct AnyQuery {
    pub(crate) stream: u8,
    pub(crate) fields: Vec<usize>,
    pub(crate) from: Option<u8>,
    pub(crate) to: Option<u8>,
    pub(crate) split: SplitFilter,
    pub(crate) newest_first: bool,
    pub(crate) rows_max: Option<u16>,
}

pub(crate) fn any_torn() -> impl Strategy<Value = Torn> {
    prop_oneof![
        Just(Torn::Gone),
        Just(Torn::Empty),
        Just(Torn::Half),
        Just(Torn::Flipped)
    ]
}

pub(crate) fn any_harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        any_torn().prop_map(Harm::Catalog),
        any_torn().prop_map(Harm::Summary),
        any_torn().prop_map(Harm::Corrections),
        any_torn().prop_map(Harm::CorrectionsCopy),
        Just(Harm::Trash),
        any::<bool>().prop_map(|sled| Harm::HalfCreated { sled }),
        Just(Harm::CompleteMark),
        Just(Harm::TemporaryFile),
        Just(Harm::Reserve),
    ]
}

pub(crate) fn any_query() -> impl Strategy<Value = AnyQuery> {
    let split = prop_oneof![
        Just(SplitFilter::All),
        Just(SplitFilter::Train),
        Just(SplitFilter::Validation),
        (0_u8..3).prop_map(SplitFilter::Fold),
        (0_u8..3).prop_map(SplitFilter::NotFold),
    ];
    (
        any::<u8>(),
        prop::collection::vec(0_usize..6, 0..4),
        any::<Option<u8>>(),
        any::<Option<u8>>(),
        split,
        any::<bool>(),
        prop::option::of(0_u16..400),
    )
        .prop_map(
            |(stream, fields, from, to, split, newest_first, rows_max)| AnyQuery {
                stream,
                fields,
                from,
                to,
                split,
                newest_first,
                rows_max,
            },
        )
}

pub(crate) fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Small),
        Just(Kind::Large),
        // No more in all than is put at once: the pages of several puts cannot be mixed.
        (1_u16..200).prop_map(Kind::New)
    ]
}

pub(crate) fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1_u16..600, any::<u64>()).prop_map(|(rows, salt)| Op::Commit { rows, salt }),
        5 => (1_u16..150, any::<u64>()).prop_map(|(rows, salt)| Op::CommitLarge { rows, salt }),
        4 => (1_u16..12, any::<u64>()).prop_map(|(rows, salt)| Op::CommitWide { rows, salt }),
        1 => any::<u64>().prop_map(|salt| Op::Fill { salt }),
        5 => any::<u8>().prop_map(|share| Op::Upload { share }),
        2 => Just(Op::Reopen),
        2 => Just(Op::Crash),
        3 => (1_u16..150, any_kind(), any::<u64>())
            .prop_map(|(rows, kind, salt)| Op::PowerCut { rows, kind, salt }),
        2 => (1_u16..12, any::<u64>())
            .prop_map(|(rows, salt)| Op::PowerCut { rows, kind: Kind::Wide, salt }),
        2 => (1_u16..600, 1_u16..500, any::<u64>())
            .prop_map(|(streams, name_bytes, salt)| Op::NewStreams { streams, name_bytes, salt }),
        2 => Just(Op::Forget),
        2 => (any::<u8>(), any::<i16>()).prop_map(|(share, delta)| Op::Correct { share, delta }),
        4 => any_query().prop_map(Op::Query),
        1 => (any::<u8>(), prop::collection::vec(any::<(u16, u8)>(), 1..6), any::<bool>(), prop::bool::weighted(0.3))
            .prop_map(|(pick, at, while_open, newest)| Op::Damage { pick, at, while_open, newest }),
        2 => (any_harm(), any::<u8>()).prop_map(|(harm, pick)| Op::Harm(harm, pick)),
        1 => Just(Op::DiskFull),
    ]
}
