//! The parameters of requests, by their names.

use serde_json::json;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::{
    ArrayBuilder, HttpMethod, KnownFormat, ObjectBuilder, RefOr, Required, Schema, SchemaFormat, Type,
};

use crate::base::bounds::MAX_PAGE;
use crate::http::query::{DEFAULT_DEPTH, DEFAULT_LIMIT};
use crate::model::{ArtifactState, RunState};
use crate::store::{MAX_LINEAGE_DEPTH, RunSort};

/// Returns a parameter that is a part of `path`.
pub(super) fn in_path(path: &str, method: &HttpMethod, name: &str) -> Parameter {
    let (schema, about) = match name {
        "id" if path.contains("/artifacts/") => (uuid(), "The id of the artifact."),
        "id" if *method == HttpMethod::Put => (uuid(), "A new UUID of version 7, which becomes the id of the run."),
        "id" => (text().examples(["7"]), "The run: its number or its id."),
        "other" => (text().examples(["6"]), "The other run: its number or its id."),
        _ if path.contains("/models/") => (text().examples(["penguins"]), "The name of the model."),
        _ if path.contains("/actions/") => (text().examples(["train"]), "The name of the action."),
        _ if path.contains("/resources/") => (text().examples(["raw"]), "The name of the resource."),
        _ => (text().examples(["raw"]), "The name of the resource or the action; `metadata_store` for the store."),
    };
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
    parameter.description(Some(about)).schema(Some(schema)).build()
}

/// Returns a parameter of the query of `path`.
pub(super) fn in_query(path: &str, method: &HttpMethod, name: &str) -> Parameter {
    if name == "state" && path.ends_with("/runs") {
        let states = words(RunState::ALL.iter().map(|state| state.as_str()));
        return ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .description(Some("Only runs in one of these states."))
            .style(Some(ParameterStyle::Form))
            .explode(Some(false))
            .schema(Some(ArrayBuilder::new().items(states)))
            .build();
    }
    let mut parameter = match name {
        "tag" if path.ends_with("/runs") => about(name, "Only runs with this tag: `name` or `name=value`."),
        "run" if path.ends_with("/artifacts") => about(name, "Only the inputs of this run: its number or its id."),
        _ => described(name, ParameterIn::Query),
    };
    if *method == HttpMethod::Post {
        parameter.required = Required::True;
    }
    parameter
}

fn about(name: &str, about: &str) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).description(Some(about));
    parameter.schema(Some(text())).build()
}

/// Returns a parameter that is the same for every path.
pub(super) fn described(name: &str, place: ParameterIn) -> Parameter {
    let (schema, about): (RefOr<Schema>, _) = match name {
        "limit" => (limit().into(), "The most items on a page."),
        "cursor" => (text().into(), "`next_cursor` of the page before."),
        "wait" => (text().examples(["30s"]).into(), "Answer when the run has ended, or after this time: at most `1m`."),
        "state" => (words(ArtifactState::ALL.iter().map(|state| state.as_str())).into(), "Only those in this state."),
        "since" => (text().examples(["24h"]).into(), "Only from this on: a date, a time, or how long ago."),
        "until" => (text().examples(["2026-03-01"]).into(), "Only from before this: a date, a time, or how long ago."),
        "param" => {
            let examples = text().examples(["alpha=0.5"]);
            (examples.into(), "Only runs with this param, `name=value`, which they were given or an action recorded.")
        }
        "sort" => (sort().into(), "The order: by number, or by duration (only runs that have started and ended)."),
        "run" => (text().examples(["7"]).into(), "Only of this run: its number or its id."),
        "attempt" => (uuid().into(), "Only of this attempt."),
        "action" => (text().into(), "Only of this action."),
        "resource" => (text().into(), "Only of this resource."),
        "trigger" => (text().into(), "Only of this trigger; a resource's trigger has its name."),
        "tag" => (text().into(), "Only with this tag."),
        "path" => (text().into(), "A path in the resource."),
        "depth" => (depth().into(), "How many attempts in a row are followed."),
        "direction" => (
            words(["up", "down", "both"].into_iter()).default(Some(json!("both"))).into(),
            "`up`: what the artifact was made from; `down`: what was made from it.",
        ),
        "after" => {
            (text().examples(["3-105"]).into(), "The id of the last message that was received; `0` for all events.")
        }
        "newest" => (
            ObjectBuilder::new().schema_type(Type::Boolean).default(Some(json!(false))).into(),
            "Only the last of the events that wait at the same time, at most 100 a second.",
        ),
        "Last-Event-ID" => {
            (text().examples(["3-105"]).into(), "The same, as browsers send it. It comes before `after`.")
        }
        "Range" => (text().examples(["bytes=0-1023"]).into(), "The part that is wanted."),
        "If-Range" => (text().into(), "`ETag` of the content that the part belongs to; otherwise all of it is sent."),
        "If-None-Match" => (text().into(), "`ETag` of the content that the client has."),
        "Content-Digest" => {
            let example = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
            (text().examples([example]).into(), "The digest of the body (RFC 9530), which is then checked.")
        }
        "X-Content-SHA256" => (text().into(), "The same as 64 hexadecimal digits."),
        _ => (text().into(), "Only with this name."),
    };
    ParameterBuilder::new().name(name).parameter_in(place).description(Some(about)).schema(Some(schema)).build()
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn uuid() -> ObjectBuilder {
    let format = SchemaFormat::Custom("uuid".to_owned());
    text().format(Some(format)).examples(["01890a5d-ac96-774b-bcce-b302099a8057"])
}

fn words(words: impl Iterator<Item = &'static str>) -> ObjectBuilder {
    text().enum_values(Some(words.collect::<Vec<_>>()))
}

fn limit() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
        .minimum(Some(1))
        .maximum(Some(MAX_PAGE))
        .default(Some(json!(DEFAULT_LIMIT)))
}

fn depth() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
        .minimum(Some(1))
        .maximum(Some(MAX_LINEAGE_DEPTH))
        .default(Some(json!(DEFAULT_DEPTH)))
}

fn sort() -> ObjectBuilder {
    words(RunSort::ALL.into_iter().map(RunSort::as_str)).default(Some(json!(RunSort::default().as_str())))
}
