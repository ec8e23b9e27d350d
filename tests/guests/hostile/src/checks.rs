//! Checks what must be refused, and what must not.

use anacostia_guest::{Error, Result};

/// The results so far, in order.
#[derive(Default)]
pub struct Seen(Vec<String>);

impl Seen {
    /// Checks that the call `what` has failed with one of `codes` (separated by `|`), as a final
    /// error.
    pub fn refused<T>(&mut self, what: &str, codes: &str, result: Result<T>) -> Result<()> {
        match result {
            Err(error) if codes.split('|').any(|code| code == error.code) && !error.retryable => {
                self.0.push(format!("{what}: {}", error.code));
                Ok(())
            }
            Err(error) => {
                Err(Error::permanent(format!("{what}: must fail as {codes} for ever, but failed so: {error:?}")))
            }
            Ok(_) => Err(Error::permanent(format!("{what}: must fail as {codes}, but did not"))),
        }
    }

    /// Checks that the call `what` has succeeded.
    pub fn allowed<T>(&mut self, what: &str, result: Result<T>) -> Result<T> {
        let value = result.map_err(|error| {
            Error::permanent(format!("{what}: must succeed, but failed as {}: {}", error.code, error.message))
        })?;
        self.0.push(format!("{what}: ok"));
        Ok(value)
    }

    /// Checks that `what` is not available.
    pub fn denied(&mut self, what: &str, truth: bool) -> Result<()> {
        if !truth {
            return Err(Error::permanent(format!("{what}: must not be had, but was")));
        }
        self.0.push(format!("{what}: denied"));
        Ok(())
    }

    /// Checks that `what` holds.
    pub fn holds(&mut self, what: &str, truth: bool) -> Result<()> {
        if !truth {
            return Err(Error::permanent(format!("{what}: does not hold")));
        }
        self.0.push(format!("{what}: holds"));
        Ok(())
    }

    /// Returns the results, as the text of the outcome.
    pub fn text(self) -> String {
        self.0.join("; ")
    }
}
