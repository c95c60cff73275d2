//! The engine: where it is, what it is, what it must be, and what is removed from it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bollard::models::{SystemInfo, SystemInfoCgroupDriverEnum};
use bollard::query_parameters::{InspectContainerOptions, RemoveContainerOptions, RemoveImageOptions};
use bollard::{API_DEFAULT_VERSION, Docker};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image;
use super::private::{self, Private};
use crate::conductor::instance::Setting;
use crate::host::packages;
use crate::netlab::Route;

/// Where the machine's engine listens, unless `DOCKER_HOST` says otherwise.
const SOCKET: &str = "/var/run/docker.sock";
/// Label of all that is ours in an engine; its value is the name of the ledger that lists it.
pub const LABEL: &str = "bench.run";
/// Seconds that the engine may take to begin an answer.
const ANSWER_S: u64 = 120;
/// How long it may take to say which API it has.
const HELLO: Duration = Duration::from_secs(10);
/// How long it may take to remove what somebody else removes already.
const REMOVAL: Duration = Duration::from_secs(30);
/// How `engine=private` helps.
const PRIVATE: &str = "`engine=private` starts one of bench's own for the run";

/// Whose engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// The one that runs on this machine.
    Machine,
    /// One that is started for the run, and ended with it.
    Private,
}

/// What an engine has of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineObject {
    /// A container, with its volumes.
    Container,
    /// An image.
    Image,
}

impl std::fmt::Display for EngineObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            EngineObject::Container => "container",
            EngineObject::Image => "image",
        })
    }
}

/// An engine of the run, with the tools tree as an image.
pub struct Engine {
    /// Its API.
    pub api: Docker,
    /// Where it listens.
    pub socket: PathBuf,
    /// What it said of itself.
    pub info: SystemInfo,
    /// The image.
    pub image: String,
    /// What belongs to one of our own.
    pub own: Option<Private>,
}

/// The engines of a run, each once.
#[derive(Default)]
pub struct Engines(RefCell<Vec<Rc<Engine>>>);

impl Engines {
    /// The engine that was asked for, started and given the tools tree where that was not done yet.
    pub async fn of(&self, asked: Option<Which>, setting: &Setting) -> Result<Rc<Engine>> {
        let which = which(asked)?;
        let is_it = |engine: &&Rc<Engine>| engine.own.is_some() == (which == Which::Private);
        if let Some(known) = self.0.borrow().iter().find(is_it) {
            return Ok(Rc::clone(known));
        }
        let engine = Rc::new(Engine::prepare(which, None, setting).await?);
        self.0.borrow_mut().push(Rc::clone(&engine));
        Ok(engine)
    }
}

impl Engine {
    /// Find or start one, and give it the tools tree. One that connects containers has a route.
    pub async fn prepare(which: Which, route: Option<Route>, setting: &Setting) -> Result<Engine> {
        let (socket, own) = match which {
            Which::Machine => (socket()?, None),
            Which::Private => {
                let (socket, own) = private::start(route, setting).await?;
                (socket, Some(own))
            }
        };
        let api = hello(&socket).await?;
        let info = api.info().await.context("asking the Docker engine what it is")?;
        check_info(&info, &socket)?;
        let mut engine = Engine { api, socket, info, image: String::new(), own };
        engine.image = image::import(&engine, setting).await?;
        Ok(engine)
    }

    /// The programs that it consists of, where they are known.
    pub fn programs(&self) -> Vec<PathBuf> {
        self.own.as_ref().map(|own| own.programs.clone()).unwrap_or_default()
    }

    /// In words: version, and whose it is.
    pub fn text(&self) -> String {
        let version = self.info.server_version.as_deref().unwrap_or("of an unknown version");
        let whose = if self.own.is_some() { "an engine of the run's own" } else { "the machine's engine" };
        format!("Docker {version} ({whose})")
    }
}

/// Where the machine's engine is to be.
fn socket() -> Result<PathBuf> {
    socket_of(std::env::var("DOCKER_HOST").ok().as_deref())
}

fn socket_of(host: Option<&str>) -> Result<PathBuf> {
    let Some(host) = host.filter(|host| !host.is_empty()) else { return Ok(PathBuf::from(SOCKET)) };
    match host.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
        Some(path) => Ok(PathBuf::from(path)),
        None => bail!(
            "DOCKER_HOST={host}: bench measures this machine and speaks to its engine by a socket alone; give unix:///PATH, or \
             unset DOCKER_HOST"
        ),
    }
}

