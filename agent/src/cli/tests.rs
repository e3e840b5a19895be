#![allow(clippy::unwrap_used)]

use clap::CommandFactory as _;

use super::*;

#[test]
fn the_command_line_is_consistent_and_documents_its_exit_codes() {
    let mut command = Cli::command();
    command.clone().debug_assert();
    let help = command.render_help().to_string();
    assert!(help.contains("Exit codes:\n  0  well"), "{help}");
}

#[test]
fn what_is_left_out_is_not_known_and_the_version_tells() {
    let command = Cli::command();
    let version = command.render_long_version();
    for feature in features::ALL {
        assert_eq!(version.contains(feature.name), feature.is_in, "{version}");
    }
    assert_eq!(
        command.find_subcommand("demo").is_some(),
        features::DEMO.is_in
    );
    for name in ["models", "cohort", "evaluate", "backtest"] {
        assert_eq!(
            command.find_subcommand(name).is_some(),
            features::LEARNING.is_in
        );
    }
    assert!(command.find_subcommand("simulate").is_some());
}
