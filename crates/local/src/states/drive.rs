//! One execution from its first event to its last.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value;

use super::clock::Clock;
use super::definition::Machine;
use super::execution::{Entry, Stop};
use super::fault::{Fault, RUNTIME, TIMEOUT};
use super::history;
use super::run::{self, Frame, Run};
use super::store::{Finished, Journal, Status};

/// The end of an execution that did not succeed.
pub(super) fn failed(status: Status, fault: Fault) -> Finished {
    Finished {
        status,
        output: None,
        error: Some(fault.error),
        cause: Some(fault.cause),
        at_ms: 0,
    }
}

/// Runs an execution to its end, whatever that is. `resumes` counts this resume, if it is one.
pub(super) async fn drive(
    entry: &Entry,
    run: &Arc<Run>,
    journal: &Journal,
    machine: Arc<Machine>,
    mut frame: Frame,
    resumes: Option<u32>,
) -> Finished {
    if let Err(fault) = begin(run, journal, &mut frame.cursor, resumes) {
        return failed(Status::Failed, fault);
    }
    let mut stopped = entry.stop_asked.subscribe();
    let stopped = async move { stopped.wait_for(Option::is_some).await.is_ok() };
    let deadline = deadline(run, machine.timeout_seconds);
    let states = AssertUnwindSafe(run::states(Arc::clone(run), machine, frame)).catch_unwind();
    tokio::select! {
        biased;
        _ = stopped => aborted(entry),
        () = deadline => {
            let cause = "The execution did not end within its TimeoutSeconds.";
            failed(Status::TimedOut, Fault::fatal(TIMEOUT, cause))
        }
        end = states => match end {
            Ok(Ok((output, _))) => succeeded(output),
            Ok(Err(fault)) => failed(Status::Failed, fault),
            Err(_) => {
                let cause = "The interpreter failed; its log says where.";
                failed(Status::Failed, Fault::fatal(RUNTIME, cause))
            }
        },
    }
}

fn begin(
    run: &Run,
    journal: &Journal,
    cursor: &mut u64,
    resumes: Option<u32>,
) -> Result<(), Fault> {
    let first = match resumes {
        None => history::execution_started(&run.execution.input),
        Some(count) => {
            journal.resumed()?;
            history::execution_redriven(count)
        }
    };
    run.trail.leave(cursor, first)
}

fn aborted(entry: &Entry) -> Finished {
    let Stop { error, cause } = entry.stop_asked.borrow().clone().unwrap_or_default();
    Finished {
        status: Status::Aborted,
        output: None,
        error,
        cause,
        at_ms: 0,
    }
}

fn succeeded(output: Value) -> Finished {
    Finished {
        status: Status::Succeeded,
        output: Some(output),
        error: None,
        cause: None,
        at_ms: 0,
    }
}

/// Ends when the machine's time is up, counted from the start of the execution and not from a
/// resume; never for a machine without `TimeoutSeconds`.
async fn deadline(run: &Run, timeout_seconds: Option<u64>) {
    let Some(seconds) = timeout_seconds else {
        return std::future::pending().await;
    };
    let end = run.execution.started_ms.saturating_add(seconds * 1000);
    let left = end.saturating_sub(run.clock.now_ms());
    run.clock.sleep(Duration::from_millis(left)).await;
}

/// Writes the end of an execution and tells those who wait for it.
pub(super) fn close(journal: &Journal, entry: &Entry, finished: Finished, clock: &Clock) {
    let at_ms = clock.now_ms();
    let status = finished.status;
    let event = history::execution_finished(&finished);
    if let Err(fault) = journal.finish(
        Finished {
            at_ms,
            ..finished.clone()
        },
        event,
    ) {
        // Whoever asks is told what the file could not take.
        entry.keep_unwritten(Finished { at_ms, ..finished });
        tracing::error!(
            execution = entry.name,
            fault.cause,
            "the end of an execution is not on disk; it will go on at the next start"
        );
    }
    entry.state.send_replace((status, Some(at_ms)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::execution::Entry;
    use crate::states::store::Started;

    /// The run said FAILED with `ExecutionEnded`, and only the log knew of the full disk.
    #[cfg(target_os = "linux")]
    #[test]
    fn an_end_that_a_full_disk_did_not_take_is_told_all_the_same() {
        let clock = Arc::new(Clock::system());
        let started = Started {
            name: "run".into(),
            machine: "m".into(),
            definition: "d".into(),
            input: "{}".into(),
            at_ms: 1,
        };
        let journal = Journal::over(full_disk(), Arc::clone(&clock));
        let entry = Entry::new("run.jsonl".into(), &started, (Status::Running, None));
        let Err(fault) = journal.resumed() else {
            panic!("a full disk took a line");
        };
        close(&journal, &entry, failed(Status::Failed, fault), &clock);
        let end = entry.unwritten().expect("an end");
        assert_eq!(end.error.as_deref(), Some(crate::states::store::DISK_FULL));
        let cause = end.cause.unwrap_or_default();
        assert!(cause.contains("disk"), "{cause}");
    }

    #[cfg(target_os = "linux")]
    fn full_disk() -> std::fs::File {
        let open = std::fs::OpenOptions::new().write(true).open("/dev/full");
        open.expect("a device that is always full")
    }
}
