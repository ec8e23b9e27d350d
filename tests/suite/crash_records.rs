//! What is on record when all files have been processed, as code that is not the product's reads
//! it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::records::{Keys, Records};

pub(super) struct Artifact {
    pub(super) resource: String,
    pub(super) path: String,
    pub(super) version: String,
    pub(super) state: String,
    /// In hexadecimal.
    pub(super) digest: String,
}

pub(super) struct Run {
    /// Without dashes.
    pub(super) id: String,
    pub(super) number: String,
    pub(super) state: String,
}

pub(super) struct Action {
    pub(super) run: String,
    pub(super) name: String,
    pub(super) state: String,
    pub(super) tries: u64,
}

pub(super) struct Attempt {
    pub(super) run: String,
    pub(super) action: String,
    pub(super) state: String,
    pub(super) has_ended: bool,
}

/// Everything that the checks look at.
pub(super) struct OnRecord {
    /// By the key that claims name.
    pub(super) artifacts: BTreeMap<String, Artifact>,
    /// The artifact of each claim.
    pub(super) claims: Vec<String>,
    pub(super) runs: Vec<Run>,
    pub(super) actions: Vec<Action>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) intents: usize,
    pub(super) events: Vec<u64>,
}

impl OnRecord {
    /// Reads the records of a pipeline without a host.
    pub(super) fn of(app: &TestApp) -> Self {
        match Records::of(app) {
            Records::Redis(keys) => Self::in_redis(&keys),
            database => Self::in_database(&database),
        }
    }

    fn in_database(database: &Records) -> Self {
        let hex = |column: &str| match database {
            Records::Postgres(_) if column == "digest" => "encode(digest, 'hex')".to_owned(),
            Records::Postgres(_) => format!("replace({column}::text, '-', '')"),
            _ => format!("lower(hex({column}))"),
        };
        let (id, digest, claimed) = (hex("id"), hex("digest"), hex("artifact_id"));
        let rows = |sql: &str| database.rows(sql).into_iter();
        let artifact = |row: [String; 6]| {
            let [key, resource, path, version, state, digest] = row;
            (key, Artifact { resource, path, version, state, digest })
        };
        let run = |[id, number, state]: [String; 3]| Run { id, number, state };
        let action =
            |[run, name, state, tries]: [String; 4]| Action { run, name, state, tries: tries.parse().unwrap() };
        let attempt =
            |[run, action, state, ended]: [String; 4]| Attempt { run, action, state, has_ended: !ended.is_empty() };
        let artifacts = format!("SELECT {id}, resource, path, version, state, {digest} FROM artifacts");
        Self {
            artifacts: database.rows(&artifacts).into_iter().map(artifact).collect(),
            claims: database.rows(&format!("SELECT {claimed} FROM claims")).into_iter().map(|[id]| id).collect(),
            runs: database.rows(&format!("SELECT {id}, number, state FROM runs")).into_iter().map(run).collect(),
            actions: database.rows("SELECT run, name, state, tries FROM run_actions").into_iter().map(action).collect(),
            attempts: database
                .rows("SELECT run, action, state, ended_at FROM attempts")
                .into_iter()
                .map(attempt)
                .collect(),
            intents: database.rows::<1>("SELECT attempt FROM intents").len(),
            events: rows("SELECT seq FROM events ORDER BY seq")
                .map(|[seq]: [String; 1]| seq.parse().unwrap())
                .collect(),
        }
    }

    fn in_redis(keys: &Keys) -> Self {
        let artifact = |seq: String| {
            let mut fields = keys.hash(&format!("artifact:{seq}"));
            let mut field = |name: &str| fields.remove(name).unwrap_or_default();
            let (resource, path, digest) = (field("resource"), field("path"), field("digest").replace("sha256:", ""));
            (seq, Artifact { resource, path, version: field("version"), state: field("state"), digest })
        };
        let run = |number: &String| {
            let fields = keys.hash(&format!("run:{number}"));
            Run { id: fields["id"].replace('-', ""), number: number.clone(), state: fields["state"].clone() }
        };
        let action = |run: &str, (name, document): (String, String)| {
            let action: Value = serde_json::from_str(&document).unwrap();
            let text = |field: &str| action[field].as_str().unwrap().to_owned();
            Action { run: run.to_owned(), name, state: text("state"), tries: text("tries").parse().unwrap() }
        };
        let attempt = |run: &str, seq: String| {
            let fields = keys.hash(&format!("attempt:{seq}"));
            let (action, state) = (fields["action"].clone(), fields["state"].clone());
            Attempt { run: run.to_owned(), action, state, has_ended: fields.contains_key("ended") }
        };
        let numbers = keys.members("runs");
        let of_runs = |what: &'static str| {
            numbers
                .iter()
                .flat_map(move |run| keys.members(&format!("run:{run}:{what}")).into_iter().map(move |it| (run, it)))
        };
        Self {
            artifacts: keys.members("artifacts").into_iter().map(artifact).collect(),
            claims: of_runs("inputs").map(|(_, seq)| seq).collect(),
            runs: numbers.iter().map(run).collect(),
            actions: numbers
                .iter()
                .flat_map(|run| keys.hash(&format!("run:{run}:actions")).into_iter().map(move |it| action(run, it)))
                .collect(),
            attempts: of_runs("attempts").map(|(run, seq)| attempt(run, seq)).collect(),
            intents: keys.members("intents").len(),
            events: keys.events(),
        }
    }
}
