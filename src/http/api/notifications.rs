//! `/api/v1/notifications`: notifications, and the results of their deliveries.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;

use super::List;
use crate::http::App;
use crate::http::problem::Result;
use crate::http::query::Query;
use crate::model::Notification;
use crate::store::NotificationQuery;

/// `GET /api/v1/notifications`
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Result<Json<List<Notification>>> {
    let query = Query::parse(&uri, &["name", "limit", "cursor"])?;
    let filter = NotificationQuery { name: query.owned("name") };
    Ok(Json(app.view.store.notifications(filter, query.page()?).await?.into()))
}
