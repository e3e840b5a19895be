//! What came of it.

use std::fmt;

/// What came of each scenario.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Those that hold.
    pub passed: Vec<&'static str>,
    /// Those that do not.
    pub failures: Vec<Failure>,
    /// What could not be looked at, each with the scenario that would have.
    pub unseen: Vec<(&'static str, &'static str)>,
}

impl Report {
    /// Whether every scenario holds.
    pub fn is_passed(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, failed) = (self.passed.len(), self.failures.len());
        writeln!(f, "{passed} scenarios passed, {failed} failed")?;
        for failure in &self.failures {
            writeln!(f, "{failure}")?;
        }
        for (scenario, what) in &self.unseen {
            writeln!(f, "{scenario}: not looked at: {what}")?;
        }
        Ok(())
    }
}

/// A scenario that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its name.
    pub scenario: &'static str,
    /// The first thing in it that was not as it must be.
    pub finding: Finding,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.scenario, self.finding)
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// What must be.
    pub expected: String,
    /// What is.
    pub found: String,
}

/// Bytes of either side in a finding.
const SHOWN_BYTES_MAX: usize = 600;

impl Finding {
    pub(super) fn new(
        what: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self {
            what: what.to_string(),
            expected: shortened(expected.to_string()),
            found: shortened(found.to_string()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            expected,
            found,
        } = self;
        write!(f, "{what}\n  expected: {expected}\n  found:    {found}")
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > SHOWN_BYTES_MAX {
        text.truncate(text.floor_char_boundary(SHOWN_BYTES_MAX));
        text.push_str(" ...");
    }
    text
}

/// What a scenario comes to: nothing to tell, or the first finding.
pub(super) type Outcome = Result<(), Finding>;

/// Whether what was found is what must be.
pub(super) fn same<T: PartialEq + fmt::Debug>(
    what: impl fmt::Display,
    expected: &T,
    found: &T,
) -> Outcome {
    if expected == found {
        return Ok(());
    }
    let text = |value: &T| format!("{value:?}");
    Err(Finding::new(what, text(expected), text(found)))
}

/// Whether something holds; `found` tells what is there instead.
pub(super) fn holds(
    what: impl fmt::Display,
    is_so: bool,
    expected: impl fmt::Display,
    found: impl fmt::Display,
) -> Outcome {
    if is_so {
        return Ok(());
    }
    Err(Finding::new(what, expected, found))
}
