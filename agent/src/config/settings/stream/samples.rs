//! What is said about bursts of samples.

use super::{Choice, Feature, Pointer};

/// How a sample is written in binary data, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleType {
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 16-bit integer.
    I16,
    /// 32-bit integer.
    I32,
}

impl Choice for SampleType {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("f32", Self::F32),
        ("f64", Self::F64),
        ("i16", Self::I16),
        ("i32", Self::I32),
    ];
}

impl SampleType {
    /// Bytes of one sample.
    pub const fn bytes(self) -> usize {
        match self {
            Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 => 8,
        }
    }
}

impl Choice for Feature {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("mean", Self::Mean),
        ("std", Self::Std),
        ("rms", Self::Rms),
        ("peak", Self::Peak),
        ("peak_to_peak", Self::PeakToPeak),
        ("crest", Self::Crest),
        ("skewness", Self::Skewness),
        ("kurtosis", Self::Kurtosis),
        ("bands", Self::Bands),
    ];
}

/// Samples per second.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleRate {
    /// Always so many, hertz.
    Hz(f64),
    /// The payload says how many.
    At(Pointer),
}

/// A payload is a burst of samples, of one channel or several.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplesRule {
    /// Where each channel's samples are, with the name of its field.
    pub channels: Vec<(String, Pointer)>,
    /// `None`: every sample has a time of its own, or none.
    pub rate: Option<SampleRate>,
    /// Of samples in binary data.
    pub sample_type: SampleType,
    /// One record of these features instead of one record a sample; empty for the samples.
    pub reduce: Vec<Feature>,
    /// The samples beside the features, in streams of their own: the tag `part` tells which.
    pub keeps_samples: bool,
}
