//! What every kind of resource does, as far as it promises it: one list of cases over all kinds,
//! with real servers. What a kind does not promise is asserted to be absent.
//!
//! `source` and `target` have the kinds, each as another program uses it; `arrivals` and `outputs`
//! have the cases. The tests of a kind itself only have what no other kind has.

mod arrivals;
mod outputs;
mod source;
mod target;

/// Makes a test of each case for each kind, named `KIND::CASE`.
macro_rules! over_each_kind {
    ($place:ident [$($kind:ident),* $(,)?] $cases:tt) => {
        $(over_each_kind!(@ $place $kind $cases);)*
    };
    (@ $place:ident $kind:ident [$($case:ident),* $(,)?]) => {
        mod $kind {
            $(#[test]
            fn $case() {
                super::$case(super::super::$place::$kind());
            })*
        }
    };
}
use over_each_kind;

/// Returns the lines of a resource `name`.
fn resource(name: &str, keys: &str) -> String {
    format!("[resources.{name}]\n{keys}\n")
}
