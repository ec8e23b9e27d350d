//! Arguments out of bytes. When they are used up, everything is zero or empty.

/// Bytes that are used from the front.
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// These.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Whether none are left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next one.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number: a small one, one at an edge, or any.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=99 => small.into(),
            power @ 100..=163 => 1 << (power - 100),
            edge @ 164..=227 => (1_u64 << (edge - 164)).wrapping_sub(1),
            228..=239 => u64::MAX,
            _ => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
        }
    }

    /// A text of up to 63 bytes.
    pub fn text(&mut self) -> String {
        let length = usize::from(self.byte() % 64).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}
