//! Progress bars, on a terminal only.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::admin::operations::Listener;

/// A listener that shows progress and hands data to a writer.
pub struct Show<W> {
    bar: ProgressBar,
    /// Where data goes.
    pub out: W,
    /// Whoever read the output has left, such as `head`.
    pub reader_left: Arc<AtomicBool>,
}

impl Show<io::Sink> {
    /// Shows `what` is going on; there is no data.
    pub fn new(what: &'static str) -> Self {
        Self::with(what, io::sink())
    }

    /// Shows nothing.
    pub fn nothing() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            out: io::sink(),
            reader_left: Arc::default(),
        }
    }
}

impl<W> Show<W> {
    /// Shows `what` is going on; data goes to `out`.
    pub fn with(what: &'static str, out: W) -> Self {
        let bar = ProgressBar::new_spinner().with_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            out,
            reader_left: Arc::default(),
        }
    }
}

impl<W> Drop for Show<W> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl<W: Write + Send> Listener for Show<W> {
    fn progress(&mut self, done: u64, total: u64) -> io::Result<()> {
        if total > 0 && self.bar.length() != Some(total) {
            self.bar.set_length(total);
            self.bar
                .set_style(style("{msg} {wide_bar} {percent} % {eta} left"));
        }
        self.bar.set_position(done);
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.out.write_all(bytes);
        if let Err(error) = &written
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            self.reader_left.store(true, Relaxed);
        }
        written
    }
}

/// A style; the plain one if the template were wrong.
pub fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
