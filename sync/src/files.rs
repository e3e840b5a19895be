//! Small files: checked bytes, replaced whole or not at all, in nobody else's hands.

pub mod frame;
pub mod secret_file;
pub mod state_file;
pub mod state_log;
pub mod umask;
