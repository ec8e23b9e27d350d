//! One operation: what a handler takes, and what it answers with.

use axum::Json;
use axum::response::Response;
use utoipa::ToSchema;
use utoipa::openapi::path::{Operation as Described, OperationBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{
    ArrayBuilder, Content, ContentBuilder, HttpMethod, ObjectBuilder, Ref, RefOr, Required, Response as Declared,
    ResponseBuilder, ResponsesBuilder, Schema, Type,
};

use super::{Schemas, parameters};
use crate::base::bounds::MAX_PAGE;
use crate::http::problem::{MEDIA_TYPE, ProblemBody, Result};

/// Operations about one subject.
pub(in crate::http) struct Group {
    pub(in crate::http) name: &'static str,
    pub(in crate::http) about: &'static str,
    pub(in crate::http) operations: Vec<Operation>,
}

/// A body that is sent.
#[derive(Clone)]
pub(in crate::http) struct Media {
    name: &'static str,
    schema: Option<RefOr<Schema>>,
    schemas: Schemas,
}

impl Media {
    /// JSON of a type.
    pub(in crate::http) fn json<T: ToSchema>() -> Self {
        Self { schema: Some(Ref::from_schema_name(T::name()).into()), ..Self::of::<T>() }
    }

    /// JSON of a page of a list.
    pub(in crate::http) fn page<T: ToSchema>() -> Self {
        let items = ArrayBuilder::new().items(Ref::from_schema_name(T::name())).max_items(Some(MAX_PAGE as usize));
        let cursor = SchemaType::from_iter([Type::String, Type::Null]);
        let about = "The cursor of the next page; `null` on the last one.";
        let page = ObjectBuilder::new()
            .property("items", items.description(Some("The items of this page.")))
            .property("next_cursor", ObjectBuilder::new().schema_type(cursor).description(Some(about)))
            .required("items")
            .required("next_cursor");
        Self { schema: Some(page.into()), ..Self::of::<T>() }
    }

    /// Bytes or text.
    pub(in crate::http) fn raw(media_type: &'static str) -> Self {
        Self { name: media_type, schema: None, schemas: Vec::new() }
    }

    /// A JSON object without a schema.
    pub(in crate::http) fn object() -> Self {
        let schema = ObjectBuilder::new().schema_type(Type::Object);
        Self { schema: Some(schema.into()), ..Self::raw("application/json") }
    }

    fn of<T: ToSchema>() -> Self {
        let mut schemas = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut schemas);
        Self { schemas, ..Self::raw("application/json") }
    }

    fn content(self, schemas: &mut Schemas) -> (&'static str, Content) {
        schemas.extend(self.schemas);
        (self.name, ContentBuilder::new().schema(self.schema).build())
    }
}

/// What a handler answers with if all is well: a status, what it means, and what is sent.
pub(in crate::http) type Success = (&'static str, &'static str, Option<Media>);

/// A type that a handler answers with.
pub(in crate::http) trait Answer {
    /// Returns what may be sent; nothing if the type does not say it.
    fn answers() -> Vec<Success>;
}

impl<T: ToSchema> Answer for Json<T> {
    fn answers() -> Vec<Success> {
        vec![("200", "Done.", Some(Media::json::<T>()))]
    }
}

impl Answer for Response {
    fn answers() -> Vec<Success> {
        Vec::new()
    }
}

/// A function that handles requests.
pub(in crate::http) trait Handler<Arguments> {
    type Answer: Answer;
}

macro_rules! handler {
    ($($argument:ident)+) => {
        impl<F, T, A, $($argument,)+> Handler<($($argument,)+)> for F
        where
            F: Fn($($argument),+) -> T,
            T: Future<Output = Result<A>>,
            A: Answer,
        {
            type Answer = A;
        }
    };
}
handler!(A1);
handler!(A1 A2);
handler!(A1 A2 A3);
handler!(A1 A2 A3 A4);
handler!(A1 A2 A3 A4 A5);

/// One method of one path.
pub(in crate::http) struct Operation {
    method: HttpMethod,
    path: &'static str,
    summary: &'static str,
    query: &'static [&'static str],
    headers: &'static [&'static str],
    body: Option<Media>,
    successes: Vec<Success>,
    problems: Vec<(&'static str, &'static str)>,
}

/// A `GET` of a path, which `handler` answers.
pub(in crate::http) fn get<A, H: Handler<A>>(path: &'static str, handler: H, summary: &'static str) -> Operation {
    Operation::new(HttpMethod::Get, path, handler, summary)
}

/// The same for `POST`.
pub(in crate::http) fn post<A, H: Handler<A>>(path: &'static str, handler: H, summary: &'static str) -> Operation {
    Operation::new(HttpMethod::Post, path, handler, summary)
}

