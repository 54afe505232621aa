//! The names of machines, executions and map runs: AWS's rules for them and the ARNs made of them.

pub(super) const REGION: &str = "us-east-1";
/// The role that replies show; nothing here is authorised by it.
pub(super) const ROLE_ARN: &str = "arn:aws:iam::000000000000:role/outcrop-states";
pub(super) const PREFIX: &str = "arn:aws:states:us-east-1:000000000000:";

pub(super) fn machine_arn(name: &str) -> String {
    format!("{PREFIX}stateMachine:{name}")
}

pub(super) fn execution_arn(machine: &str, name: &str) -> String {
    format!("{PREFIX}execution:{machine}:{name}")
}

pub(super) fn map_run_arn(machine: &str, label: &str, name: &str) -> String {
    format!("{PREFIX}mapRun:{machine}/{label}:{name}")
}

/// The ARN of a child execution of a map run.
pub(super) fn child_arn(map_run_arn: &str, name: &str) -> String {
    let of_execution = map_run_arn.replacen(":mapRun:", ":execution:", 1);
    let parent = of_execution
        .rsplit_once(':')
        .map_or("", |(parent, _)| parent);
    format!("{parent}:{name}")
}

/// Longest name, in characters.
const MAX_NAME: usize = 80;

/// AWS's rules for the names of state machines and executions.
pub(super) fn valid_name(name: &str) -> Result<(), String> {
    let refused = |letter: &char| {
        letter.is_whitespace()
            || letter.is_control()
            || "<>{}[]?*\"#%\\^|~`$&,;:/".contains(*letter)
    };
    if name.is_empty() || name.chars().count() > MAX_NAME {
        return Err(format!("it must have 1 to {MAX_NAME} characters"));
    }
    match name.chars().find(refused) {
        Some(letter) => Err(format!("it must not contain {letter:?}")),
        None => Ok(()),
    }
}
