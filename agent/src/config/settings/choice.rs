//! Types that are written as one of a few words; each type owns its words.

use dunlin_sync::{buffer::WhenFull, sample::FieldType, uploader::UploadOrder};

/// A type that is written as one of a few words.
pub(in crate::config) trait Choice: Clone + 'static {
    /// Each word and what it stands for, in the order in which people are told.
    const CHOICES: &'static [(&'static str, Self)];
}

impl Choice for WhenFull {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("block", Self::Block), ("drop_oldest", Self::DropOldest)];
}

impl Choice for UploadOrder {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("oldest_first", Self::OldestFirst),
        ("live_first", Self::LiveFirst),
    ];
}

impl Choice for FieldType {
    const CHOICES: &'static [(&'static str, Self)] = &[
        (Self::F64.name(), Self::F64),
        (Self::F32.name(), Self::F32),
        (Self::I64.name(), Self::I64),
        (Self::Bool.name(), Self::Bool),
        (Self::Text.name(), Self::Text),
    ];
}
