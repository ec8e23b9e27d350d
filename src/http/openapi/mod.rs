//! The description of the API in the form of OpenAPI 3.1, for tools that make clients and for
//! people.
//!
//! Each operation gets its answer from the signature of its handler, and each schema comes from the
//! type that is sent or read, with the comments of its members. `examples` adds values. The table
//! of the operations is in `api::described`.
//!
//! Rejected: the attribute `utoipa::path` at each handler. It takes the type of the answer as a
//! claim, and says in ten lines what is one here.

mod examples;
mod operation;
mod parameters;
mod tidy;

pub(super) use operation::{Answer, Group, Media, Success, get, post, put};

use serde_json::Value;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Info, OpenApiBuilder, PathItem, Paths, RefOr, Schema, tag::TagBuilder};

/// Schemas by name.
type Schemas = Vec<(String, RefOr<Schema>)>;

const ABOUT: &str = "A running pipeline: its runs, artifacts, metrics and triggers.

Lists have `items` and `next_cursor`, and take `limit` and `cursor`. Times are UTC, RFC 3339 with \
microseconds. An error is a problem detail (RFC 9457). A parameter that a route does not have is an error. A later \
version may send members that are not here.";

/// Returns the document of some operations, and of further schemas.
pub(super) fn document(groups: Vec<Group>, mut schemas: Schemas) -> Value {
    let (mut paths, mut tags) = (Paths::new(), Vec::new());
    for Group { name, about, operations } in groups {
        tags.push(TagBuilder::new().name(name).description(Some(about)).build());
        for operation in operations {
            let (path, method, described) = operation.described(name, &mut schemas);
            let item = paths.paths.entry(path.to_owned()).or_default();
            item.merge_operations(PathItem::new(method, described));
        }
    }
    let mut components = Components::new();
    components.schemas.extend(schemas);
    let bearer = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The token whose digest is `[server] token_sha256`."));
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
    let document = OpenApiBuilder::new()
        .info(Info::builder().title("Anacostia").version(env!("CARGO_PKG_VERSION")).description(Some(ABOUT)).build())
        // A host without a token asks for none.
        .security(Some([SecurityRequirement::default(), SecurityRequirement::new("bearer", [""; 0])]))
        .paths(paths)
        .components(Some(components))
        .tags(Some(tags))
        .build();
    // All of it is texts, numbers and maps whose keys are texts.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    tidy::tidy(&mut document);
    examples::add(&mut document);
    document
}
