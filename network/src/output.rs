//! Writing to standard output, which may be a terminal, a file, or a pipe that somebody
//! closes early.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// Prints one line. A reader that has gone away is an error that [`reader_is_gone`] knows.
pub(crate) fn say(line: &impl Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(())
}

/// Prints text as it is.
pub(crate) fn print(text: &impl Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    write!(stdout, "{text}")?;
    stdout.flush()?;
    Ok(())
}

/// Whether a command failed only because nobody reads on, as with `… | head`.
pub(crate) fn reader_is_gone(error: &anyhow::Error) -> bool {
    let io = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    };
    error.downcast_ref::<std::io::Error>().is_some() && error.chain().any(io)
}

/// A colour that says how something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be: green.
    Good,
    /// Not yet: yellow.
    Waiting,
    /// Not as it should be: red.
    Bad,
    /// A heading: bold.
    Heading,
}

impl Tone {
    /// `text` in this tone where standard output shows colours, and as it is elsewhere.
    pub(crate) fn paint(self, text: &str) -> String {
        if !shows_colours() {
            return text.to_owned();
        }
        let code = match self {
            Self::Good => "32",
            Self::Waiting => "33",
            Self::Bad => "31",
            Self::Heading => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// A terminal shows colours unless the environment declines (no-color.org).
fn shows_colours() -> bool {
    let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    !declined && std::io::stdout().is_terminal()
}

/// Lines on standard error while something takes long; only a terminal shows them.
pub(crate) fn progress(line: &impl Display) {
    let stderr = std::io::stderr();
    if stderr.is_terminal() {
        // A terminal that cannot be written to loses a line of comfort.
        let _ = writeln!(stderr.lock(), "{line}");
    }
}
