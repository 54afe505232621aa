//! The laptop cloud as one: every AWS service on one port, the API on another, everything under one folder.

mod aws_port;
mod entries;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::serve::{Listener, ListenerExt};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::bedrock::{self, AgentServices, Bedrock, KnowledgeBases};
use crate::dynamo::Dynamo;
use crate::gateway::{Gateway, Tokens};
use crate::lambda::{FunctionConfig, Host, Invocation};
use crate::s3::{KEY, S3};
use crate::states::{Services, StateMachines, TaskError};
use crate::storage_faults::StorageFaults;
use crate::template::{self, Template};

pub use entries::ByItself;
use entries::Entries;

/// Instances of one function at the most; a laptop has few cores.
const INSTANCES: usize = 8;
/// How long open requests may go on after the end was asked for.
const SHUTDOWN_TIME: Duration = Duration::from_secs(3);

/// What to start.
pub struct CloudConfig {
    /// All state lives here; deleting the folder deletes it.
    pub data: PathBuf,
    /// 0: any free port.
    pub api_port: u16,
    pub aws_port: u16,
    /// The program that runs a function: started with `__lambda` and the name of the function's binary.
    pub program: PathBuf,
    /// `template.yaml`.
    pub template: &'static str,
    /// Files that the template names, by path.
    pub files: fn(&str) -> Option<&'static str>,
    /// `infra/openapi.yaml`.
    pub openapi: &'static str,
    /// Template parameters other than their defaults.
    pub parameters: BTreeMap<String, String>,
    /// Whether the bucket's events and the schedule start what the template says.
    pub starts_by_itself: bool,
    pub bedrock: bedrock::Settings,
}

/// Why the laptop cloud did not start. One line each, saying what to do.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    #[error("DataFolderUnwritable: {} cannot be written ({detail}); choose another with --data", .path.display())]
    DataFolderUnwritable { path: PathBuf, detail: String },
    #[error("DataFolderInUse: another instance runs on {}; stop it, or choose another folder with --data", .path.display())]
    DataFolderInUse { path: PathBuf },
    #[error(
        "PortInUse: 127.0.0.1:{port} is taken by another program; choose another with {flag}, 0 for any free one"
    )]
    PortInUse { port: u16, flag: &'static str },
    #[error("StoreDamaged: {detail}; restore the file from a copy, or delete the folder {} to begin anew", .path.display())]
    StoreDamaged { path: PathBuf, detail: String },
    #[error("TemplateUnusable: {0}")]
    Template(String),
}

impl CloudError {
    /// The machine-readable name; the message begins with it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DataFolderUnwritable { .. } => "DataFolderUnwritable",
            Self::DataFolderInUse { .. } => "DataFolderInUse",
            Self::PortInUse { .. } => "PortInUse",
            Self::StoreDamaged { .. } => "StoreDamaged",
            Self::Template(_) => "TemplateUnusable",
        }
    }
}

/// A running laptop cloud.
pub struct RunningCloud {
    /// `http://127.0.0.1:<port>` of the API and its page.
    pub api: String,
    /// `http://127.0.0.1:<port>` of every AWS service.
    pub aws: String,
    /// Resources of the template that the laptop does not run.
    pub skipped: Vec<(String, String)>,
    /// What starts runs by itself, if anything does.
    pub by_itself: Option<ByItself>,
    stop: watch::Sender<bool>,
    serving: Vec<tokio::task::JoinHandle<()>>,
    // Both end what they hold when dropped: the lock, and executions, which go on at the next start.
    _lock: File,
    _states: StateMachines,
}

impl RunningCloud {
    /// Ends it: no new requests, open ones get a moment, processes end.
    pub async fn shutdown(self) {
        // Nobody listening means that it has ended already.
        let _ = self.stop.send(true);
        for serving in self.serving {
            let _ = tokio::time::timeout(SHUTDOWN_TIME, serving).await;
        }
    }
}

