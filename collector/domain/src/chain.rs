//! Errors in logs: what was attempted, and why it failed.

use std::error::Error;

/// Causes that are told at most; a chain that goes on in a circle ends all the same.
const MAX_CAUSES: usize = 16;

/// An error and its causes, as `what: why: why`. A cause that an error tells in its own text already is
/// not repeated.
#[must_use]
pub fn chain(error: &(dyn Error + '_)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    for _ in 0..MAX_CAUSES {
        let Some(error) = cause else { break };
        let why = error.to_string();
        if !text.ends_with(&why) {
            text.push_str(": ");
            text.push_str(&why);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{fmt, io};

    use super::*;

    #[derive(Debug)]
    struct Outer(&'static str, io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn every_cause_is_told_once() {
        let cause = || io::Error::other("disk is full");
        assert_eq!(chain(&Outer("cannot write", cause())), "cannot write: disk is full");
        assert_eq!(chain(&Outer("no room: disk is full", cause())), "no room: disk is full");
        assert_eq!(chain(&cause()), "disk is full");
    }
}
