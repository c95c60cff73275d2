//! Arguments of `bench container run` to what is started, and how it is limited.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use bench_container::{Bind, IoLimit, Limits, Namespace, Root, Spec, UserMap};
use bench_results::quantity::parse_size;

use super::arguments::{Network, Pids, RunArgs, count};
use crate::host::cpus;
use crate::tools;

/// Ids of a user namespace on the host: where distributions begin those of containers.
pub const SHIFTED: UserMap = UserMap { first: 100_000, count: 65_536 };

/// What to start, but for its streams, its group and its network.
pub fn spec(args: &RunArgs) -> Result<Spec> {
    let mut namespaces: std::collections::BTreeSet<_> = Namespace::DOCKER.into();
    // A lab's namespace is entered, not made.
    if args.net != Network::None {
        namespaces.remove(&Namespace::Net);
    }
    if args.userns {
        namespaces.insert(Namespace::User);
    }
    if args.time_offset.is_some() {
        namespaces.insert(Namespace::Time);
    }
    let tree = match &args.rootfs {
        Some(folder) => {
            let doing = || format!("--rootfs {}", folder.display());
            let folder = std::fs::canonicalize(folder).with_context(doing)?;
            ensure!(folder.is_dir(), "{}: it is not a folder", doing());
            folder
        }
        None => tools::tree()?,
    };
    let binds = args.volume.iter().map(|volume| bind(volume)).collect::<Result<_>>()?;
    Ok(Spec {
        argv: args.command.clone(),
        env: environment(args)?,
        cwd: Some(args.workdir.clone().unwrap_or_else(|| "/".to_owned())),
        namespaces,
        root: Some(Root { tree, binds, overlay: false }),
        capabilities: capabilities(args),
        seccomp: args.is_filtered(),
        hostname: Some(args.hostname.clone()),
        time_offset_s: args.time_offset.unwrap_or(0.0).round() as i64,
        user_map: args.userns.then_some(SHIFTED),
        parent_death_signal: true,
        reaper: args.init,
        announce: args.verbose,
        user: args.user.clone(),
        ..Spec::default()
    })
}

/// In a lab, which is nobody else's, busybox's ping works.
fn capabilities(args: &RunArgs) -> Vec<String> {
    let of_labs = args.net.route().map(|_| "NET_RAW".to_owned());
    args.cap_add.iter().cloned().chain(of_labs).collect()
}

fn environment(args: &RunArgs) -> Result<Vec<(String, String)>> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut env = vec![("PATH".to_owned(), path.to_owned()), ("HOSTNAME".to_owned(), args.hostname.clone())];
    // That of a user is known inside.
    if args.user.is_none() {
        env.push(("HOME".to_owned(), "/".to_owned()));
    }
    env.extend(std::env::var("TERM").ok().map(|term| ("TERM".to_owned(), term)));
    for wish in &args.env {
        let (name, value) = match wish.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (wish.as_str(), std::env::var_os(wish).map(|value| text(wish, value)).transpose()?),
        };
        ensure!(!name.is_empty(), "-e {wish}: it is neither KEY nor KEY=VALUE");
        if let Some(value) = value {
            env.retain(|(known, _)| known != name);
            env.push((name.to_owned(), value));
        }
    }
    Ok(env)
}

fn text(name: &str, value: std::ffi::OsString) -> Result<String> {
    value.into_string().map_err(|_| anyhow::anyhow!("-e {name}: its value here is no UTF-8: write -e {name}=VALUE"))
}

fn bind(volume: &str) -> Result<Bind> {
    let parts: Vec<_> = volume.split(':').collect();
    let (source, target, read_only) = match parts[..] {
        [source, target] => (source, target, false),
        [source, target, "ro"] => (source, target, true),
        _ => bail!("-v {volume}: it is not SRC:DST or SRC:DST:ro"),
    };
    let target = PathBuf::from(target);
    ensure!(target.is_absolute() && target != Path::new("/"), "-v {volume}: DST must be an absolute path, and not /");
    let source = std::fs::canonicalize(source).with_context(|| format!("-v {volume}: finding {source}"))?;
    let is_disk = || std::fs::metadata(&source).is_ok_and(|found| found.file_type().is_block_device());
    ensure!(
        !read_only || !is_disk(),
        "-v {volume}: a block device stays writable behind a read-only mount: make it read-only itself (`blockdev --setro {}`) \
         and leave `:ro` out",
        source.display()
    );
    Ok(Bind { source, target, read_only })
}

/// Limits that were asked for.
pub fn limits(args: &RunArgs) -> Result<Limits> {
    let cpus = args.cpuset.as_deref().map(cpus::parse).transpose().context("--cpuset")?;
    let mut io = Vec::new();
    throttle(&mut io, &args.io_read_iops, count, |limit, value| limit.read_iops = Some(value))?;
    throttle(&mut io, &args.io_write_iops, count, |limit, value| limit.write_iops = Some(value))?;
    throttle(&mut io, &args.io_read_bps, parse_size, |limit, value| limit.read_bytes_per_s = Some(value))?;
    throttle(&mut io, &args.io_write_bps, parse_size, |limit, value| limit.write_bytes_per_s = Some(value))?;
    let cpus = cpus.map(|cpus| cpus::format(&cpus));
    let pids = args.pids.and_then(|pids| match pids {
        Pids::Most(pids) => Some(pids),
        Pids::Unlimited => None,
    });
    Ok(Limits { cpus, cpu_quota: args.cpus, memory_bytes: args.memory, pids, io })
}

/// `/dev/vda:1000` to the limit of that device.
fn throttle(
    limits: &mut Vec<IoLimit>,
    wishes: &[String],
    parse: impl Fn(&str) -> Result<u64, String>,
    set: impl Fn(&mut IoLimit, u64),
) -> Result<()> {
    for wish in wishes {
        let (device, value) =
            wish.rsplit_once(':').with_context(|| format!("`{wish}` is not DEVICE:VALUE, as in /dev/vda:1000"))?;
        let value = parse(value).map_err(anyhow::Error::msg).with_context(|| format!("throttling {device}"))?;
        let number = std::fs::metadata(device).with_context(|| format!("throttling {device}"))?.rdev();
        ensure!(number != 0, "throttling {device}: it is not a device");
        let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
        let index = limits.iter().position(|limit| (limit.major, limit.minor) == (major, minor)).unwrap_or_else(|| {
            limits.push(IoLimit { major, minor, ..IoLimit::default() });
            limits.len() - 1
        });
        set(&mut limits[index], value);
    }
    Ok(())
}
