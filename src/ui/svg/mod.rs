//! Pictures that the server draws. Positions along an axis are in percent of its length, so that a
//! picture is as wide as its window, with text of the same size.

pub(super) mod axis;
pub(super) mod bar;
pub(super) mod scatter;
pub(super) mod timeline;
