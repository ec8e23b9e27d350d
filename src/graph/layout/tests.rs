use proptest::prelude::*;

use super::{Direction, Layout, MAX_PLACES, Point, Shape, lay_out};

const SHAPE: Shape = Shape { direction: Direction::Right, width: 200, height: 60 };
const DOWN: Shape = Shape { direction: Direction::Down, ..SHAPE };

/// Returns points on the path of an edge, so close that no box fits between them: curves as they
/// are drawn, with both handles in the middle of the gap.
fn way(layout: &Layout, edge: usize) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut last: Option<Point> = None;
    for (from, to) in &layout.routes[edge].curves {
        for step in 0..=24 {
            let t = f64::from(step) / 24.0;
            let mix = |a: i32, b: i32, t: f64| f64::from(a) + (f64::from(b) - f64::from(a)) * t;
            if let Some(last) = last {
                points.push((mix(last.x, from.x, t), mix(last.y, from.y, t)));
            }
        }
        for step in 0..=24 {
            let t = f64::from(step) / 24.0;
            let bezier = |a: f64, b: f64, c: f64, d: f64| {
                let u = 1.0 - t;
                u * u * u * a + 3.0 * u * u * t * b + 3.0 * u * t * t * c + t * t * t * d
            };
            let (fx, fy, tx, ty) = (f64::from(from.x), f64::from(from.y), f64::from(to.x), f64::from(to.y));
            let (mx, my) = (f64::midpoint(fx, tx), f64::midpoint(fy, ty));
            points.push(match layout.shape.direction {
                Direction::Right => (bezier(fx, mx, mx, tx), bezier(fy, fy, ty, ty)),
                Direction::Down => (bezier(fx, fx, tx, tx), bezier(fy, my, my, ty)),
            });
        }
        last = Some(*to);
    }
    points
}

/// Asserts that a point is on the side of a box at which edges begin, or end.
fn is_at(layout: &Layout, point: Point, node: usize, begins: bool) {
    let (corner, shape) = (layout.boxes[node], layout.shape);
    let (along, across, start, low, size, room) = match shape.direction {
        Direction::Right => (point.x, point.y, corner.x, corner.y, shape.width, shape.height),
        Direction::Down => (point.y, point.x, corner.y, corner.x, shape.height, shape.width),
    };
    assert_eq!(along, if begins { start + size } else { start }, "{point:?} at {corner:?}");
    assert!(low < across && across < low + room, "{point:?} at {corner:?}");
}

fn check(layout: &Layout, edges: &[(usize, usize)]) {
    let shape = layout.shape;
    for (node, corner) in layout.boxes.iter().enumerate() {
        assert!(corner.x >= 0 && corner.x + shape.width <= layout.width, "{corner:?} of {layout:?}");
        assert!(corner.y >= 0 && corner.y + shape.height <= layout.height, "{corner:?} of {layout:?}");
        for other in &layout.boxes[..node] {
            let apart = |a: i32, b: i32, size: i32| (a - b).abs() >= size + 16;
            assert!(
                apart(corner.x, other.x, shape.width) || apart(corner.y, other.y, shape.height),
                "{corner:?} {other:?}"
            );
        }
    }
    assert_eq!(layout.routes.len(), edges.len());
    for (edge, (from, to)) in edges.iter().enumerate() {
        let route = &layout.routes[edge];
        if from == to {
            assert!(route.curves.is_empty());
            continue;
        }
        is_at(layout, route.curves[0].0, *from, !route.is_back);
        is_at(layout, route.curves.last().unwrap().1, *to, route.is_back);
        for (x, y) in way(layout, edge) {
            assert!(x >= 0.0 && x <= f64::from(layout.width) && y >= 0.0 && y <= f64::from(layout.height));
            for corner in &layout.boxes {
                let (left, top) = (f64::from(corner.x), f64::from(corner.y));
                let inside = x > left + 0.01
                    && x < left + f64::from(shape.width) - 0.01
                    && y > top + 0.01
                    && y < top + f64::from(shape.height) - 0.01;
                assert!(!inside, "edge {from} to {to} runs through the box at {corner:?}");
            }
        }
    }
}

#[test]
fn a_column_is_rather_in_the_given_order() {
    // A store, 80 resources, and an action after each.
    let edges: Vec<(usize, usize)> = (1..=80).flat_map(|resource| [(0, resource), (resource, resource + 80)]).collect();
    for shape in [SHAPE, DOWN] {
        let layout = lay_out(161, &edges, &[], shape).unwrap();
        let across = |node: usize| if shape == SHAPE { layout.boxes[node].y } else { layout.boxes[node].x };
        assert!(across(1) < across(80) && across(81) < across(160), "{layout:?}");
    }
}

#[test]
fn a_chain_is_a_straight_line() {
    let edges = [(0, 1), (1, 2)];
    let layout = lay_out(3, &edges, &[], SHAPE).unwrap();
    check(&layout, &edges);
    assert_eq!(layout.boxes, [(16, 16), (256, 16), (496, 16)].map(|(x, y)| Point { x, y }));
    assert_eq!((layout.width, layout.height), (712, 92));
    assert_eq!(layout.routes[1].curves, [(Point { x: 456, y: 46 }, Point { x: 496, y: 46 })]);
    let down = lay_out(3, &edges, &[], DOWN).unwrap();
    check(&down, &edges);
    assert_eq!(down.boxes, [(16, 16), (16, 116), (16, 216)].map(|(x, y)| Point { x, y }));
}

