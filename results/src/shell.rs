//! Commands as they can be pasted into a POSIX shell.

/// One word, quoted where it has to be.
pub fn word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
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
        let words = ["bench", "run", "--env", "a=b:c", "--", "sh", "-c", "echo 'x' $HOME", ""];
        assert_eq!(line(&words), "bench run --env a=b:c -- sh -c 'echo '\\''x'\\'' $HOME' ''");
        let told =
            std::process::Command::new("sh").args(["-c", &format!("printf '%s\\n' {}", line(&words[1..]))]).output();
        assert_eq!(String::from_utf8(told.unwrap().stdout).unwrap(), words[1..].join("\n") + "\n");
    }
}
