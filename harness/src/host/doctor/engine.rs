//! What environments of Docker need; nothing else does.

use super::{Finding, Level, finding};
use crate::environments::{SayEngine, say_engine};

/// Whether an engine answers, or could be started.
pub(super) fn docker() -> Finding {
    const WHY: &str = "only environments of the kind `docker` need an engine";
    match say_engine() {
        SayEngine::Ready(text) => finding("docker", Level::Fine, text, WHY, ""),
        SayEngine::Installed => {
            finding("docker", Level::Fine, "no engine answers; bench starts a private one for a run", WHY, "")
        }
        SayEngine::Missing => {
            let advice = "install the package docker.io, if you want to measure Docker itself";
            finding("docker", Level::Matters, "no engine answers, and none is installed", WHY, advice)
        }
        SayEngine::Unfit(why) => {
            let advice = "docker:engine=private uses a private engine (package docker.io)";
            finding("docker", Level::Matters, why, WHY, advice)
        }
    }
}
