//! Decodes arguments from bytes. When the bytes are used up, every argument is zero or empty.

/// A sequence of bytes that is consumed from the front.
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// Creates the sequence.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Returns whether no bytes are left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Returns a number: a small one, an edge case, or any.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=99 => small.into(),
            power @ 100..=163 => 1 << (power - 100),
            edge @ 164..=227 => (1_u64 << (edge - 164)).wrapping_sub(1),
            228..=239 => u64::MAX,
            _ => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
        }
    }

    /// Returns a text of up to 63 bytes.
    pub fn text(&mut self) -> String {
        let length = usize::from(self.byte() % 64).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}
