//! What must hold for every upstream, on the double and on a real server.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use dunlin_sync::{
    conformance::{self, Cells},
    upstream::Upstream,
};

use crate::support::Target;

#[tokio::test]
async fn the_double_holds_what_every_upstream_must() {
    holds_what_every_upstream_must(Target::double().await).await;
}

#[tokio::test]
async fn a_real_server_holds_what_every_upstream_must() {
    if let Some(target) = Target::real().await {
        holds_what_every_upstream_must(target).await;
    }
}

async fn holds_what_every_upstream_must(target: Target) {
    let mut databases = Databases(target);
    let report = conformance::upstream(&mut databases).await;
    databases.0.clean().await;
    assert!(report.is_passed(), "{report}");
    assert_eq!(report.unseen, []);
}

/// The same database, dropped before each scenario: made anew it is empty.
struct Databases(Target);

/// Supertables of one schema: more than a record of 64 KiB needs.
const PARTS_MAX: usize = 4;

#[async_trait]
impl conformance::Target for Databases {
    async fn begin(&mut self) -> Result<(), String> {
        let drop = format!("DROP DATABASE IF EXISTS `{}`", self.0.database());
        self.0.execute(&drop).await;
        Ok(())
    }

    fn connect(&self) -> Result<Arc<dyn Upstream>, String> {
        Ok(Arc::from(self.0.upstream()))
    }

    async fn read(&self, schema: &str, columns: &[&str]) -> Result<Option<Cells>, String> {
        let mut rows: BTreeMap<(String, String), Vec<Option<String>>> = BTreeMap::new();
        for part in 0..PARTS_MAX {
            let stable = match part {
                0 => schema.to_owned(),
                part => format!("{schema}_{}", part + 1),
            };
            let there = self.0.columns(&stable).await;
            if there.is_empty() {
                break;
            }
            // A further supertable has a part of the records, under the same tags; only the first has splits.
            let wanted = columns.iter().enumerate();
            let wanted: Vec<(usize, &str)> = wanted
                .filter(|(_, name)| there.iter().any(|there| there == *name))
                .map(|(place, name)| (place, *name))
                .collect();
            let mut names = vec!["ts", "device", "machine"];
            names.extend(wanted.iter().map(|(_, name)| *name));
            for cells in self.0.cells(&stable, &names).await {
                let mut cells = cells.into_iter();
                let mut next = || cells.next().flatten().unwrap_or_default();
                let key = (next(), format!("{}/{}", next(), next()));
                let row = rows.entry(key).or_insert_with(|| vec![None; columns.len()]);
                for ((place, _), cell) in wanted.iter().zip(cells) {
                    if cell.is_some() {
                        row[*place] = cell;
                    }
                }
            }
        }
        Ok(Some(rows.into_values().collect()))
    }

    async fn drop_tables(&self, schema: &str) -> Result<bool, String> {
        self.0.drop_tables(schema).await;
        Ok(true)
    }
}
