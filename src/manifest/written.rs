//! What the manifest says, as it is written there.

use super::pipeline::{Pipeline, ResourceSpec};

impl Pipeline {
    /// Returns a string of the manifest, with `${…}` unexpanded, for display. `None` if there is no
    /// string at `keys`.
    #[must_use]
    pub fn written(&self, keys: &[&str]) -> Option<String> {
        let (last, tables) = keys.split_last()?;
        let table = tables.iter().try_fold(&*self.tables, |table, key| table.get(*key)?.as_table())?;
        table.get(*last)?.as_str().map(str::to_owned)
    }

    /// Returns the place of a resource as it is written, key by key, if it contains `${…}`: what a
    /// variable holds may be a secret.
    #[must_use]
    pub fn unexpanded_place(&self, resource: &ResourceSpec) -> Option<String> {
        let keys = resource.location_keys().iter();
        let written = |key: &&str| Some(resource.shown(self.written(&["resources", &resource.name, key])?));
        let written: Vec<String> = keys.filter_map(written).collect();
        written.iter().any(|text| text.contains('$')).then(|| written.join(" "))
    }
}
