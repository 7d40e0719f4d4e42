//! Bars that move while the tool works, on stderr; where stderr is no terminal, one line for each
//! step that took place.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a download's folder is measured.
const MEASURE_EVERY: Duration = Duration::from_millis(200);

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// Where bars are drawn.
pub(crate) struct Progress {
    bars: MultiProgress,
    /// Plain lines instead of bars.
    plain: bool,
}

/// One step under way; it disappears when dropped, and leaves a line when done.
pub(crate) struct Step {
    label: String,
    bar: ProgressBar,
    bars: MultiProgress,
    plain: bool,
    shown: bool,
    started: Instant,
    over: Arc<AtomicBool>,
}

// === impl Progress ===

impl Progress {
    /// Bars on stderr, or lines when it is no terminal.
    pub(crate) fn on_stderr() -> Self {
        let plain = !std::io::stderr().is_terminal();
        let target = if plain {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            plain,
        }
    }

    /// Nothing is shown.
    #[cfg(test)]
    pub(crate) fn hidden() -> Self {
        Self {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            plain: false,
        }
    }

    /// A step of unknown length.
    pub(crate) fn step(&self, label: &str) -> Step {
        let style =
            ProgressStyle::with_template("  {spinner:.cyan} {prefix:18} {msg} {elapsed:.dim}")
                .expect("the template is fixed");
        self.start(label, ProgressBar::new_spinner().with_style(style))
    }

    /// A download of about `bytes` into `folder`, measured by what lies there.
    pub(crate) fn download(&self, label: &str, bytes: u64, folder: &Path) -> Step {
        let style = ProgressStyle::with_template(
            "  {spinner:.cyan} {prefix:18} [{bar:28}] {bytes}/{total_bytes} {msg}",
        )
        .expect("the template is fixed")
        .progress_chars("=> ");
        let step = self.start(label, ProgressBar::new(bytes).with_style(style));
        measure(
            folder.to_path_buf(),
            step.bar.clone(),
            Arc::clone(&step.over),
        );
        step
    }

    fn start(&self, label: &str, bar: ProgressBar) -> Step {
        let bar = self.bars.add(bar.with_prefix(label.to_owned()));
        bar.enable_steady_tick(TICK);
        Step {
            label: label.to_owned(),
            bar,
            bars: self.bars.clone(),
            plain: self.plain,
            shown: self.plain || !self.bars.is_hidden(),
            started: Instant::now(),
            over: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Runs `work` while no bar is drawn, for a program that draws its own.
    pub(crate) fn suspended<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bars.suspend(work)
    }
}

// === impl Step ===

impl Step {
    /// Says what is being done now.
    pub(crate) fn doing(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// Ends the step, and leaves a line that says so.
    pub(crate) fn done(self) {
        let seconds = self.started.elapsed().as_secs_f64();
        let line = format!("  ✓ {:18} {seconds:.1} s", self.label);
        self.bar.finish_and_clear();
        if !self.shown {
        } else if self.plain {
            eprintln!("{line}");
        } else {
            // A terminal that is gone is no reason to stop.
            let _ = self.bars.println(line);
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.bar.finish_and_clear();
    }
}

/// Moves `bar` to the size of what lies in `folder` until `over`.
fn measure(folder: PathBuf, bar: ProgressBar, over: Arc<AtomicBool>) {
    thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            bar.set_position(size_of(&folder));
            thread::sleep(MEASURE_EVERY);
        }
    });
}

fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size_of(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
