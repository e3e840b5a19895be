//! What the running agent answers on its control socket.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use dunlin_sync::files::frame;

use crate::{
    admin::{
        operations::{self, Ask, Parts},
        protocol::{ASK_BYTES_MAX, TARGET, wire},
    },
    observe::status::{Status, View},
    record::writer::Requests,
};

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    view: Arc<View>,
    requests: Requests,
}

/// All routes of the control socket.
pub fn router(view: Arc<View>, requests: Requests) -> Router {
    Router::new()
        .route("/status", get(status))
        .route(TARGET, post(operation))
        .layer(DefaultBodyLimit::max(ASK_BYTES_MAX))
        .with_state(Shared { view, requests })
}

async fn status(State(shared): State<Shared>) -> Json<Status> {
    Json(shared.view.status())
}

async fn operation(State(shared): State<Shared>, body: Bytes) -> Response {
    match frame::from_bytes::<Ask>(&body) {
        Ok(ask) => {
            // By the rules that hold now.
            let parts = Parts::of_agent(&shared.view, shared.requests);
            Body::into_response(wire::answer(move |listener| {
                operations::perform(&parts, ask, listener)
            }))
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
