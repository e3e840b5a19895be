//! What the running agent answers on its control socket.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use dunlin_sync::{files::frame, sample::Schema};

use super::stream::stream;
use crate::{
    admin::{
        operations::{OperationParts, Request, handle},
        protocol::{REQUEST_BYTES_MAX, TARGET, wire::Wire},
    },
    observe::status::{Status, View},
    record::writer::Requests,
};

/// What the handlers share.
#[derive(Clone)]
struct RouteState {
    view: Arc<View>,
    requests: Requests,
}

/// All routes of the control socket.
pub fn router(view: Arc<View>, requests: Requests) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/schemas", get(schemas))
        .route(TARGET, post(operation))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(RouteState { view, requests })
}

async fn status(State(shared): State<RouteState>) -> Json<Status> {
    Json(shared.view.status())
}

async fn schemas(State(shared): State<RouteState>) -> Json<Vec<Schema>> {
    let catalog = shared.view.buffer.catalog();
    Json(catalog.schemas().iter().map(|s| Schema::clone(s)).collect())
}

async fn operation(State(shared): State<RouteState>, body: Bytes) -> Response {
    match frame::from_bytes::<Request>(&body) {
        Ok(request) => {
            // By the rules that hold now.
            let parts = OperationParts::of_agent(&shared.view, shared.requests);
            let answer = stream(move |out| {
                let mut wire = Wire::new(out);
                let end = handle(&parts, request, &mut wire);
                wire.end(end)
            });
            answer.into_response()
        }
        Err(error) => {
            let reason = format!(
                "the agent does not understand the command ({error}); use a command of version {}",
                env!("CARGO_PKG_VERSION")
            );
            (StatusCode::BAD_REQUEST, reason).into_response()
        }
    }
}