/// Starts the laptop cloud.
///
/// # Errors
/// [`CloudError`].
pub async fn start(config: CloudConfig) -> Result<RunningCloud, CloudError> {
    let lock = lock_folder(&config.data)?;
    let aws_listener = bind(config.aws_port, "--aws-port").await?;
    let api_listener = bind(config.api_port, "--port").await?;
    let (aws, api) = (address(&aws_listener), address(&api_listener));
    let template = template::read(config.template, &config.parameters, |path| {
        (config.files)(path).map(str::to_owned)
    })
    .map_err(|error| CloudError::Template(format!("{}: {error}", error.name())))?;

    let damaged = |detail: String| CloudError::StoreDamaged {
        path: config.data.clone(),
        detail,
    };
    let dynamo = Dynamo::start(&config.data.join("dynamodb.db"))
        .await
        .map_err(|error| damaged(error.0))?;
    for table in &template.tables {
        let expiry = template
            .times_to_live
            .iter()
            .find(|(name, _)| table["TableName"] == *name);
        let expiry = expiry.map(|(_, attribute)| attribute.as_str());
        dynamo
            .ensure_table(table, expiry)
            .await
            .map_err(|error| damaged(error.0))?;
    }
    let s3_folder = config.data.join("s3");
    let entries = match config.starts_by_itself {
        true => Some(Entries::open(&config, &template)?),
        false => None,
    };
    let told = entries.as_ref().map(|entries| entries.told.clone());
    let s3 = S3::open(&s3_folder, &template.buckets, told).map_err(|error| damaged(error.0))?;
    let functions = functions(&config, &template, &aws, &temporary_folder(&config.data)?);
    let bases = knowledge_bases(&config, &functions)?;
    let host = Host::new(functions, INSTANCES);
    let states = open_states(&config.data.join("states"), &template, &host, &s3)?;
    let gateway = open_gateway(&config, &template, &host)?;

    let (jobs, quotas) = (config.data.join("batch-jobs"), config.bedrock.batch_quotas);
    let bedrock = open_bedrock(config.bedrock, &config.data, &template)
        .map_err(damaged)?
        .with_knowledge_bases(&config.data.join("knowledge-bases"), bases)
        .and_then(|bedrock| {
            bedrock.with_agents(&config.data.join("agents"), agent_services(&host, &s3))
        })
        .and_then(|bedrock| bedrock.with_batch_jobs(&jobs, s3.clone(), quotas))
        .map_err(|error| damaged(error.to_string()))?;
    let (stop, stopped) = watch::channel(false);
    let services = aws_port::Services {
        dynamo,
        s3,
        secrets: crate::secrets::Secrets::new(&config.data.join("secrets")),
        states: states.clone(),
        lambda: crate::lambda::router(host.clone()),
        bedrock: bedrock::router(bedrock.clone()),
        faults: StorageFaults::default(),
    };
    let mut serving = vec![
        serve(aws_listener, aws_port::router(services), stopped.clone()),
        serve(api_listener, api_router(gateway), stopped.clone()),
    ];
    let by_itself = entries.as_ref().map(Entries::by_itself);
    if let Some(entries) = entries {
        serving.extend(entries.start(&host, &stopped));
    }
    bedrock.resume_batch_jobs();
    bedrock.resume_ingestion();
    states.resume_interrupted();
    write_record(&config.data, &api, &aws)?;
    Ok(RunningCloud {
        api,
        aws,
        skipped: template.skipped,
        by_itself,
        stop,
        serving,
        _lock: lock,
        _states: states,
    })
}

fn lock_folder(data: &Path) -> Result<File, CloudError> {
    let unwritable = |error: std::io::Error| CloudError::DataFolderUnwritable {
        path: data.to_owned(),
        detail: error.to_string(),
    };
    std::fs::create_dir_all(data).map_err(unwritable)?;
    let lock = File::create(data.join("lock")).map_err(unwritable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(CloudError::DataFolderInUse {
            path: data.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(error)) => Err(unwritable(error)),
    }
}

async fn bind(port: u16, flag: &'static str) -> Result<TcpListener, CloudError> {
    TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|_| CloudError::PortInUse { port, flag })
}

