//! Pictures that the server draws as SVG inside of the page: with classes and presentation
//! attributes only, because the content security policy allows no inline style.
//!
//! The `bars`, the `graph` and a `sparkline` are written as text, because most of them is numbers.
//! The others give positions in percent of an axis's length to templates, so that a picture is as
//! wide as its window, with text of the same size.

pub(super) mod axis;
pub(super) mod bar;
pub(super) mod bars;
pub(super) mod decisions;
pub(super) mod graph;
pub(super) mod scatter;
pub(super) mod sparkline;
pub(super) mod timeline;

/// Shortens a text to at most `most` characters. Begin and end stay, because names in a row often
/// differ in one of the two.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let end = kept * 2 / 5;
    let begin: String = text.chars().take(kept - end).collect();
    let end: String = text.chars().skip(count - end).collect();
    format!("{begin}…{end}")
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn texts_are_shortened_in_the_middle() {
        assert_eq!(shortened("train", 5), "train");
        assert_eq!(shortened("train_model_seven", 10), "train_…ven");
        assert_eq!(shortened("ääääää", 3), "ää…");
        assert_eq!(shortened("long", 1), "…");
    }
}
