#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::schema::find;

#[test]
fn flags_are_sound_and_passwords_have_none() {
    let command = flags(Command::new("run"));
    command.clone().debug_assert();
    let names: Vec<_> = command.get_arguments().filter_map(Arg::get_long).collect();
    assert!(names.contains(&"mqtt-url") && names.contains(&"topic"));
    assert!(!names.contains(&"mqtt-password"));
    assert!(names.contains(&"mqtt-password-file"));
    let short = command.clone().render_help().to_string();
    for path in EVERYDAY {
        let flag = find(path).unwrap().flag();
        assert!(short.contains(&format!("--{flag} ")), "{short}");
    }
    assert!(!short.contains("--mqtt-keep-alive-s"), "{short}");
    let long = command.clone().render_long_help().to_string();
    for setting in SETTINGS
        .iter()
        .filter(|setting| !matches!(setting.kind, Kind::Secret))
    {
        assert!(long.contains(&setting.variable()), "{}", setting.path);
    }
}
