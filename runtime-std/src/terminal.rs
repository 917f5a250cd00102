//! Reading a password from the terminal or from a pipe.

use std::io::{self, BufRead, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

/// The longest line that is read, in bytes: far more than a password.
const LINE: u64 = 64 * 1024;

/// Reads one line from standard input; a terminal is prompted and does not show what is typed.
///
/// # Errors
/// Standard input could not be read.
pub(crate) fn read_line() -> io::Result<Vec<u8>> {
    let hidden = isatty(io::stdin()).then(Hidden::start).transpose()?;
    let mut line = Vec::new();
    io::stdin().lock().take(LINE).read_until(b'\n', &mut line)?;
    drop(hidden);
    Ok(line)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn start() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // What was typed ahead was shown already and is not the password.
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        let _ = write!(io::stderr(), "password: ");
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
        // The line end was not shown either.
        let _ = writeln!(io::stderr());
    }
}
