//! The name of an image where a command is expected, as docker(1) has it: nothing is pulled here, and that is worth a sentence.

use crate::init::{Failure, NOT_FOUND, OWN};

/// A program that is not there; `said` says where it was looked for.
pub(crate) fn not_found(program: &str, said: String) -> Failure {
    match image(program) {
        None => Failure::of(NOT_FOUND, said),
        Some(certain) => {
            let hint = "if it is an image: bench pulls none; it takes a command of its tools tree, or of the unpacked files that \
                        --rootfs DIR names";
            Failure::of(if certain { OWN } else { NOT_FOUND }, format!("{said}; {hint}"))
        }
    }
}

/// Absent for what is no name of an image (registry/repository:tag@digest); true for what can be nothing else.
fn image(word: &str) -> Option<bool> {
    let (name, digest) = word.split_once('@').map_or((word, None), |(name, digest)| (name, Some(digest)));
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    };
    let is_part = |part: &str| {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        part.bytes().all(known) && part.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    let (registry, repository) = match path.split_once('/') {
        Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => (Some(first), rest),
        _ => (None, path),
    };
    let is_registry = |host: &str| {
        host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte)) && !host.starts_with('.')
    };
    let is_tag =
        |tag: &str| !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let is_image = repository.split('/').all(is_part)
        && registry.is_none_or(is_registry)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(|digest| digest.contains(':'));
    is_image.then_some(registry.is_some() || tag.is_some() || digest.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_names() {
        for word in [
            "busybox:latest",
            "docker.io/library/busybox",
            "docker.io/library/busybox:latest",
            "localhost:5000/a/b",
            "ghcr.io/o/r@sha256:0123",
            "debian:13-slim",
            "a@sha256:0",
            "quay.io/x/Y:z",
        ] {
            assert_eq!(image(word), if word.contains('Y') { None } else { Some(true) }, "{word}");
        }
        for word in ["ubuntu", "library/busybox", "my-app_1"] {
            assert_eq!(image(word), Some(false), "{word}");
        }
        for word in ["/bin/sh", "./run", "../x", "-c", "", "a:", "A", "echo hello", "x=1", "bin//sh"] {
            assert_eq!(image(word), None, "{word}");
        }
    }
}
