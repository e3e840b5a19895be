//! What a running agent does for the command line, over its control socket.

use std::sync::Arc;

use axum::{Json, Router, extract::State, routing::get};

use crate::{
    status::{Status, View},
    writer::Requests,
};

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) view: Arc<View>,
    pub(crate) requests: Requests,
}

/// All routes.
pub fn router(view: Arc<View>, requests: Requests) -> Router {
    Router::new()
        .route("/status", get(status))
        .with_state(Shared { view, requests })
}

async fn status(State(shared): State<Shared>) -> Json<Status> {
    Json(shared.view.status())
}