#[test]
fn a_long_edge_passes_beside_the_boxes_between() {
    let edges = [(0, 1), (1, 2), (2, 3), (0, 3)];
    let layout = lay_out(4, &edges, &[], SHAPE).unwrap();
    check(&layout, &edges);
    assert_eq!(layout.routes[3].curves.len(), 3);
    assert!(!layout.routes[3].is_back);
}

#[test]
fn the_last_edge_of_a_cycle_leads_back() {
    let edges = [(0, 1), (1, 2), (2, 0), (1, 0)];
    let layout = lay_out(3, &edges, &[], SHAPE).unwrap();
    check(&layout, &edges);
    assert_eq!(layout.routes.iter().map(|route| route.is_back).collect::<Vec<_>>(), [false, false, true, true]);
    let (from, to) = (layout.routes[2].curves[0].0, layout.routes[2].curves.last().unwrap().1);
    assert!(from.x > to.x, "{from:?} {to:?}");
}

#[test]
fn a_node_before_many_stands_beside_the_first_of_them() {
    let edges: Vec<_> = (1..=60).map(|to| (0, to)).collect();
    let layout = lay_out(61, &edges, &[], SHAPE).unwrap();
    check(&layout, &edges);
    assert_eq!(layout.boxes[0].y, layout.boxes[1].y);
    let few = lay_out(9, &edges[..8], &[], SHAPE).unwrap();
    assert!(
        few.boxes[1..].iter().any(|it| it.y < few.boxes[0].y) && few.boxes[1..].iter().any(|it| it.y > few.boxes[0].y)
    );
}

#[test]
fn an_order_places_nodes_and_is_not_drawn() {
    // 0 leads to 1 and 2, and 2 leads to 1. The order says that 1 is before 2.
    let edges = [(0, 1), (0, 2), (2, 1)];
    let layout = lay_out(3, &edges, &[(1, 2)], SHAPE).unwrap();
    check(&layout, &edges);
    assert!(layout.boxes[1].x < layout.boxes[2].x, "{layout:?}");
    assert_eq!(layout.routes.iter().map(|route| route.is_back).collect::<Vec<_>>(), [false, false, true]);
    let layout = lay_out(3, &edges, &[], SHAPE).unwrap();
    assert!(layout.boxes[1].x > layout.boxes[2].x, "{layout:?}");
}

#[test]
fn a_node_to_which_none_leads_stands_next_to_what_it_leads_to() {
    // 4 leads to 3, the last of a chain.
    let edges = [(0, 1), (1, 2), (2, 3), (4, 3)];
    let layout = lay_out(5, &edges, &[], SHAPE).unwrap();
    check(&layout, &edges);
    assert_eq!(layout.boxes[4].x, layout.boxes[2].x);
}

#[test]
fn the_smallest_and_the_too_large() {
    let one = lay_out(1, &[], &[], SHAPE).unwrap();
    assert_eq!((one.width, one.height), (232, 92));
    assert!(lay_out(0, &[], &[], SHAPE).unwrap().boxes.is_empty());
    assert!(lay_out(2, &[(0, 0), (0, 7)], &[], SHAPE).unwrap().routes.iter().all(|route| route.curves.is_empty()));
    assert_eq!(lay_out(MAX_PLACES + 1, &[], &[], SHAPE), None);
    // Each node is connected with all before it: far too many bends.
    let edges: Vec<_> = (0..90).flat_map(|to| (0..to).map(move |from| (from, to))).collect();
    assert_eq!(lay_out(90, &edges, &[], SHAPE), None);
}

#[test]
fn three_hundred_nodes_are_laid_out_in_bounded_time_and_always_alike() {
    // Forty actions after each other, each with several that only depend on it.
    let edges: Vec<_> = (1..300).flat_map(|to: usize| [(to * 7 / 8, to), (to / 2, to)]).collect();
    let begun = std::time::Instant::now();
    let layout = lay_out(300, &edges, &[], SHAPE).unwrap();
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    check(&layout, &edges);
    assert_eq!(lay_out(300, &edges, &[], SHAPE).unwrap(), layout);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_graph_is_laid_out_without_overlaps(
        nodes in 1_usize..40,
        ends in prop::collection::vec((0_usize..40, 0_usize..40), 0..70),
        pairs in prop::collection::vec((0_usize..40, 0_usize..40), 0..10),
        to_the_right in any::<bool>(),
    ) {
        let within = |ends: Vec<(usize, usize)>| -> Vec<_> {
            ends.into_iter().map(|(from, to)| (from % nodes, to % nodes)).collect()
        };
        let (edges, order) = (within(ends), within(pairs));
        let shape = if to_the_right { SHAPE } else { DOWN };
        let layout = lay_out(nodes, &edges, &order, shape).unwrap();
        check(&layout, &edges);
        prop_assert_eq!(lay_out(nodes, &edges, &order, shape).unwrap(), layout);
    }
}
