//! What of Dunlin is compiled in: everything but `PostgreSQL`, unless a build for a small device leaves parts
//! out (`--no-default-features`).

/// A part that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name, as `--features` takes it.
    pub name: &'static str,
    /// Whether it is compiled in.
    pub is_in: bool,
}

/// `dunlin demo` and its broker.
pub const DEMO: Feature = Feature {
    name: "demo",
    is_in: cfg!(feature = "demo"),
};
/// Models: trained, judged and answering on the device.
pub const LEARNING: Feature = Feature {
    name: "learning",
    is_in: cfg!(feature = "learning"),
};
/// A `PostgreSQL` database as upstream.
pub const POSTGRES: Feature = Feature {
    name: "postgres",
    is_in: cfg!(feature = "postgres"),
};
/// A `SQLite` file as upstream.
pub const SQLITE: Feature = Feature {
    name: "sqlite",
    is_in: cfg!(feature = "sqlite"),
};

/// All of them.
pub const ALL: [Feature; 4] = [DEMO, LEARNING, POSTGRES, SQLITE];

impl Feature {
    /// What to do about its absence.
    pub fn hint(self) -> String {
        format!(
            "this dunlin is built without the feature `{}`; use one that has it (dunlin --version \
             tells)",
            self.name
        )
    }
}

/// The version with what is compiled in, for `dunlin --version`.
pub fn long_version() -> String {
    let names: Vec<&str> = ALL.iter().filter(|f| f.is_in).map(|f| f.name).collect();
    let names = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    format!("{}\nfeatures: {names}", env!("CARGO_PKG_VERSION"))
}

#[cfg(all(
    test,
    not(all(feature = "learning", feature = "postgres", feature = "sqlite"))
))]
mod tests;
