//! Documents.

use tokio::task::JoinSet;

use super::CentreTarget;
use crate::{
    centre::{Document, Published},
    conformance::report::{Finding, Outcome, same},
};

/// Publishers at once.
const PUBLISHERS: u8 = 8;

fn document(serial: u64, text: &str) -> Document {
    Document {
        serial,
        bytes: text.into(),
    }
}

pub(super) async fn serials_only_rise(target: &dyn CentreTarget) -> Outcome {
    let centre = target.connect()?;
    let stale = Published::Stale { newest: 3 };
    for (serial, text, expected) in [
        (3, "a", Published::Accepted),
        // Asked again after a lost answer.
        (3, "a", Published::Accepted),
        (3, "b", stale),
        (2, "b", stale),
        (9, "c", Published::Accepted),
    ] {
        let published = centre
            .publish("press/health", &document(serial, text))
            .await?;
        same(
            format!("publishing {serial}, {text}"),
            &expected,
            &published,
        )?;
    }
    let elsewhere = target.connect()?;
    for (after, expected) in [
        (0, Some(document(3, "a"))),
        (3, Some(document(9, "c"))),
        (9, None),
        (u64::MAX, None),
    ] {
        let next = elsewhere.follow("press/health", after).await?;
        same(format!("what follows {after}"), &expected, &next)?;
    }
    let newest = elsewhere.newest("press/health").await?;
    same("the newest", &Some(document(9, "c")), &newest)?;
    let none = elsewhere.newest("press").await?;
    same("the newest of another channel", &None, &none)
}

pub(super) async fn of_several_with_one_serial_one_is_published(
    target: &dyn CentreTarget,
) -> Outcome {
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let centre = target.connect()?;
        publishers.spawn(async move {
            let document = document(1, &publisher.to_string());
            let published = centre.publish("c", &document).await?;
            Ok::<_, Finding>((published == Published::Accepted).then_some(document))
        });
    }
    let mut accepted = Vec::new();
    while let Some(publisher) = publishers.join_next().await {
        let publisher = publisher.map_err(|error| error.to_string())?;
        accepted.extend(publisher?);
    }
    let there = target.connect()?.newest("c").await?;
    let there: Vec<_> = there.into_iter().collect();
    same("what was accepted, and what is there", &there, &accepted)
}
