//! What starts functions by itself: the template's rules, the queues that they send to, and who empties those.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{CloudConfig, CloudError};
use crate::events::{Bus, Rule, Schedule, Target, Timer};
use crate::lambda::Host;
use crate::queues::{DeadLetters, Invoke, Mapping, Queue};
use crate::s3::Told;
use crate::states::Clock;
use crate::template::{self, Template, When};

/// Ready to start; messages that an earlier process left are in their queues.
pub(super) struct Entries {
    pub told: Arc<Told>,
    mappings: Vec<Mapping>,
    timers: Vec<Timer>,
}

/// What starts runs by itself.
#[derive(Debug, Clone)]
pub struct ByItself {
    /// Folders whose files start a run when they come, change or go.
    pub folders: Vec<PathBuf>,
    /// How long changes are gathered.
    pub gather: Duration,
    pub schedules: Vec<Schedule>,
}

impl Entries {
    pub(super) fn open(config: &CloudConfig, template: &Template) -> Result<Self, CloudError> {
        let clock = Arc::new(Clock::system());
        let queues = open_queues(&config.data.join("queues"), template, &clock)?;
        let mut rules = Vec::new();
        let mut timers = Vec::new();
        let schedules = config.data.join("schedules");
        std::fs::create_dir_all(&schedules).map_err(|error| unwritable(&schedules, &error))?;
        for rule in &template.rules {
            let unusable = |detail: String| {
                CloudError::Template(format!("TemplateUnresolved: {}: {detail}", rule.name))
            };
            let targets = targets(&rule.targets, &queues)?;
            match &rule.when {
                When::Event(pattern) => {
                    rules.push(Rule::new(pattern, targets).map_err(unusable)?);
                }
                When::Schedule(expression) => timers.push(Timer {
                    schedule: expression.parse().map_err(
                        |error: crate::events::ScheduleError| unusable(error.to_string()),
                    )?,
                    targets,
                    file: schedules.join(format!("{}.json", rule.name)),
                    clock: clock.clone(),
                }),
            }
        }
        let bus = Bus::new(rules, clock);
        let told = Told::new(&config.data.join("s3"), &template.told_buckets, bus);
        let told = told.map_err(|error| CloudError::StoreDamaged {
            path: config.data.clone(),
            detail: error.0,
        })?;
        Ok(Self {
            told: Arc::new(told),
            mappings: mappings(template, &queues)?,
            timers,
        })
    }

    pub(super) fn by_itself(&self) -> ByItself {
        let windows = self.mappings.iter().map(|mapping| mapping.window);
        let schedules = self.timers.iter().map(|timer| timer.schedule.clone());
        ByItself {
            folders: self.told.folders(),
            gather: windows.max().unwrap_or_default(),
            schedules: schedules.collect(),
        }
    }

    /// Lets everything run until the cloud ends. What is under way then is done again at the next start.
    pub(super) fn start(self, host: &Host, stopped: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let mut running = vec![until(self.told.watch(), stopped)];
        for timer in self.timers {
            running.push(until(timer.run(), stopped));
        }
        for mapping in self.mappings {
            running.push(until(mapping.run(invoke(host)), stopped));
        }
        running
    }
}

/// Runs a task until the cloud ends.
fn until(
    task: impl Future<Output = ()> + Send + 'static,
    stopped: &watch::Receiver<bool>,
) -> JoinHandle<()> {
    let mut stopped = stopped.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = task => {}
            // The sender is gone when the cloud was dropped: that is the end too.
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    })
}

fn invoke(host: &Host) -> Invoke {
    let host = host.clone();
    Arc::new(move |name, payload| {
        let host = host.clone();
        Box::pin(async move { host.invoke(&name, payload).await })
    })
}

type Queues = BTreeMap<String, Arc<Queue>>;

fn open_queues(
    folder: &Path,
    template: &Template,
    clock: &Arc<Clock>,
) -> Result<Queues, CloudError> {
    let queues = template.queues.iter().map(|queue| {
        let retention = Duration::from_secs(queue.retention_seconds);
        let opened = Queue::open(folder, &queue.name, retention, clock.clone());
        let opened = opened.map_err(|error| unwritable(folder, &error))?;
        Ok((queue.name.clone(), Arc::new(opened)))
    });
    queues.collect()
}

fn targets(targets: &[template::Target], queues: &Queues) -> Result<Vec<Target>, CloudError> {
    let targets = targets.iter().map(|target| {
        Ok(Target {
            queue: named(queues, &target.queue)?,
            input: target.input.clone(),
        })
    });
    targets.collect()
}

fn mappings(template: &Template, queues: &Queues) -> Result<Vec<Mapping>, CloudError> {
    let mappings = template.mappings.iter().map(|mapping| {
        let mut described = template.queues.iter();
        let queue = described.find(|queue| queue.name == mapping.queue);
        let redrive = queue.and_then(|queue| queue.redrive.as_ref());
        let dead_letters = redrive.map(|redrive| {
            Ok(DeadLetters {
                queue: named(queues, &redrive.queue)?,
                max_receives: redrive.max_receives,
            })
        });
        Ok(Mapping {
            queue: named(queues, &mapping.queue)?,
            function: mapping.function.clone(),
            batch_size: mapping.batch_size,
            window: Duration::from_secs(mapping.window_seconds),
            reports_failures: mapping.reports_failures,
            dead_letters: dead_letters.transpose()?,
        })
    });
    mappings.collect()
}

fn named(queues: &Queues, name: &str) -> Result<Arc<Queue>, CloudError> {
    let queue = queues.get(name).cloned();
    queue.ok_or_else(|| {
        CloudError::Template(format!("TemplateUnresolved: there is no queue {name:?}"))
    })
}

fn unwritable(path: &Path, error: &std::io::Error) -> CloudError {
    CloudError::DataFolderUnwritable {
        path: path.to_owned(),
        detail: error.to_string(),
    }
}
