//! The layouts of the pipeline in force. They depend on the manifest alone, so they are made once,
//! and not for every page.

use std::sync::{Arc, Mutex, PoisonError};

use super::svg::graph::shape;
use crate::graph::layout::{Direction, Layout};
use crate::graph::picture::Picture;
use crate::manifest::Pipeline;

/// Most nodes of a graph that is laid out for narrow windows too. A larger one is scrolled in both
/// directions anyway.
const MAX_DOWN: usize = 40;

/// A picture with its layouts.
#[derive(Debug)]
pub(super) struct Drawing {
    /// What is drawn.
    pub(super) picture: Picture,
    /// From left to right; `None` if it is too large to be drawn.
    pub(super) right: Option<Layout>,
    /// From top to bottom, for narrow windows.
    pub(super) down: Option<Layout>,
}

impl Drawing {
    /// Lays out a picture.
    pub(super) fn of(picture: Picture) -> Self {
        let right = picture.lay_out(shape(&picture, Direction::Right));
        let is_small = picture.nodes.len() <= MAX_DOWN;
        let down = if is_small { picture.lay_out(shape(&picture, Direction::Down)) } else { None };
        Self { picture, right, down }
    }
}

/// The drawing of the pipeline that was asked for last. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Drawings(Arc<Mutex<Option<Made>>>);

/// A drawing, and the pipeline that it shows.
type Made = (Arc<Pipeline>, Arc<Drawing>);

impl Drawings {
    /// Returns the drawing of a pipeline. `None` if making it has panicked.
    pub(super) async fn get(&self, pipeline: &Arc<Pipeline>) -> Option<Arc<Drawing>> {
        if let Some(known) = self.known(pipeline) {
            return Some(known);
        }
        let of = Arc::clone(pipeline);
        let made = tokio::task::spawn_blocking(move || Arc::new(Drawing::of(Picture::of(&of)))).await.ok()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(pipeline), Arc::clone(&made)));
        Some(made)
    }

    fn known(&self, pipeline: &Arc<Pipeline>) -> Option<Arc<Drawing>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(of, _)| Arc::ptr_eq(of, pipeline)).map(|(_, drawing)| Arc::clone(drawing))
    }
}
