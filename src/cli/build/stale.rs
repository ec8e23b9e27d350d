//! Tells whether a component is older than its sources.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context as _;

use crate::cli::sources::{Products, walk};
use crate::cli::{Failure, out, show};
use crate::manifest::{Build, ComponentUse, Pipeline};

/// Why a component has to be built; `None` if it is up to date.
pub(crate) fn reason(used: &ComponentUse<'_>, build: &Build, products: &Products) -> Result<Option<String>, Failure> {
    let Ok(component) = fs::metadata(used.file) else {
        return Ok(Some("its component is not there".to_owned()));
    };
    if build.watch.is_empty() {
        return Ok(Some("`build.watch` names no sources to compare with".to_owned()));
    }
    let built_at = component.modified()?;
    for source in &build.watch {
        let context = || format!("failed to read {}, which `build.watch` of {} names", source.display(), used.title());
        if let Some(newer) = newer_than(source, built_at, products).with_context(context)? {
            return Ok(Some(format!("{newer} has changed")));
        }
    }
    Ok(None)
}

/// The name of a file at or below `path` that is newer than `than`. A folder's own time counts too,
/// because it changes when a file is removed.
fn newer_than(path: &Path, than: SystemTime, products: &Products) -> std::io::Result<Option<String>> {
    let mut newer = None;
    walk(path, products, &mut |_| {}, &mut |found| {
        if !found.has_products && found.about.modified()? > than {
            let name = found.path.file_name().unwrap_or(found.path.as_os_str());
            newer = Some(name.to_string_lossy().into_owned());
        }
        Ok(newer.is_none())
    })?;
    Ok(newer)
}

/// Reports components that are older than their sources. This is only a hint, because it may be
/// intended; sources that cannot be read are not reported, because running does not need them.
pub(crate) fn warn(pipeline: &Pipeline, build_with: &str) {
    let products = Products::of(pipeline);
    for used in pipeline.components() {
        let Some(build) = used.build.filter(|build| !build.watch.is_empty()) else { continue };
        if let Ok(Some(why)) = reason(&used, build, &products) {
            let mark = show::Cell::new("warning:").style(show::styles::WARN);
            let line = format!("the component of {} is older than its sources ({why}); {build_with}", used.name);
            out::error(&format!("{mark} {}\n", show::plain(&line)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use super::{Products, newer_than};

    #[test]
    fn build_products_are_not_sources() {
        let folder = tempfile::tempdir().unwrap();
        let products = Products::default();
        let then = SystemTime::now() - Duration::from_secs(50);
        fs::create_dir(folder.path().join("target")).unwrap();
        fs::write(folder.path().join("target/x"), "").unwrap();
        assert_eq!(newer_than(folder.path(), then, &products).unwrap(), None);
        fs::write(folder.path().join("lib.rs"), "").unwrap();
        assert_eq!(newer_than(folder.path(), then, &products).unwrap().unwrap(), "lib.rs");
        File::open(folder.path().join("lib.rs")).unwrap().set_modified(then - Duration::from_secs(9)).unwrap();
        assert_eq!(newer_than(folder.path(), then, &products).unwrap(), None);
        fs::remove_dir_all(folder.path().join("target")).unwrap();
        assert!(
            newer_than(folder.path(), then, &products).unwrap().is_some(),
            "a removed file makes the component stale"
        );
        assert!(newer_than(&folder.path().join("absent"), then, &products).is_err());
    }
}
