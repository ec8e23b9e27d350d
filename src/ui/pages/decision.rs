//! `POST /approvals`: the form that decides about an approval.

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;

use super::{approvals, home};
use crate::base::RunId;
use crate::model::Verdict;
use crate::ui::Pages;
use crate::ui::form::{self, UNREADABLE, lead_to};
use crate::ui::page::refused_write;

/// The form. Each button sends its verdict; `timed_out`, which only the host decides, is refused.
#[derive(Debug, Deserialize)]
struct Form {
    run: RunId,
    action: String,
    verdict: Verdict,
    #[serde(default)]
    by: String,
    #[serde(default)]
    note: String,
    /// Which page the form is on.
    #[serde(default)]
    from: From,
}

/// A page that has the form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum From {
    #[default]
    Home,
    Approvals,
    Run,
}

/// `POST /approvals`: decides, and leads back to the page. If the decision is not recorded, the
/// page says why.
pub(in crate::ui) async fn decide(State(pages): State<Pages>, body: Body) -> Response {
    let Some(Form { run, action, verdict, by, note, from }) = read(body).await else {
        return home::render(&pages, StatusCode::BAD_REQUEST, Some(UNREADABLE.to_owned())).await;
    };
    let (status, why) = match pages.view.control.decide(run, &action, verdict, Some(&by), Some(&note)).await {
        Ok(Some(run)) => {
            let page = match from {
                From::Home => "/".to_owned(),
                From::Approvals => "/approvals".to_owned(),
                From::Run => format!("/runs/{}", run.number),
            };
            return lead_to(&page);
        }
        Ok(None) => (StatusCode::NOT_FOUND, format!("there is no run {run}")),
        Err(error) => (refused_write(&error), error.to_string()),
    };
    match from {
        From::Home => home::render(&pages, status, Some(why)).await,
        From::Approvals | From::Run => approvals::render(&pages, &Uri::default(), Some((status, why))).await,
    }
}

/// Reads the form.
async fn read(body: Body) -> Option<Form> {
    form::read::<Form>(body).await.filter(|form| form.verdict != Verdict::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(verdict: &str) -> Body {
        Body::from(format!("run={}&action=publish&verdict={verdict}", RunId::new()))
    }

    #[tokio::test]
    async fn a_form_has_the_verdict_of_a_person() {
        assert_eq!(read(form("approved")).await.unwrap().verdict, Verdict::Approved);
        assert_eq!(read(form("rejected")).await.unwrap().verdict, Verdict::Rejected);
        assert!(read(form("timed_out")).await.is_none());
    }
}