/// Whether somebody listens; an error says that this cannot be told.
fn answers(socket: &Path) -> Result<bool> {
    match UnixStream::connect(socket) {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(false),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Err(anyhow::Error::from(e).context(format!(
            "speaking to the Docker engine at {}: only root and the group that the socket belongs to may",
            socket.display()
        ))),
        Err(e) => Err(e).with_context(|| format!("speaking to the Docker engine at {}", socket.display())),
    }
}

/// Whose engine it will be: as asked, else the machine's where one listens, or where the user says that one does.
fn which(asked: Option<Which>) -> Result<Which> {
    if asked == Some(Which::Private) {
        return Ok(Which::Private);
    }
    let socket = socket()?;
    let is_named = socket != Path::new(SOCKET);
    match answers(&socket)? {
        true => Ok(Which::Machine),
        false if asked.is_some() || is_named => {
            bail!("no Docker engine answers at {}: start it; {PRIVATE}", socket.display())
        }
        false => Ok(Which::Private),
    }
}

/// What can be told without changing anything.
pub fn check(asked: Option<Which>) -> Result<()> {
    match which(asked)? {
        Which::Private => private::programs().map(drop),
        Which::Machine => {
            let socket = socket()?;
            let info = wait_for(async || Ok(hello(&socket).await?.info().await?))?;
            check_info(&info, &socket)
        }
    }
}

/// The API, in the version that both sides speak.
async fn hello(socket: &Path) -> Result<Docker> {
    let doing = || format!("speaking to the Docker engine at {}", socket.display());
    let path = socket.to_str().with_context(doing)?;
    let api = Docker::connect_with_unix(path, ANSWER_S, API_DEFAULT_VERSION).with_context(doing)?;
    let negotiated = tokio::time::timeout(HELLO, api.negotiate_version()).await;
    let negotiated = negotiated.map_err(|_| anyhow!("it does not answer within {} s", HELLO.as_secs()));
    negotiated.and_then(|api| Ok(api?)).with_context(doing)
}

/// Refuse an engine whose containers could not be limited and accounted as every other environment is.
fn check_info(info: &SystemInfo, socket: &Path) -> Result<()> {
    let at = socket.display();
    let has = |word: &str| {
        info.security_options
            .iter()
            .flatten()
            .any(|option| option.split(',').any(|part| part == format!("name={word}")))
    };
    ensure!(
        !has("rootless"),
        "the Docker engine at {at} is rootless: its containers lie in its user's cgroups, where bench sets no limits; {PRIVATE}"
    );
    ensure!(
        !has("userns"),
        "the Docker engine at {at} maps user ids (userns-remap), so that the target would not be its root's; {PRIVATE}"
    );
    match info.cgroup_driver {
        Some(SystemInfoCgroupDriverEnum::CGROUPFS) => Ok(()),
        driver => bail!(
            "the Docker engine at {at} has the cgroup driver `{}`: bench can put a container into a cgroup of its own only with \
             `cgroupfs` as yet; {PRIVATE}",
            driver.map_or_else(|| "unknown".to_owned(), |driver| driver.to_string())
        ),
    }
}

/// Wait for a conversation with an engine where nothing else can wait, and a runtime may be at work: in a thread of its own.
fn wait_for<T: Send>(talk: impl AsyncFnOnce() -> Result<T> + Send) -> Result<T> {
    let talk = move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
        runtime.block_on(talk())
    };
    let joined = std::thread::scope(|scope| scope.spawn(talk).join());
    joined.unwrap_or_else(|_| bail!("the conversation with the Docker engine was broken off"))
}

/// Remove what an engine has of ours by this name, with all that belongs to it; what carries another run's label by now is left. False
/// when no engine listens.
pub fn remove_of_engine(socket: &Path, object: EngineObject, name: &str, run: &str) -> Result<bool> {
    if !answers(socket)? {
        return Ok(false);
    }
    wait_for(async || {
        let api = hello(socket).await?;
        match object {
            EngineObject::Container => remove_container(&api, name, run).await,
            EngineObject::Image => remove_image(&api, name, run).await,
        }
    })
    .with_context(|| format!("removing the {object} {name} of the Docker engine at {}", socket.display()))?;
    Ok(true)
}

