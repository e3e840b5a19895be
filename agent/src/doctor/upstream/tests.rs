use dunlin_sync::upstream::DatabaseDescription;

use super::*;
use crate::doctor::Level;

fn levels(product: &str, database: Option<DatabaseDescription>) -> Vec<(Level, String)> {
    let mut found = Findings::default();
    let product = product.to_owned();
    describe("there", &Description { product, database }, &mut found);
    found.0.into_iter().map(|f| (f.level, f.what)).collect()
}

#[test]
fn a_database_that_cannot_hold_nanoseconds_is_a_problem() {
    let coarse = DatabaseDescription {
        coarse_precision: Some("ms".into()),
        keep: None,
    };
    let found = levels("TDengine 3.3.6.0", Some(coarse));
    assert!(matches!(&found[..], [(Level::Problem, what)] if what.contains("ms")));
}

#[test]
fn what_is_kept_and_what_is_old_is_said() {
    let database = DatabaseDescription {
        coarse_precision: None,
        keep: Some("3650d".into()),
    };
    let found = levels("TDengine 3.3.6.0", Some(database.clone()));
    assert!(matches!(&found[..], [(Level::Ok, what)] if what.contains("3650d")));
    let found = levels("TDengine 3.0.7.1", Some(database));
    assert_eq!(found.last().map(|found| found.0), Some(Level::Warning));
    assert_eq!(levels("SQLite 3.50.2", None)[0].0, Level::Ok);
}
