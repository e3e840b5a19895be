//! Cohorts as a command asks for them, of a running agent and of the directory of a stopped one.

#![allow(clippy::unwrap_used, clippy::format_collect)]

use crate::{
    admin::operations::{
        ExportFormat,
        learning::{CohortView, ShownRow, ViewCohort},
        tests::Device,
    },
    cli::commands::{Exit, export::to_file},
    cohort::{CohortQuery, Condition},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_cohort_is_the_same_whether_the_agent_runs_or_not() {
    let mut device = Device::new(true).await;
    let lines: String = (0..50).map(|i| format!("{i},{}\n", i % 2 == 0)).collect();
    device
        .import("plant/m1", &format!("x,ok\n{lines}"))
        .await
        .unwrap();
    let query = CohortQuery {
        condition: Some(Condition::parse("x >= 10 and machine = \"m1\"").unwrap()),
        label: Some("ok".into()),
        classify: true,
        ..CohortQuery::of("plant/*")
    };
    let cohort = |view| ViewCohort {
        query: query.clone(),
        since_training: None,
        view,
    };
    let mut seen = Vec::new();
    for running in [true, false] {
        if !running {
            device.stop().await;
        }
        let counted = device.request(cohort(CohortView::Count)).await.unwrap();
        assert_eq!((counted.lineage.rows, counted.streams.len()), (40, 1));
        let shown = device.request(cohort(CohortView::Show(3))).await.unwrap();
        assert_eq!(shown.lineage, counted.lineage);
        let xs = |rows: &[ShownRow]| -> Vec<Option<f32>> {
            rows.iter().map(|row| row.values[0]).collect()
        };
        assert_eq!(xs(&shown.first), [Some(10.0), Some(11.0), Some(12.0)]);
        assert_eq!(xs(&shown.last), [Some(47.0), Some(48.0), Some(49.0)]);
        assert_eq!(shown.first[1].label.as_deref(), Some("false"));
        let few = device.request(cohort(CohortView::Show(30))).await.unwrap();
        assert_eq!((few.first.len(), few.last.len()), (30, 10));
        let path = device.dir.path().join("cohort.csv");
        let mut connection = device.connection().await;
        let export = cohort(CohortView::Export(ExportFormat::Csv));
        let found = to_file(&mut connection, export, &path).await.unwrap();
        connection.close().await.unwrap();
        assert_eq!(found.lineage, counted.lineage);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 41, "{text}");
        assert!(
            text.lines().next().unwrap().ends_with("tag.machine,x,ok"),
            "{text}"
        );
        assert!(
            text.lines().nth(1).unwrap().ends_with(",m1,10.0,true"),
            "{text}"
        );
        seen.push((counted, shown, text));
        let wrong = CohortQuery::of("nobody");
        let untrained = CohortQuery::of("plant/*");
        for (query, since, told) in [
            (wrong, None, "streams: plant/m1"),
            (
                untrained,
                Some("health"),
                "no model of recipe health serves",
            ),
        ] {
            let cohort = ViewCohort {
                query,
                since_training: since.map(String::from),
                view: CohortView::Count,
            };
            let Err(Exit::Usage(text)) = device.request(cohort).await else {
                panic!("not refused");
            };
            assert!(text.contains(told), "{text}");
        }
    }
    assert_eq!(seen[0], seen[1]);
}
