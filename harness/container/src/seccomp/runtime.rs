//! The profile as the OCI runtime specification has it (`linux.seccomp` of `config.json`), for other runtimes.

use serde_json::{Value, json};

use super::docker::{self, ABSENT, BY_ARGUMENT, Test};
use crate::capabilities;

/// Docker's default profile ([`crate::SECCOMP_PROFILE`]) for the default capabilities and `more`, as `runc` and the like take it. Names
/// of capabilities that there are not open nothing.
pub fn seccomp_for_runtimes(more: &[String]) -> Value {
    let names = capabilities::names(more);
    let holds = |capability: &str| names.iter().any(|name| name.strip_prefix("CAP_") == Some(capability));
    let allowed = docker::allowed(&holds);
    let mut rules = Vec::new();
    for (name, tests) in BY_ARGUMENT.iter().filter(|(name, _)| !allowed.contains(name)) {
        for test in *tests {
            let (comparison, value) = match *test {
                Test::Below(value) => ("SCMP_CMP_LT", value),
                Test::Is(value) => ("SCMP_CMP_EQ", value),
                Test::Above(value) => ("SCMP_CMP_GT", value),
                // That these bits are 0.
                Test::NoneOf(bits) => ("SCMP_CMP_MASKED_EQ", bits),
            };
            let argument = json!({"index": 0, "value": value, "op": comparison});
            rules.push(json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]}));
        }
    }
    if !allowed.contains(ABSENT) {
        rules.push(json!({"names": [ABSENT], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS}));
    }
    rules.push(json!({"names": allowed, "action": "SCMP_ACT_ALLOW"}));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::EPERM,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    })
}
