//! The layouts of the pipeline in force, and of the manifests of runs that people look at. They
//! depend on the manifest alone, so they are made once, and not for every page.

use std::sync::{Arc, Mutex, PoisonError};

use super::svg::graph::shape;
use crate::base::Digest;
use crate::graph::layout::{Direction, Layout};
use crate::graph::picture::Picture;
use crate::manifest::Pipeline;

/// Drawings that are kept: those that were asked for last.
const KEPT: usize = 4;
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

/// The drawings that were asked for last, the newest first. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Drawings(Arc<Mutex<Vec<Made>>>);

/// A drawing, and the pipeline that it shows.
#[derive(Debug)]
struct Made {
    /// The digest of its manifest, if it is that of a run.
    revision: Option<Digest>,
    pipeline: Arc<Pipeline>,
    drawing: Arc<Drawing>,
}

impl Drawings {
    /// Returns the drawing of the pipeline in force. `None` if making it has panicked.
    pub(super) async fn get(&self, pipeline: &Arc<Pipeline>) -> Option<Arc<Drawing>> {
        if let Some((_, drawing)) = self.known(|made| Arc::ptr_eq(&made.pipeline, pipeline)) {
            return Some(drawing);
        }
        self.make(None, pipeline).await
    }

    /// Returns the pipeline of the manifest of a run, which has this digest, and its drawing.
    /// `read` reads the pipeline, and is not awaited if that is known. `None` if making the drawing
    /// has panicked.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) async fn of_revision<E>(
        &self,
        revision: Digest,
        read: impl Future<Output = Result<Pipeline, E>>,
    ) -> Result<Option<(Arc<Pipeline>, Arc<Drawing>)>, E> {
        if let Some(known) = self.known(|made| made.revision == Some(revision)) {
            return Ok(Some(known));
        }
        let pipeline = Arc::new(read.await?);
        Ok(self.make(Some(revision), &pipeline).await.map(|drawing| (pipeline, drawing)))
    }

    async fn make(&self, revision: Option<Digest>, pipeline: &Arc<Pipeline>) -> Option<Arc<Drawing>> {
        let of = Arc::clone(pipeline);
        let drawing = tokio::task::spawn_blocking(move || Arc::new(Drawing::of(Picture::of(&of)))).await.ok()?;
        let made = Made { revision, pipeline: Arc::clone(pipeline), drawing: Arc::clone(&drawing) };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(KEPT - 1);
        kept.insert(0, made);
        Some(drawing)
    }

    fn known(&self, is_it: impl Fn(&Made) -> bool) -> Option<(Arc<Pipeline>, Arc<Drawing>)> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(is_it)?;
        kept.get_mut(..=place)?.rotate_right(1);
        kept.first().map(|made| (Arc::clone(&made.pipeline), Arc::clone(&made.drawing)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::{Drawing, Drawings, KEPT};
    use crate::base::Digest;
    use crate::manifest::{Pipeline, parse_pinned};

    fn pipeline(action: &str) -> Pipeline {
        let text =
            format!("manifest_version = 1\n[pipeline]\nname = \"p\"\n[actions.{action}]\ncomponent = \"a.wasm\"\n");
        let folder = Path::new("/nowhere");
        parse_pinned(&text, folder, &folder.join("anacostia.toml"), &|_| None).unwrap()
    }

    /// Returns the drawing of the manifest of a run.
    async fn of_run(drawings: &Drawings, revision: Digest, action: &str) -> Arc<Drawing> {
        let read = async { Ok::<_, ()>(pipeline(action)) };
        drawings.of_revision(revision, read).await.unwrap().unwrap().1
    }

    #[tokio::test]
    async fn a_drawing_is_made_once_and_is_that_of_its_manifest() {
        let drawings = Drawings::default();
        let in_force = Arc::new(pipeline("train"));
        let (now, before) = (drawings.get(&in_force).await.unwrap(), Digest::of(b"old"));
        let old = of_run(&drawings, before, "fit").await;
        assert!(now.picture.place("train").is_some() && old.picture.place("fit").is_some());
        // A manifest that is known is not read again.
        let unread = async { Err("it was read") };
        assert!(Arc::ptr_eq(&old, &drawings.of_revision(before, unread).await.unwrap().unwrap().1));
        assert!(Arc::ptr_eq(&now, &drawings.get(&in_force).await.unwrap()));
        // What is asked for stays, however many others there are.
        for number in 0..2 * KEPT {
            let other = Digest::of(&number.to_le_bytes());
            of_run(&drawings, other, "fit").await;
            assert!(Arc::ptr_eq(&now, &drawings.get(&in_force).await.unwrap()));
        }
        assert_eq!(drawings.0.lock().unwrap().len(), KEPT);
    }
}
