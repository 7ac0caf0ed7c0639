//! Progress of what lasts: a line on stderr that appears after a moment, on terminals only.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use keiki_core::context::Progress;
use keiki_core::units::Bytes;

use super::color::can_redraw;

/// What is over before this shows nothing: a flicker tells nobody anything.
const PATIENCE: Duration = Duration::from_millis(400);

/// A line that shows how far an operation has come; it vanishes with this value.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    began: Instant,
    is_shown: bool,
    bar: OnceLock<ProgressBar>,
}

impl ProgressLine {
    /// Returns a line that is not shown yet.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), is_shown: can_redraw(), bar: OnceLock::new() }
    }

    /// Shows how far the effect in progress has come.
    pub(crate) fn set(&self, progress: Progress) {
        if !self.is_shown || self.began.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_init(|| bar(self.began.elapsed()));
        let rate = rate(progress.bytes, self.began.elapsed());
        let size = Bytes(progress.bytes);
        bar.set_message(format!("{} entries, {size}, {rate}/s", progress.entries));
        bar.tick();
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

fn bar(elapsed: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
    let bar = ProgressBar::new_spinner().with_elapsed(elapsed);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn rate(bytes: u64, elapsed: Duration) -> Bytes {
    let milliseconds = elapsed.as_millis().max(1);
    Bytes(u64::try_from(u128::from(bytes) * 1000 / milliseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_count_milliseconds() {
        assert_eq!(rate(1000, Duration::from_millis(500)), Bytes(2000));
        assert_eq!(rate(1000, Duration::ZERO), Bytes(1_000_000));
    }
}
