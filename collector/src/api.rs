//! The HTTP JSON API, version 1: parse, call [`query`](crate::query), render.
//!
//! Every route needs a bearer token. Answers are JSON documents, or CSV for `Accept: text/csv` and
//! `?format=csv`; errors are RFC 9457 problems, and internal text goes to the log only. A key that a
//! question does not know is an error, so that a misspelt filter never answers for all.
//!
//! | route | |
//! |---|---|
//! | `GET status`, `sites`, `sites/{uai}`, `sites/{uai}/targets` | states, with coverage |
//! | `GET sites/{uai}/devices`, `sites/{uai}/topology` | its equipment, and how it hangs together |
//! | `GET series`, `series/{id}/samples`, `percentiles` | what was measured |
//! | `GET agents`, `incidents`, `contractors` | |
//! | `GET mesh`, `PUT` and `DELETE mesh/sites/{uai}` | measures between sites, and who takes part |
//! | `POST sites`, `sites/import`, `sites/{uai}/tokens`, `sites/{uai}/targets` | registration |
//! | `PUT contractors`, `POST agents/{id}/revoke`, `DELETE sites/{uai}/targets/{id}` | |
//! | `POST sites/{uai}/devices/{no}/confirm` | |

mod ask;
mod csv;
mod problem;
mod read;
mod tables;
mod target;
mod tokens;
mod write;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use domain::{
    id::{AgentId, SiteId},
    site::Site,
    target::{Target, TargetSpec},
};
use http::{HeaderValue, header};
use jiff::Timestamp;
use store::{MeshSite, Store, StoreError};
use tokio::sync::Semaphore;

use crate::{
    clock::Clock, import, live::Live, mesh::MeshError, query::Sources, targets::TargetError,
};
use problem::Problem;

pub use problem::PROBLEMS;
pub use tokens::{TOKEN_PREFIX, Tokens};

/// Largest body of a request, bytes.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// Longest that a request may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests worked on at once; more are told to come again.
pub const MAX_REQUESTS: usize = 64;

/// What the API is handed. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Everything that is kept.
    pub store: Arc<dyn Store>,
    /// Agents as they are now.
    pub live: Arc<Live>,
    /// Server time.
    pub clock: Arc<dyn Clock>,
    /// What operators can do.
    pub actions: Arc<dyn Actions>,
    /// Who may ask.
    pub tokens: Arc<Tokens>,
    /// `host:port` at which agents reach the collector.
    pub public_address: Arc<str>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("public_address", &self.public_address)
            .finish_non_exhaustive()
    }
}

impl Context {
    fn sources(&self) -> Sources<'_> {
        Sources { store: self.store.as_ref(), live: &self.live, now: self.clock.now() }
    }
}

/// What operators can do that takes more than the store: agents must hear of it.
#[async_trait]
pub trait Actions: Send + Sync {
    /// Makes a one-use enrolment token for a site and keeps its hash.
    async fn new_token(&self, site: &Site) -> Result<IssuedToken, StoreError>;
    /// Registers a target with the series of its method, and has the site's agents measure it.
    async fn add_target(&self, spec: TargetSpec) -> Result<Target, TargetError>;
    /// Withdraws a target, its history kept, and has the site's agents measure it no more.
    async fn remove_target(&self, target: &Target) -> Result<(), TargetError>;
    /// Withdraws an agent and closes its stream.
    async fn revoke_agent(&self, agent: AgentId) -> Result<(), StoreError>;
    /// Takes a site into the measures between sites, or changes how it takes part.
    async fn set_mesh_site(&self, site: MeshSite) -> Result<(), MeshError>;
    /// Takes a site out of them; false when it was not in.
    async fn remove_mesh_site(&self, site: SiteId) -> Result<bool, MeshError>;
    /// Facts of sites changed, on which it depends who measures whom.
    async fn sites_changed(&self) -> Result<(), MeshError>;
}

/// An enrolment token, to be shown once.
#[derive(Clone)]
pub struct IssuedToken {
    /// The text to hand to the agent.
    pub token: String,
    /// End of its life.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// The API under `/api/v1`.
pub fn router(context: Context) -> Router {
    let import = post(write::import).layer(DefaultBodyLimit::max(import::MAX_BYTES));
    let requests = Arc::new(Semaphore::new(MAX_REQUESTS));
    let v1 = Router::new()
        .route("/status", get(read::status))
        .route("/sites", get(read::sites).post(write::add_site))
        .route("/sites/import", import)
        .route("/sites/{uai}", get(read::site))
        .route("/sites/{uai}/tokens", post(write::new_token))
        .route("/sites/{uai}/devices", get(read::devices))
        .route("/sites/{uai}/devices/{no}/confirm", post(write::confirm_device))
        .route("/sites/{uai}/topology", get(read::topology))
        .route("/sites/{uai}/targets", get(read::targets).post(write::add_target))
        .route("/sites/{uai}/targets/{id}", delete(write::remove_target))
        .route("/mesh", get(read::mesh))
        .route("/mesh/sites/{uai}", put(write::set_mesh_site).delete(write::remove_mesh_site))
        .route("/series", get(read::series))
        .route("/series/{id}/samples", get(read::samples))
        .route("/percentiles", get(read::percentiles))
        .route("/agents", get(read::agents))
        .route("/agents/{id}/revoke", post(write::revoke_agent))
        .route("/incidents", get(read::incidents))
        .route("/contractors", get(read::contractors).put(write::set_contractor))
        .fallback(|| async { Problem::NoRoute })
        .method_not_allowed_fallback(|| async { Problem::Method })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(within_time))
        .layer(middleware::from_fn_with_state(context.tokens.clone(), authorised))
        .layer(middleware::from_fn_with_state(requests, bounded))
        .layer(middleware::map_response(guarded))
        .with_state(context);
    Router::new().nest("/api/v1", v1)
}

/// Refuses work beyond [`MAX_REQUESTS`].
async fn bounded(State(requests): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    match requests.try_acquire() {
        Ok(_permit) => next.run(request).await,
        Err(_) => Problem::Busy.into_response(),
    }
}

/// Refuses whoever has no token, alike for all reasons and all routes.
async fn authorised(State(tokens): State<Arc<Tokens>>, request: Request, next: Next) -> Response {
    if tokens.allow(request.headers().get(header::AUTHORIZATION)) {
        next.run(request).await
    } else {
        Problem::Unauthorised.into_response()
    }
}

async fn within_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::TimedOut.into_response(),
    }
}

/// What every answer says to browsers and caches.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
