//! `approval` of an action.

use super::super::approval::ApprovalSpec;
use super::super::keys;
use super::super::problem::Problem;
use super::super::tree::{Reader, Table};
use super::inner;
use crate::base::bounds::MAX_DECIDER_CHARS;

pub(super) fn read(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<ApprovalSpec> {
    let table = inner(reader, table, "approval", &keys::APPROVAL, "{ who = \"data team\" }")?;
    let who = reader.required_string(&table, "who", "\"data team\"");
    let timeout = reader.duration(&table, "timeout").map(|timeout| timeout.value);
    let who = who?;
    let text = who.value.trim();
    let wrong = match text.chars().count() {
        0 => "`who` is empty".to_owned(),
        1..=MAX_DECIDER_CHARS => return Some(ApprovalSpec { who: text.to_owned(), timeout }),
        _ => format!("`who` is longer than {MAX_DECIDER_CHARS} characters"),
    };
    let help = "say who should decide, such as \"data team\"";
    reader.complain(Problem::new(wrong).at(&who.span, "here").help(help));
    None
}
