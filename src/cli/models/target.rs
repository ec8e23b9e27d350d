//! Which model is meant, and who changes it.

use crate::base::bounds::MAX_PAGE;
use crate::cli::Failure;
use crate::cli::records::Records;
use crate::cli::show::plain;
use crate::manifest::nearest;
use crate::model::ModelDetail;
use crate::store::PageRequest;

/// Who makes a change, and why.
#[derive(Debug, clap::Args)]
pub(super) struct By {
    /// Who does it [default: the user's name, from USER]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Why, or what is to be known about it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

impl By {
    /// Returns who and why. Texts without content count as absent.
    pub(super) fn texts(&self) -> (Option<String>, Option<String>) {
        let text = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        (text(self.by.clone().or_else(|| std::env::var("USER").ok())), text(self.note.clone()))
    }
}

/// Returns the model of this name.
pub(super) fn find(records: &Records, name: &str) -> Result<ModelDetail, Failure> {
    if let Some(model) = records.ask(records.store.model(name))? {
        return Ok(model);
    }
    let known = records.ask(records.store.models(PageRequest { cursor: None, limit: MAX_PAGE }))?.items;
    let near = nearest(name, known.iter().map(|model| model.name.as_str()));
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`anacostia models list` shows those on record".to_owned(),
    };
    Err(Failure::usage(format!("there is no model `{}`; {hint}", plain(name))))
}
