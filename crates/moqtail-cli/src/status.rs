//! The live line of the demo, and numbers as people read them.

use std::{io::IsTerminal as _, time::Duration};

use crate::output::print;

/// One line on standard output that tells how things are: rewritten in place on a terminal, else a line each time.
#[derive(Debug)]
pub(crate) struct StatusLine {
    terminal: bool,
}

impl StatusLine {
    /// A line for this process's standard output.
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
        }
    }

    /// Shows `line` in place of the one before. False: nobody sees it any more.
    pub(crate) fn show(&self, line: &str) -> bool {
        print(&self.render(line))
    }

    /// Leaves the last line standing and goes on below it.
    pub(crate) fn end(&self) {
        if self.terminal {
            print("\n");
        }
    }

    /// On a terminal: clear the line and write without wrapping at the right edge.
    fn render(&self, line: &str) -> String {
        match self.terminal {
            true => format!("\r\x1b[2K\x1b[?7l{line}\x1b[?7h"),
            false => format!("{line}\n"),
        }
    }
}

/// A rate in bits per second for people: three digits and a decimal unit.
pub(crate) fn bitrate(bits_per_second: f64) -> String {
    match bits_per_second {
        rate if rate >= 1e9 => format!("{:.2} Gbit/s", rate / 1e9),
        rate if rate >= 1e6 => format!("{:.2} Mbit/s", rate / 1e6),
        rate => format!("{:.0} kbit/s", rate / 1e3),
    }
}

/// A latency for people: one decimal below 100 ms.
pub(crate) fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms < 100.0 {
        true => format!("{ms:.1} ms"),
        false => format!("{ms:.0} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_line_replaces_the_one_before_and_a_plain_one_ends() {
        assert_eq!(StatusLine { terminal: false }.render("now"), "now\n");
        let line = StatusLine { terminal: true }.render("now");
        assert!(line.starts_with("\r\x1b[2K") && !line.contains('\n'));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(bitrate(96_400.0), "96 kbit/s");
        assert_eq!(bitrate(1_234_567.0), "1.23 Mbit/s");
        assert_eq!(bitrate(2.5e9), "2.50 Gbit/s");
        assert_eq!(milliseconds(Duration::from_micros(1340)), "1.3 ms");
        assert_eq!(milliseconds(Duration::from_millis(250)), "250 ms");
    }
}
