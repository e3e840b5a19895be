//! Writes man pages and shell completions, as packages install them, from the command line itself:
//!
//! ```sh
//! cargo run -p dunlin-agent --example generate_docs -- DIR
//! ```
//!
//! ```text
//! DIR/man/dunlin.1, dunlin-run.1, ...     -> /usr/share/man/man1/
//! DIR/completions/dunlin.bash             -> /usr/share/bash-completion/completions/dunlin
//! DIR/completions/_dunlin                 -> /usr/share/zsh/vendor-completions/
//! DIR/completions/dunlin.fish             -> /usr/share/fish/vendor_completions.d/
//! ```
//!
//! They tell of what this build has compiled in: build it with the features of the binary.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::CommandFactory as _;
use clap_complete::{Shell, generate_to};
use dunlin_agent::cli::Cli;

const NAME: &str = "dunlin";

fn main() -> ExitCode {
    let Some(dir) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("generate_docs: name the directory to write to");
        return ExitCode::from(2);
    };
    match generate(&dir) {
        Ok(files) => {
            println!("{files} files in {}", dir.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("generate_docs: {}: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

/// Writes everything below `dir`; how many files that is.
fn generate(dir: &Path) -> io::Result<usize> {
    let (man, completions) = (dir.join("man"), dir.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(Cli::command(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Cli::command(), NAME, &completions)?;
    }
    Ok(fs::read_dir(man)?.count() + fs::read_dir(completions)?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_every_shell_its_completions() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        generate(dir.path())?;
        let page = fs::read_to_string(dir.path().join("man/dunlin.1"))?;
        assert!(page.contains("Exit codes"), "{page}");
        for command in Cli::command().get_subcommands() {
            let name = format!("man/{NAME}-{}.1", command.get_name());
            assert!(dir.path().join(&name).is_file(), "{name}");
        }
        for name in ["dunlin.bash", "_dunlin", "dunlin.fish"] {
            let text = fs::read_to_string(dir.path().join("completions").join(name))?;
            assert!(text.contains("doctor"), "{name}");
        }
        Ok(())
    }
}
