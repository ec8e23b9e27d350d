//! Lists in the difference between two runs.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, Ref, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Most items of a list in a [`RunDiff`](super::RunDiff).
pub const MAX_DIFF_ITEMS: usize = 500;

/// A list in a difference: what differs first, then what is equal, each in order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiffList<T> {
    /// The items.
    pub items: Vec<T>,
    /// How many differ, listed or not.
    pub different: usize,
    /// How many are equal, listed or not.
    pub equal: usize,
    /// How many are left out because the list would be too long.
    pub left_out: usize,
}

impl<T: ToSchema> ToSchema for DiffList<T> {
    fn name() -> Cow<'static, str> {
        format!("{}s", T::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}

impl<T: ToSchema> PartialSchema for DiffList<T> {
    fn schema() -> RefOr<Schema> {
        let items = ArrayBuilder::new().items(Ref::from_schema_name(T::name())).max_items(Some(MAX_DIFF_ITEMS));
        let count = |about| ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).description(Some(about));
        ObjectBuilder::new()
            .description(Some("What differs, then what is equal, each in order."))
            .property("items", items.description(Some("The items.")))
            .property("different", count("How many differ, listed or not."))
            .property("equal", count("How many are equal, listed or not."))
            .property("left_out", count("How many are left out because the list would be too long."))
            .required("items")
            .required("different")
            .required("equal")
            .required("left_out")
            .into()
    }
}
