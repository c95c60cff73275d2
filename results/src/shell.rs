//! Commands as they can be pasted into a POSIX shell.

/// One word, quoted where it has to be, so that it is no command to a CI system either: `::x` is quoted and `##[x]` is written as
/// `'#''#[x]'`, which a shell puts together again.
pub fn word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) && !word.starts_with("::") {
        return word.to_owned();
    }
    let mut quoted = String::from("'");
    for c in word.chars() {
        match c {
            '\'' => quoted.push_str("'\\''"),
            '#' if quoted.ends_with('#') => quoted.push_str("''#"),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// The words of a command as one line.
pub fn line<T: AsRef<str>>(words: &[T]) -> String {
    words.iter().map(|argument| word(argument.as_ref())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_survives_a_shell() {
        let words = ["bench", "run", "--env", "a=b:c", "--", "sh", "-c", "echo 'x' $HOME", "", "::x", "##[x]###"];
        let expected = "bench run --env a=b:c -- sh -c 'echo '\\''x'\\'' $HOME' '' '::x' '#''#[x]#''#''#'";
        assert_eq!(line(&words), expected);
        let told =
            std::process::Command::new("sh").args(["-c", &format!("printf '%s\\n' {}", line(&words[1..]))]).output();
        assert_eq!(String::from_utf8(told.unwrap().stdout).unwrap(), words[1..].join("\n") + "\n");
    }
}
