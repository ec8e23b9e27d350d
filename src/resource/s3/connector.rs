//! Names the proxy of the environment in errors of connecting, which it may be that is away.
//!
//! `object_store` removes the URL from such an error before this kind sees it, so the name is added
//! where the request is sent.

use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

use crate::base::{innermost, proxy};

/// Creates the HTTP clients of `object_store`.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Client(ReqwestConnector::default().connect(options)?)))
    }
}

#[derive(Debug)]
struct Client(HttpClient);

#[async_trait::async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = request.uri().clone();
        self.0.execute(request).await.map_err(|error| match error.kind() {
            HttpErrorKind::Connect => {
                HttpError::new(HttpErrorKind::Connect, Unconnected::new(&error, &url.to_string()))
            }
            _ => error,
        })
    }
}

/// Why a request could not be connected.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unconnected(String);

impl Unconnected {
    /// Describes the error of a request to `url`, which is not in it: URLs have signatures in them.
    pub(super) fn new(error: &(dyn std::error::Error + 'static), url: &str) -> Self {
        Self(format!("{}{}", innermost(error), proxy::on_the_way_to(url)))
    }
}
