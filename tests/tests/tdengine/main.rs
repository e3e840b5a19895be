//! The `TDengine` upstream, beyond what holds for all (`conformance`): every scenario against the double, those
//! without faults once more against a real server where `DUNLIN_TDENGINE_URL` names one (`tdengine://user:password@host:6041/any`).

#![allow(clippy::unwrap_used)]

/// Runs a scenario on the double and, as a test of its own, on a real server.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod double {
            $(#[tokio::test]
            async fn $name() {
                let target = crate::support::Target::double().await;
                super::$name(&target).await;
                target.clean().await;
            })*
        }
        mod real {
            $(#[tokio::test]
            async fn $name() {
                if let Some(target) = crate::support::Target::real().await {
                    super::$name(&target).await;
                    target.clean().await;
                }
            })*
        }
    };
}

mod conformance;
mod faults;
mod scenarios;
mod support;
mod tables;
mod tls;
