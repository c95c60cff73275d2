//! The tools tree as an image of the engine.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use bollard::query_parameters::CreateImageOptions;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::engine::{Engine, EngineObject, LABEL};
use crate::conductor::instance::Setting;
use crate::ledger::Change;

/// The repository of our images in an engine.
const REPOSITORY: &str = "bench-tools";
/// Bytes that are sent at a time.
const CHUNK: usize = 64 << 10;

/// Import the tree; the image's name. The ledger removes it.
pub async fn import(engine: &Engine, setting: &Setting) -> Result<String> {
    let tag: String = setting.tree.digest.chars().filter(char::is_ascii_hexdigit).take(64).collect();
    let name = format!("{REPOSITORY}:{tag}");
    let run = setting.ledger.name();
    setting.ledger.record(Change::Engine {
        socket: engine.socket.clone(),
        object: EngineObject::Image,
        name: name.clone(),
        run: run.to_owned(),
        goes_along: engine.own.is_some(),
    })?;
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(REPOSITORY.to_owned()),
        tag: Some(tag),
        changes: vec![format!("LABEL {LABEL}={run}")],
        ..CreateImageOptions::default()
    };
    let doing = || format!("importing the tools tree into the Docker engine as {name}");
    let (reader, packing) = pack(setting.tree.path.clone()).with_context(doing)?;
    let body = bollard::body_try_stream(chunks(reader));
    let imported = engine.api.create_image(Some(options), Some(body), None).try_for_each(async |_| Ok(())).await;
    // Its reader is gone by now, so that it ends.
    let packed = packing.join().unwrap_or_else(|_| Err(anyhow!("packing it was broken off")));
    imported.map_err(anyhow::Error::from).and(packed).with_context(doing)?;
    Ok(name)
}

/// The tree as a tar stream, which a thread writes.
fn pack(tree: PathBuf) -> Result<(Receiver, std::thread::JoinHandle<Result<()>>)> {
    let (reader, writer) = std::io::pipe().context("making a pipe")?;
    let reader = Receiver::from_owned_fd(OwnedFd::from(reader)).context("reading from a pipe")?;
    let packing = std::thread::Builder::new().spawn(move || write_tar(&tree, writer)).context("starting a thread")?;
    Ok((reader, packing))
}

fn write_tar(tree: &Path, to: impl std::io::Write) -> Result<()> {
    let mut builder = tar::Builder::new(to);
    builder.follow_symlinks(false);
    builder
        .append_dir_all("", tree)
        .and_then(|()| builder.finish())
        .with_context(|| format!("packing {}", tree.display()))
}

/// What comes out of a pipe, until its end.
fn chunks<B: From<Vec<u8>> + Send + 'static>(
    reader: Receiver,
) -> impl stream::Stream<Item = std::io::Result<B>> + Send + 'static {
    let next = async |mut reader: Receiver| {
        let mut chunk = vec![0; CHUNK];
        let length = reader.read(&mut chunk).await?;
        chunk.truncate(length);
        Ok::<_, std::io::Error>((length > 0).then(|| (B::from(chunk), reader)))
    };
    stream::try_unfold(reader, next).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn the_stream_is_the_tree_with_its_links_and_modes() {
        use std::os::unix::fs::PermissionsExt;
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir(tree.path().join("usr")).unwrap();
        std::fs::write(tree.path().join("usr/tool"), vec![7; 3 * CHUNK]).unwrap();
        std::fs::set_permissions(tree.path().join("usr/tool"), PermissionsExt::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("usr", tree.path().join("bin")).unwrap();
        let (reader, packing) = pack(tree.path().to_path_buf()).unwrap();
        let bytes: Vec<Vec<u8>> = chunks(reader).try_collect().await.unwrap();
        packing.join().unwrap().unwrap();
        let bytes = bytes.concat();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut found: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let kind = entry.header().entry_type();
                (entry.path().unwrap().into_owned(), kind, entry.size(), entry.header().mode().unwrap() & 0o777)
            })
            .map(|(path, kind, size, mode)| (path.display().to_string(), kind.is_symlink(), size, mode))
            .collect();
        found.sort();
        let [link, _, tool] = &found[..] else { panic!("{found:?}") };
        assert_eq!((link.0.as_str(), link.1), ("bin", true));
        assert_eq!((tool.0.as_str(), tool.2, tool.3), ("usr/tool", 3 * CHUNK as u64, 0o755));
    }

    #[test]
    fn a_tree_that_is_not_there_is_an_error() {
        assert!(write_tar(Path::new("/no/such/tree"), std::io::sink()).is_err());
    }
}