fn address(listener: &TcpListener) -> String {
    let port = listener
        .local_addr()
        .map(|address| address.port())
        .unwrap_or_default();
    format!("http://127.0.0.1:{port}")
}

/// Tells other programs where this instance answers.
fn write_record(data: &Path, api: &str, aws: &str) -> Result<(), CloudError> {
    let record = json!({ "api": api, "aws": aws, "pid": std::process::id() }).to_string();
    let (beside, path) = (data.join("instance.json.part"), data.join("instance.json"));
    std::fs::write(&beside, record)
        .and_then(|()| std::fs::rename(&beside, &path))
        .map_err(|error| CloudError::DataFolderUnwritable {
            path: data.to_owned(),
            detail: error.to_string(),
        })
}

/// Where functions keep their files: below the data, so that two clouds do not meet in one folder.
fn temporary_folder(data: &Path) -> Result<String, CloudError> {
    let folder = std::path::absolute(data.join("tmp"));
    let made = folder.and_then(|folder| {
        std::fs::create_dir_all(&folder)?;
        Ok(folder.display().to_string())
    });
    made.map_err(|error| CloudError::DataFolderUnwritable {
        path: data.to_owned(),
        detail: error.to_string(),
    })
}

fn functions(
    config: &CloudConfig,
    template: &Template,
    aws: &str,
    temporary: &str,
) -> Vec<FunctionConfig> {
    let with_endpoints = |environment: &BTreeMap<String, String>| {
        let mut environment = environment.clone();
        let fixed = [
            ("TMPDIR", temporary),
            ("AWS_ENDPOINT_URL", aws),
            ("AWS_REGION", template::REGION),
            ("AWS_DEFAULT_REGION", template::REGION),
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", KEY),
        ];
        for (name, value) in fixed {
            environment.insert(name.to_owned(), value.to_owned());
        }
        environment
    };
    template
        .functions
        .iter()
        .map(|function| FunctionConfig {
            name: function.name.clone(),
            program: config.program.clone(),
            arguments: vec!["__lambda".to_owned(), function.binary.clone()],
            environment: with_endpoints(&function.environment),
            timeout: Duration::from_secs(function.timeout_seconds),
            memory_mb: function.memory_mb,
        })
        .collect()
}

/// The knowledge bases of the laptop Bedrock read what the functions write, through the same services.
fn knowledge_bases(
    config: &CloudConfig,
    functions: &[FunctionConfig],
) -> Result<KnowledgeBases, CloudError> {
    let environment = functions.first().map(|function| &function.environment);
    let settings = aws::config::Settings::from_lookup(|name| environment?.get(name).cloned())
        .map_err(|error| CloudError::Template(error.to_string()))?;
    KnowledgeBases::new(aws::Aws::new(settings)).map_err(|error| CloudError::DataFolderUnwritable {
        path: config.data.clone(),
        detail: error.to_string(),
    })
}

/// Bedrock with the template's guardrails, and with those that were made here.
fn open_bedrock(
    settings: bedrock::Settings,
    data: &Path,
    template: &Template,
) -> Result<Bedrock, String> {
    Bedrock::open(bedrock::Settings {
        guardrails: template.guardrails.clone(),
        folder: Some(data.join("bedrock")),
        ..settings
    })
}

fn open_states(
    folder: &Path,
    template: &Template,
    host: &Host,
    s3: &S3,
) -> Result<StateMachines, CloudError> {
    let (host, s3) = (host.clone(), s3.clone());
    let services = Services {
        invoke_lambda: Arc::new(move |name, payload| {
            let host = host.clone();
            Box::pin(async move { invoke_task(&host, &name, &payload).await })
        }),
        read_object: Arc::new(move |bucket, key| {
            let s3 = s3.clone();
            Box::pin(async move { read_object(&s3, &bucket, &key).await })
        }),
    };
    let failed = |error: &dyn std::fmt::Display| CloudError::Template(error.to_string());
    let states = StateMachines::open(folder, services).map_err(|error| {
        let (path, detail) = (folder.to_owned(), error.to_string());
        CloudError::StoreDamaged { path, detail }
    })?;
    for (name, definition) in &template.state_machines {
        states
            .create(name, definition)
            .map_err(|error| failed(&error))?;
    }
    Ok(states)
}

