//! Orders renames for reporting.

use std::collections::HashSet;
use std::hash::Hash;

/// Renames: the old path, the new path, and a payload.
pub(super) type Moves<P, T> = Vec<(P, P, T)>;

/// Puts moves into an order in which each goes to a path that is no longer the start of another, so
/// that they can be applied one by one: `x.1` to `x.2`, then `x` to `x.1`. Renames that form a
/// circle have no such order, and are returned separately.
pub(super) fn in_order<P: Eq + Hash + Clone, T>(moves: Moves<P, T>) -> (Moves<P, T>, Moves<P, T>) {
    let mut starts: HashSet<P> = moves.iter().map(|(from, _, _)| from.clone()).collect();
    let (mut ordered, mut rest) = (Vec::with_capacity(moves.len()), moves);
    loop {
        let (blocked, free): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(_, to, _)| starts.contains(to));
        if free.is_empty() {
            return (ordered, blocked);
        }
        for (from, _, _) in &free {
            starts.remove(from);
        }
        ordered.extend(free);
        rest = blocked;
    }
}

#[cfg(test)]
mod tests {
    use super::in_order;

    #[test]
    fn moves_free_a_path_before_reusing_it_and_cycles_are_separated() {
        let moves = vec![("x", "x.1", ()), ("x.1", "x.2", ()), ("x.2", "x.3", ()), ("a", "b", ()), ("b", "a", ())];
        let (ordered, circle) = in_order(moves);
        assert_eq!(ordered, [("x.2", "x.3", ()), ("x.1", "x.2", ()), ("x", "x.1", ())]);
        assert_eq!(circle, [("a", "b", ()), ("b", "a", ())]);
    }
}
