//! `help COMMAND` says what `COMMAND --help` says.

use super::{bare, finish};

/// The commands that `--help` lists, without `help` itself.
fn commands() -> Vec<String> {
    let help = finish(bare().arg("--help")).expect(0).text();
    let listed = help.split("Commands:\n").nth(1).expect("a list of commands");
    let listed = listed.split("\n\n").next().expect("its end");

    let names = listed.lines().filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn help_explains_every_command() {
    let commands = commands();
    assert!(
        commands.len() >= 16 && commands.contains(&"doctor".to_owned()),
        "{commands:?}"
    );

    for command in &commands {
        let by_word = finish(bare().args(["help", command])).expect(0);
        let by_option = finish(bare().args([command, "--help"])).expect(0);
        assert_eq!(by_word.text(), by_option.text(), "{command}");
        assert!(by_word.text().contains(&format!("Usage: vastost-s3 {command}")));
    }
    let merge = finish(bare().args(["help", "verify", "merge"])).expect(0).text();
    assert!(merge.contains("Usage: vastost-s3 verify merge"), "{merge}");
}

#[test]
fn help_of_an_unknown_command_ends_with_2() {
    let refused = finish(bare().args(["help", "nonsense"])).expect(2);
    assert!(refused.stderr.contains("'nonsense'"), "{}", refused.stderr);
}
