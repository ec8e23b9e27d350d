//! `cache` of an action.

use toml::de::DeValue;

use super::super::action::CacheSpec;
use super::super::keys;
use super::super::problem::{Problem, listed, quoted};
use super::super::settings;
use super::super::tree::{Reader, Table};
use super::{inner, refuse_twice};

pub(super) fn read(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<CacheSpec> {
    let value = table.get("cache")?;
    match value.get_ref() {
        DeValue::Boolean(true) => return Some(CacheSpec::default()),
        DeValue::Boolean(false) => return None,
        DeValue::Table(_) => {}
        _ => {
            let problem = Problem::new("`cache` must be a table, true or false").at(&value.span(), "neither");
            reader.complain(problem.help("write `cache = true`"));
            return None;
        }
    }
    let table = inner(reader, table, "cache", &keys::CACHE, "true")?;
    let words = reader.strings(&table, "ignore", "[\"clock\"]");
    refuse_twice(reader, "ignore", &words);
    let mut ignore = Vec::new();
    for word in words {
        if let Some((_, influence)) = settings::CACHE_IGNORE.iter().find(|(known, _)| *known == word.value) {
            ignore.push(*influence);
            continue;
        }
        let names = || settings::CACHE_IGNORE.iter().map(|(known, _)| *known);
        let help = match keys::nearest(&word.value, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it can be {}", listed(names(), "or")),
        };
        let problem = Problem::new(format!("{} in `ignore` is not known", quoted(&word.value)));
        reader.complain(problem.at(&word.span, "not known").help(help));
    }
    Some(CacheSpec { ignore })
}