async fn remove_container(api: &Docker, name: &str, run: &str) -> Result<()> {
    let labels = async || -> Result<Option<HashMap<String, String>>> {
        let found = gone(api.inspect_container(name, None::<InspectContainerOptions>).await)?;
        Ok(found.map(|found| found.config.and_then(|config| config.labels).unwrap_or_default()))
    };
    let deadline = Instant::now() + REMOVAL;
    while labels().await?.is_some_and(|labels| labels.get(LABEL).map(String::as_str) == Some(run)) {
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        match gone(api.remove_container(name, Some(options)).await) {
            Ok(_) => return Ok(()),
            // Somebody else, the engine itself perhaps, is at it.
            Err(e) if status(&e) == Some(409) && Instant::now() < deadline => {}
            Err(e) => return Err(e.into()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn remove_image(api: &Docker, name: &str, run: &str) -> Result<()> {
    let found = gone(api.inspect_image(name).await)?;
    let labels = found.and_then(|found| found.config).and_then(|config| config.labels).unwrap_or_default();
    if labels.get(LABEL).map(String::as_str) == Some(run) {
        let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
        gone(api.remove_image(name, Some(options), None).await)?;
    }
    Ok(())
}

/// Absent where the engine says that there is no such thing.
fn gone<T>(answer: Result<T, bollard::errors::Error>) -> Result<Option<T>, bollard::errors::Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(e) if status(&e) == Some(404) => Ok(None),
        Err(e) => Err(e),
    }
}

fn status(error: &bollard::errors::Error) -> Option<u16> {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// What can be said of Docker on this machine.
pub enum SayEngine {
    /// One answers that can be used.
    Ready(String),
    /// None answers; one of our own can be started.
    Installed,
    /// None answers, and programs are missing.
    Missing,
    /// One answers that cannot be used, and why.
    Unfit(String),
}

/// Look for an engine, without starting one.
pub fn say_engine() -> SayEngine {
    let looked = socket().and_then(|socket| {
        if !answers(&socket)? {
            return Ok(None);
        }
        let info = wait_for(async || Ok(hello(&socket).await?.info().await?))?;
        check_info(&info, &socket)?;
        Ok(Some(format!("Docker {} at {}", info.server_version.unwrap_or_default(), socket.display())))
    });
    match looked {
        Ok(Some(text)) => SayEngine::Ready(text),
        Ok(None) if private::PROGRAMS.iter().all(|name| packages::find(name).is_some()) => SayEngine::Installed,
        Ok(None) => SayEngine::Missing,
        Err(e) => SayEngine::Unfit(format!("{e:#}").replace('\n', " ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_host_is_a_socket_of_this_machine() {
        assert_eq!(socket_of(None).unwrap(), Path::new(SOCKET));
        assert_eq!(socket_of(Some("")).unwrap(), Path::new(SOCKET));
        assert_eq!(socket_of(Some("unix:///run/user/7/docker.sock")).unwrap(), Path::new("/run/user/7/docker.sock"));
        for host in ["tcp://10.0.0.1:2375", "ssh://host", "unix://relative", "/run/docker.sock"] {
            let error = socket_of(Some(host)).unwrap_err().to_string();
            assert!(error.contains(host) && error.contains("unix:///PATH"), "{error}");
        }
    }

    #[test]
    fn an_engine_whose_containers_cannot_be_accounted_is_refused() {
        let info = |driver, options: &[&str]| SystemInfo {
            cgroup_driver: driver,
            security_options: Some(options.iter().map(|&option| option.to_owned()).collect()),
            ..SystemInfo::default()
        };
        let cgroupfs = Some(SystemInfoCgroupDriverEnum::CGROUPFS);
        let check = |info| check_info(&info, Path::new("/s")).map_err(|e| e.to_string());
        assert_eq!(check(info(cgroupfs, &["name=seccomp,profile=default", "name=apparmor"])), Ok(()));
        for (info, said) in [
            (info(Some(SystemInfoCgroupDriverEnum::SYSTEMD), &[]), "cgroup driver `systemd`"),
            (info(None, &[]), "cgroup driver `unknown`"),
            (info(cgroupfs, &["name=rootless"]), "is rootless"),
            (info(cgroupfs, &["name=userns"]), "userns-remap"),
        ] {
            let error = check(info).unwrap_err();
            assert!(error.contains(said) && error.contains("engine=private"), "{error}");
        }
    }

    #[test]
    fn nobody_listens_where_there_is_no_socket() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        assert!(!answers(&socket).unwrap());
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(!answers(&socket).unwrap(), "a socket that was left behind");
        assert!(!remove_of_engine(&socket, EngineObject::Container, "x", "y").unwrap());
    }

    #[test]
    fn a_silent_engine_is_an_error_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = wait_for(async || hello(&socket).await.map(drop)).unwrap_err();
        drop(listener);
        assert!(format!("{error:#}").contains("does not answer within"), "{error:#}");
    }
}