/// The same for `PUT`.
pub(in crate::http) fn put<A, H: Handler<A>>(path: &'static str, handler: H, summary: &'static str) -> Operation {
    Operation::new(HttpMethod::Put, path, handler, summary)
}

impl Operation {
    fn new<A, H: Handler<A>>(method: HttpMethod, path: &'static str, _: H, summary: &'static str) -> Self {
        let successes = H::Answer::answers();
        let missing = path.contains('{').then_some(("404", "There is nothing of this name."));
        let (query, headers): (&[_], &[_]) = (&[], &[]);
        Self { method, path, summary, query, headers, body: None, successes, problems: missing.into_iter().collect() }
    }

    /// Adds the parameters of the query.
    pub(in crate::http) fn query(self, query: &'static [&'static str]) -> Self {
        Self { query, ..self }
    }

    /// Adds the headers that it reads.
    pub(in crate::http) fn headers(self, headers: &'static [&'static str]) -> Self {
        Self { headers, ..self }
    }

    /// Adds a body of JSON.
    pub(in crate::http) fn body<T: ToSchema>(self) -> Self {
        Self { body: Some(Media::json::<T>()), ..self }
    }

    /// Adds a body of bytes.
    pub(in crate::http) fn content(self) -> Self {
        Self { body: Some(Media::raw("application/octet-stream")), ..self }
    }

    /// Adds an answer that the type of the handler does not say.
    pub(in crate::http) fn answer(mut self, status: &'static str, about: &'static str, media: Option<Media>) -> Self {
        self.successes.push((status, about, media));
        self
    }

    /// Leaves out an answer.
    pub(in crate::http) fn never(mut self, status: &str) -> Self {
        self.successes.retain(|(other, ..)| *other != status);
        self
    }

    /// Adds a problem that is worth knowing.
    pub(in crate::http) fn problem(mut self, status: &'static str, about: &'static str) -> Self {
        self.problems.push((status, about));
        self
    }

    /// Returns the path, the method and the rest in the form of the document. Adds the schemas.
    pub(super) fn described(self, tag: &str, schemas: &mut Schemas) -> (&'static str, HttpMethod, Described) {
        let id = self.id();
        let in_path = self.path.split(['{', '}']).skip(1).step_by(2);
        let in_path = in_path.map(|name| parameters::in_path(self.path, &self.method, name));
        let in_query = self.query.iter().map(|name| parameters::in_query(self.path, &self.method, name));
        let in_header = self.headers.iter().map(|name| parameters::described(name, ParameterIn::Header));
        let all: Vec<_> = in_path.chain(in_query).chain(in_header).collect();
        let mut responses = ResponsesBuilder::new();
        for (status, about, media) in self.successes {
            responses = responses.response(status, answered(about, media, schemas));
        }
        for (status, about) in self.problems {
            responses = responses.response(status, problem(about, schemas));
        }
        let body = self.body.map(|media| {
            // A body of JSON may be left out, and then counts as an empty object.
            let is_json = media.schema.is_some();
            let (media_type, content) = media.content(schemas);
            let required = if is_json { Required::False } else { Required::True };
            RequestBodyBuilder::new().required(Some(required)).content(media_type, content).build()
        });
        let operation = OperationBuilder::new()
            .tag(tag)
            .operation_id(Some(id))
            .summary(Some(self.summary))
            .parameters(Some(all).filter(|all| !all.is_empty()))
            .request_body(body)
            .responses(responses.response("default", problem("What is wrong.", schemas)));
        (self.path, self.method, operation.build())
    }

    /// Returns a name for the method of a client: `get_runs_id_inputs`, or `get_host_metrics`
    /// outside of the API.
    fn id(&self) -> String {
        let inside = self.path.strip_prefix("/api/v1");
        let path = inside.map_or_else(|| format!("/host{}", self.path), str::to_owned);
        let method = match self.method {
            HttpMethod::Put => "put",
            HttpMethod::Post => "post",
            _ => "get",
        };
        format!("{method}{}", path.replace(['{', '}'], "").replace(['/', '.'], "_"))
    }
}

fn answered(about: &str, media: Option<Media>, schemas: &mut Schemas) -> Declared {
    let response = ResponseBuilder::new().description(about);
    let Some(media) = media else { return response.build() };
    let (media_type, content) = media.content(schemas);
    response.content(media_type, content).build()
}

fn problem(about: &str, schemas: &mut Schemas) -> Declared {
    let media = Media { name: MEDIA_TYPE, ..Media::json::<ProblemBody>() };
    answered(about, Some(media), schemas)
}
