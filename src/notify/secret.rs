//! The secrets of receivers, and how they stay out of errors.

use crate::manifest::SecretSource;

const MASK: &str = "•••";

/// Values shorter than this are not masked, because they would match by chance everywhere.
const SHORTEST: usize = 4;

/// The values of secrets that were read.
#[derive(Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Reads a secret.
    ///
    /// # Errors
    /// When its variable is not set, or not text.
    pub(super) fn read(&mut self, SecretSource::Env(variable): &SecretSource) -> Result<String, String> {
        let value = std::env::var(variable)
            .map_err(|_| format!("the environment variable `{variable}`, a secret, is not set or not text"))?;
        self.0.push(value.clone());
        // The longest first, so that a secret inside another one does not leave the rest of it.
        self.0.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Ok(value)
    }

    /// Returns `text` without the values.
    pub(super) fn mask(&self, text: &str) -> String {
        let long = self.0.iter().filter(|value| value.chars().count() >= SHORTEST);
        long.fold(text.to_owned(), |text, value| text.replace(value.as_str(), MASK))
    }
}

#[cfg(test)]
mod tests {
    use super::Secrets;

    #[test]
    fn values_are_taken_out_the_longest_first() {
        let secrets = Secrets(vec!["hunter2-long".to_owned(), "hunter2".to_owned(), "abc".to_owned()]);
        assert_eq!(secrets.mask("535 hunter2 and hunter2-long: abc"), "535 ••• and •••: abc");
    }
}
