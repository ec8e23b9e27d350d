//! Takes the values of secrets out of whatever an action says.
//!
//! Masked is the value as it is, and each line of a value of several lines. Not masked is what an
//! action made of it: a part, its base64, its letters one by one on lines of their own. A sandbox
//! cannot prevent that; who is given a secret can give it away.

use std::borrow::Cow;

use crate::base::bounds::cut;

/// What stands where a secret stood.
const MASK: &str = "•••";

/// Shorter values would be found everywhere by chance.
const SHORTEST: usize = 4;

/// Knows the values to take out.
#[derive(Debug, Clone, Default)]
pub(super) struct Masker {
    /// The longest first, so that a secret inside of another does not leave the rest of that one.
    values: Vec<String>,
}

impl Masker {
    /// Takes out these values.
    pub(super) fn new<'a>(secrets: impl Iterator<Item = &'a str>) -> Self {
        let mut values: Vec<String> = secrets
            .flat_map(|secret| std::iter::once(secret).chain(secret.lines()))
            .filter(|value| value.chars().count() >= SHORTEST)
            .map(str::to_owned)
            .collect();
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        Self { values }
    }

    /// Bytes of the longest value: who cuts text before it is masked must keep that much more, or a
    /// part of a secret would stay.
    pub(super) fn longest(&self) -> usize {
        self.values.first().map_or(0, String::len)
    }

    /// `text` without secrets.
    pub(super) fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.mask_up_to(text, usize::MAX)
    }

    /// `text` without secrets, and at most `max` bytes of it. The cut comes after the masking, so
    /// that no part of a secret is left at the end.
    pub(super) fn mask_cut(&self, text: &str, max: usize) -> String {
        // Of what begins at or after `max` nothing can be kept.
        let masked = self.mask_up_to(text, max.saturating_add(1));
        cut(&masked, max).into_owned()
    }

    /// `text` without secrets; what begins at or after the byte `end` may be left out.
    fn mask_up_to<'a>(&self, text: &'a str, end: usize) -> Cow<'a, str> {
        let end = (0..=end.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let window = end.saturating_add(self.longest()).min(text.len());
        let window = (window..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let searched = text.get(..window).unwrap_or(text);
        let mut kept = String::new();
        let mut at = 0;
        let mut secrets = Secrets::of(&self.values, searched);
        while let Some((start, length)) = secrets.from(at).filter(|(start, _)| *start < end) {
            kept.push_str(searched.get(at..start).unwrap_or_default());
            kept.push_str(MASK);
            at = start + length;
        }
        if at == 0 {
            return Cow::Borrowed(text.get(..end).unwrap_or(text));
        }
        kept.push_str(searched.get(at..end).unwrap_or_default());
        Cow::Owned(kept)
    }
}

/// Finds values in a text, from the left to the right. Remembers where it has seen each: to look
/// for all of them anew after each that is found would take time that grows with the square of the
/// text, and the text is the guest's.
struct Secrets<'a> {
    text: &'a str,
    values: &'a [String],
    /// Where each value is next.
    next: Vec<Option<usize>>,
}

impl<'a> Secrets<'a> {
    fn of(values: &'a [String], text: &'a str) -> Self {
        let next = values.iter().map(|value| text.find(value.as_str())).collect();
        Self { text, values, next }
    }

    /// Where the first one from `from` on is, and how long; of two at one place the longer. `from`
    /// never goes back.
    fn from(&mut self, from: usize) -> Option<(usize, usize)> {
        let rest = self.text.get(from..)?;
        for (next, value) in self.next.iter_mut().zip(self.values) {
            if next.is_some_and(|next| next < from) {
                *next = rest.find(value.as_str()).map(|at| from + at);
            }
        }
        let found = self.next.iter().zip(self.values).filter_map(|(next, value)| next.map(|at| (at, value.len())));
        found.min_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)))
    }
}

#[cfg(test)]
mod tests {
    use super::Masker;

    #[test]
    fn secrets_are_taken_out_the_longest_first() {
        let masker = Masker::new(["hunter2", "hunter2-long", "abc", "line one\nline two"].into_iter());
        assert_eq!(masker.mask("a hunter2-long b hunter2 c"), "a ••• b ••• c");
        assert_eq!(masker.mask("abc stays: it is too short"), "abc stays: it is too short");
        assert_eq!(masker.mask("so does line two alone"), "so does ••• alone");
        assert_eq!(masker.mask("nothing"), "nothing");
        assert_eq!(Masker::default().mask("x"), "x");
    }

    /// Takes an hour if each secret that is found costs a look at all the rest of the text.
    #[test]
    fn a_text_full_of_secrets_costs_no_more_than_a_long_one() {
        let masker = Masker::new(["aaaa", "zzzz is nowhere"].into_iter());
        let masked = masker.mask(&"aaaa".repeat(4 << 20)).into_owned();
        assert_eq!(masked.len(), super::MASK.len() * (4 << 20));
    }

    #[test]
    fn a_cut_never_leaves_a_part_of_a_secret() {
        let masker = Masker::new(["hunter2"].into_iter());
        for max in 0..40 {
            let cut = masker.mask_cut("hunter2 hunter2 hunter2 and some text", max);
            assert!(cut.len() <= max.max("…".len()), "{max}: {cut}");
            assert!(!cut.contains("hunt"), "{max}: {cut}");
        }
        assert_eq!(masker.mask_cut("no secret here", 9), "no sec…");
    }
}
