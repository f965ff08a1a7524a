//! How the command line is read, and how wrong usage is told: one line, exit code 2.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};

use crate::cli::Cli;
use crate::output::say;

/// Exit code of wrong usage.
pub(crate) const WRONG_USAGE: u8 = 2;

/// What was typed cannot be meant, whatever the network is like.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Reads the command line; help, version and wrong usage are answered here.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    let matches = command().try_get_matches();
    matches.and_then(|matches| Cli::from_arg_matches(&matches)).map_err(|error| answer(&error))
}

/// Everything that can be typed.
pub(crate) fn command() -> Command {
    compact(Cli::command())
}

/// Help in its short form everywhere, so that it fits a screen.
fn compact(command: Command) -> Command {
    let help = Arg::new("help").short('h').long("help").action(ArgAction::HelpShort).help("Print this help");
    command
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .arg_required_else_help(false)
        .arg(help.display_order(usize::MAX))
        .mut_subcommands(compact)
}

fn answer(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody is there to be told that nobody reads.
            let _ = error.print();
            if !error.render().to_string().ends_with('\n') {
                let _ = say(&"");
            }
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("ripstop: {}", one_line(&error.render().to_string()));
            ExitCode::from(WRONG_USAGE)
        }
    }
}

/// What clap spreads over several lines, and where to read more.
fn one_line(text: &str) -> String {
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let (usage, said): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("Usage:"));
    let said = said.join(" ");
    let said = without_hidden(said.strip_prefix("error: ").unwrap_or(&said));
    let is_name = |word: &&str| word.starts_with(|first: char| first.is_ascii_lowercase());
    let usage = usage.first().and_then(|line| line.strip_prefix("Usage:")).unwrap_or_default();
    let words: Vec<&str> = usage.split_whitespace().take_while(is_name).collect();
    let help = if words.is_empty() { "ripstop".to_owned() } else { words.join(" ") };
    format!("{said}; see `{help} --help`")
}

/// The names of commands that only this program itself uses are of no help.
fn without_hidden(said: &str) -> String {
    let mut said = said.to_owned();
    let root = command();
    for command in std::iter::once(&root).chain(root.get_subcommands()) {
        for hidden in command.get_subcommands().filter(|child| child.is_hide_set()) {
            said = said.replace(&format!(", {}", hidden.get_name()), "");
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal of a common size; the longest help is that of `network up`.
    const LINES_MAX: usize = 40;
    const COLUMNS_MAX: usize = 100;

    fn every_command(command: &Command, path: &str, visit: &mut impl FnMut(&str, &Command)) {
        visit(path, command);
        for child in command.get_subcommands() {
            every_command(child, &format!("{path} {}", child.get_name()), visit);
        }
    }

    #[test]
    fn every_help_fits_a_screen_and_shows_an_example() {
        let mut count = 0;
        let mut root = command();
        root.build();
        every_command(&root, "ripstop", &mut |path, command| {
            if command.is_hide_set() {
                return;
            }
            let help = command.clone().render_help().to_string();
            assert!(help.lines().count() <= LINES_MAX, "{path}: {} lines\n{help}", help.lines().count());
            let widest = help.lines().max_by_key(|line| line.chars().count()).unwrap();
            assert!(widest.chars().count() <= COLUMNS_MAX, "{path}: {widest}");
            let example = help.split_once("Example").unwrap_or_else(|| panic!("{path} shows no example\n{help}")).1;
            assert!(example.contains(path), "{path} shows another command's example\n{help}");
            count += 1;
        });
        assert!(count > 20, "{count}");
    }

    #[test]
    fn wrong_usage_is_one_line_that_names_the_command_s_help() {
        for (typed, told) in [
            ("ripstop", "requires a subcommand"),
            ("ripstop network", "requires a subcommand"),
            ("ripstop network sideways", "unrecognized subcommand 'sideways'"),
            ("ripstop network up --orgs 0", "invalid value '0'"),
            ("ripstop network up --orgz 2", "unexpected argument '--orgz'"),
            ("ripstop submit", "<CHAINCODE> <FUNCTION>"),
            ("ripstop block", "<N>"),
            ("ripstop block twelve", "write a number, or newest"),
            ("ripstop tx", "<TX_ID>"),
            ("ripstop --as Eve network status", "write USER@ORG"),
            ("ripstop --channel ../x network up", "lower-case"),
        ] {
            let error = command().try_get_matches_from(typed.split(' ')).unwrap_err();
            assert!(!matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion), "{typed}");
            let line = one_line(&error.render().to_string());
            assert!(!line.contains("supervise") && !line.contains("sample"), "{line}");
            assert!(line.contains(told) && !line.contains('\n') && line.ends_with("--help`"), "{typed}: {line}");
        }
    }
}