/// What the agents of the laptop Bedrock call: the same functions and objects as the state machines.
fn agent_services(host: &Host, s3: &S3) -> AgentServices {
    let (host, s3) = (host.clone(), s3.clone());
    AgentServices {
        invoke_lambda: Arc::new(move |name, payload| {
            let host = host.clone();
            Box::pin(async move { host.invoke(&name, payload).await })
        }),
        read_object: Arc::new(move |bucket, key| {
            let s3 = s3.clone();
            Box::pin(async move {
                s3.read(&bucket, &key)
                    .await
                    .map_err(|error| error.to_string())
            })
        }),
        retrieve: None,
    }
}

/// A task of a state machine, with the error names that Step Functions gives Lambda's failures.
async fn invoke_task(host: &Host, name: &str, payload: &Value) -> Result<Value, TaskError> {
    let failed = |error: &str, cause: String| TaskError {
        error: error.to_owned(),
        cause,
    };
    let invoked = host.invoke(name, Bytes::from(payload.to_string())).await;
    let bytes = match invoked {
        Ok(Invocation::Reply(bytes)) => bytes,
        Ok(Invocation::FunctionError(bytes)) => {
            let cause = String::from_utf8_lossy(&bytes).into_owned();
            let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let name = value["errorType"]
                .as_str()
                .unwrap_or("Lambda.Unknown")
                .to_owned();
            return Err(TaskError { error: name, cause });
        }
        Ok(Invocation::Stream(_)) => {
            return Err(failed(
                "Lambda.Unknown",
                "the function answered a step with a stream".into(),
            ));
        }
        Err(error) => {
            return Err(failed(
                &format!("Lambda.{}", error.name()),
                error.to_string(),
            ));
        }
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        failed(
            "Lambda.Unknown",
            format!("the function's reply is not JSON: {error}"),
        )
    })
}

async fn read_object(s3: &S3, bucket: &str, key: &str) -> Result<Bytes, TaskError> {
    let failed = |error: &str, cause: String| TaskError {
        error: error.to_owned(),
        cause,
    };
    match s3.read(bucket, key).await {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(failed(
            "S3.NoSuchKeyException",
            format!("there is no object {key} in {bucket}"),
        )),
        Err(error) => Err(failed("S3.SdkClientException", error.to_string())),
    }
}

fn open_gateway(
    config: &CloudConfig,
    template: &Template,
    host: &Host,
) -> Result<Gateway, CloudError> {
    let function_name = |id: &str| {
        let found = template
            .functions
            .iter()
            .find(|function| function.logical_id == id);
        found.map(|function| function.name.clone())
    };
    let tokens = Tokens::open(&config.data).map_err(|error| CloudError::StoreDamaged {
        path: config.data.clone(),
        detail: error.to_string(),
    })?;
    Gateway::new(config.openapi, &function_name, tokens, host.clone())
        .map_err(|error| CloudError::Template(error.to_string()))
}

fn api_router(gateway: Gateway) -> Router {
    Router::new().fallback(move |request: Request<Body>| {
        let gateway = gateway.clone();
        async move { gateway.call(request).await }
    })
}

/// What is written leaves at once. Else the end of a reply in two writes waits for the other side's acknowledgement of the
/// first, which a kernel holds back for 40 ms.
pub(crate) fn at_once(listener: TcpListener) -> impl Listener<Addr = SocketAddr> {
    listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::warn!(%error, "a connection may be slow");
        }
    })
}

fn serve(
    listener: TcpListener,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let until = async move {
            // The sender is gone when the cloud was dropped: that is the end too.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        if let Err(error) = axum::serve(at_once(listener), router)
            .with_graceful_shutdown(until)
            .await
        {
            tracing::error!(%error, "a listener ended");
        }
    })
}

#[cfg(test)]
mod tests;
