//! The listener on standard error: a progress bar on a terminal, a line per trial elsewhere.

use std::io::IsTerminal;
use std::time::Instant;

use bench_results::record::Trial;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::event::Event;
use crate::output;

/// Shows a run while it is executed.
pub struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    began: Option<Instant>,
    planned_s: f64,
    trials: u64,
    block: String,
}

impl Progress {
    /// On standard error.
    pub fn new() -> Progress {
        let is_terminal = std::io::stderr().is_terminal();
        // Drawn once a second: what shows the measurement must not disturb it.
        let target = if is_terminal { ProgressDrawTarget::stderr_with_hz(1) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(1), target);
        Progress { bar, is_terminal, began: None, planned_s: 0.0, trials: 0, block: String::new() }
    }

    /// Show an event.
    pub fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Phase(text) => self.say(&format!("bench: {text} ...")),
            Event::Note(text) => self.say(&format!("bench: {text}")),
            Event::Started { page, trials, planned_s } => self.start(page, *trials as u64, *planned_s),
            Event::Block { number, of } => self.block = format!("block {number} of {of}"),
            Event::Trial(trial) => self.trial(trial),
            Event::BlockDone => {}
        }
    }

    fn start(&mut self, page: &std::path::Path, trials: u64, planned_s: f64) {
        self.say(&format!(
            "bench: {trials} trials, about {}; the page, after the first block: {}",
            output::duration(planned_s * 1.15),
            page.display()
        ));
        self.planned_s = planned_s;
        self.trials = trials;
        self.bar.set_length(trials);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}") {
            self.bar.set_style(style);
        }
    }

    fn trial(&mut self, trial: &Trial) {
        let began = *self.began.get_or_insert_with(Instant::now);
        self.bar.inc(1);
        let done = self.bar.position();
        // The first trial starts the clock; before there is experience, the plan is the estimate.
        let left = if done > 4 {
            began.elapsed().as_secs_f64() / (done - 1) as f64 * (self.trials - done.min(self.trials)) as f64
        } else {
            self.planned_s * 1.15 * (1.0 - done as f64 / self.trials.max(1) as f64)
        };
        let planned = &trial.planned;
        self.bar.set_message(format!(
            "{}: {} in {}, {} left",
            self.block,
            planned.workload,
            planned.environment,
            output::duration(left)
        ));
        let outcome = match (&trial.failure, trial.invalid.is_empty()) {
            (Some(why), _) => Some(format!("failed: {why}")),
            (None, false) => Some(format!("invalid: {}", trial.invalid.join("; "))),
            (None, true) => None,
        };
        match outcome {
            Some(outcome) => self.say(&format!("bench: {} {outcome}", planned.id)),
            None if !self.is_terminal => self.say(&format!("bench: {done}/{} {}", self.trials, planned.id)),
            None => {}
        }
    }

    fn say(&self, text: &str) {
        if self.is_terminal {
            self.bar.suspend(|| output::tell(text));
        } else {
            output::tell(text);
        }
    }

    /// Take the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
