//! Where a scenario runs.

use std::{collections::BTreeMap, time::Duration};

use dunlin_sync::{
    conformance::Cells,
    upstream::{Upstream, UpstreamOptions, connect},
};
use dunlin_tests::doubles::taos::{Cell, Row, TaosDouble};
use taos::{AsyncFetchable, AsyncQueryable, AsyncTBuilder, Taos, TaosBuilder};

/// A double, or a database of its own on a real server.
pub(crate) enum Target {
    Double(TaosDouble),
    Real {
        admin: Box<Taos>,
        url: String,
        database: String,
    },
}

impl Target {
    pub(crate) async fn double() -> Self {
        Self::Double(TaosDouble::start().await)
    }

    pub(crate) async fn real() -> Option<Self> {
        let Ok(url) = std::env::var("DUNLIN_TDENGINE_URL") else {
            println!("skipped: DUNLIN_TDENGINE_URL is not set");
            return None;
        };
        let base = url[..url.rfind('/').unwrap()].to_owned();
        let dsn = base.replacen("tdengine://", "ws://", 1);
        let admin = TaosBuilder::from_dsn(dsn).unwrap().build().await.unwrap();
        let database = format!("dunlin_t{:016x}", rand::random::<u64>());
        Some(Self::Real {
            admin: Box::new(admin),
            url: format!("{base}/{database}"),
            database,
        })
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Double(double) => double.url("plant"),
            Self::Real { url, .. } => url.clone(),
        }
    }

    pub(crate) fn database(&self) -> &str {
        match self {
            Self::Double(_) => "plant",
            Self::Real { database, .. } => database,
        }
    }

    pub(crate) fn upstream(&self) -> Box<dyn Upstream> {
        connect(&options(&self.url())).unwrap()
    }

    pub(crate) async fn execute(&self, sql: &str) {
        match self {
            Self::Double(double) => double.execute(sql).unwrap(),
            Self::Real { admin, .. } => {
                admin.exec(sql).await.unwrap();
            }
        }
    }

    /// Drops a supertable and its subtables, as an administrator might.
    pub(crate) async fn drop_tables(&self, stable: &str) {
        match self {
            Self::Double(double) => double.forget_tables(),
            Self::Real { database, .. } => {
                self.execute(&format!("DROP STABLE `{database}`.`{stable}`"))
                    .await;
            }
        }
    }

    pub(crate) async fn create_database(&self) {
        let sql = format!(
            "CREATE DATABASE IF NOT EXISTS `{}` PRECISION 'ns' VGROUPS 1",
            self.database()
        );
        self.execute(&sql).await;
    }

    /// Cells of all rows of `stable` as text, by time; columns and tags by name.
    pub(crate) async fn cells(&self, stable: &str, columns: &[&str]) -> Cells {
        match self {
            Self::Double(double) => {
                let text = |row: &Row, name: &str| match row.get(name) {
                    None | Some(Cell::Null) => None,
                    Some(cell) => Some(cell.to_string()),
                };
                let rows = double.rows("plant", stable);
                rows.iter()
                    .map(|row| columns.iter().map(|name| text(row, name)).collect())
                    .collect()
            }
            Self::Real {
                admin, database, ..
            } => {
                let sql = format!(
                    "SELECT `{}` FROM `{database}`.`{stable}` ORDER BY `ts`",
                    columns.join("`,`")
                );
                let records = admin.query(sql).await.unwrap().to_records().await.unwrap();
                let text = |value: taos::Value| match value {
                    taos::Value::VarChar(text) => Some(text),
                    taos::Value::Null(_) => None,
                    taos::Value::Bool(x) => Some(x.to_string()),
                    taos::Value::UTinyInt(x) => Some(x.to_string()),
                    taos::Value::BigInt(x) => Some(x.to_string()),
                    taos::Value::Double(x) => Some(x.to_string()),
                    taos::Value::Float(x) => Some(x.to_string()),
                    taos::Value::Timestamp(ts) => Some(ts.as_raw_i64().to_string()),
                    other => Some(format!("{other:?}")),
                };
                records
                    .into_iter()
                    .map(|record| record.into_iter().map(text).collect())
                    .collect()
            }
        }
    }

    /// The same with `NULL` where there is no value.
    pub(crate) async fn read(&self, stable: &str, columns: &[&str]) -> Vec<Vec<String>> {
        let rows = self.cells(stable, columns).await.into_iter();
        let text = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".into());
        rows.map(|row| row.into_iter().map(text).collect())
            .collect()
    }

    /// Names of the columns of `stable`, then of its tags; none if it is not there.
    pub(crate) async fn columns(&self, stable: &str) -> Vec<String> {
        match self {
            Self::Double(double) => double.columns("plant", stable),
            Self::Real {
                admin, database, ..
            } => {
                let sql = format!("DESCRIBE `{database}`.`{stable}`");
                let Ok(mut described) = admin.query(sql).await else {
                    return Vec::new();
                };
                let records = described.to_records().await.unwrap().into_iter();
                records
                    .map(|record| record[0].to_string().unwrap_or_default())
                    .collect()
            }
        }
    }

    pub(crate) async fn clean(self) {
        if let Self::Real {
            admin, database, ..
        } = self
        {
            let drop = format!("DROP DATABASE IF EXISTS `{database}`");
            admin.exec(drop).await.unwrap();
        }
    }
}

pub(crate) fn options(url: &str) -> UpstreamOptions {
    UpstreamOptions {
        database_options: BTreeMap::from([("VGROUPS".into(), "1".into())]),
        ..UpstreamOptions::new(url, Duration::from_secs(10))
    }
}
