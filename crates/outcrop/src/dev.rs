//! `outcrop dev`: the laptop cloud, its sample corpus, and three commands to try.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use include_dir::{Dir, include_dir};
use local::bedrock;
use local::cloud::{self, ByItself, CloudConfig, RunningCloud};

use crate::arguments::{DevArguments, SyncSchedule};
use crate::client::{Api, Failure, Unsent};
use crate::intake::ingest_documents;
use crate::models;
use crate::output::{self, DONE, FAILED};

static SAMPLE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sample/documents");

/// What the answers are asked of when an OpenAI-compatible server stands behind the local Bedrock: a model id without
/// citations of its own, so that passages are numbered and `[n]` is read from the text.
const OPEN_MODEL: &str = "openai.gpt-oss-20b-1:0";
/// The rerankers that spaces may set.
const RERANKERS: &str = "off,amazon.rerank-v1:0,cohere.rerank-v3-5:0";
/// Components of the hashing embedder's vectors: enough for it, and a fourth of the work.
pub const HASHING_DIMENSIONS: usize = 256;

/// Runs a function's own loop: what its bootstrap does on Lambda.
pub fn run_function(name: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match (runtime, name) {
        (Ok(runtime), "query") => runtime.block_on(query::run()),
        (Ok(runtime), "ingest") => runtime.block_on(ingest::run()),
        (Ok(runtime), "agent-action") => runtime.block_on(agent_action::run()),
        (Ok(runtime), "guardrail-check") => runtime.block_on(guardrail_check::run()),
        (Ok(_), other) => Err(format!("there is no function {other:?}").into()),
        (Err(error), _) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error_line(&error.to_string());
            ExitCode::from(FAILED)
        }
    }
}

/// An instance for one command, on `.outcrop` and free ports.
pub struct Embedded {
    pub api: String,
    cloud: RunningCloud,
}

impl Embedded {
    pub async fn shutdown(self) {
        self.cloud.shutdown().await;
    }
}

/// Starts an instance for one command.
pub async fn embedded() -> Result<Embedded, Failure> {
    let arguments = DevArguments {
        port: 0,
        aws_port: 0,
        no_sample: true,
        // It ends with its command, and what that changes starts its own run.
        no_events: true,
        ..DevArguments::default()
    };
    let cloud = start(&arguments).await?;
    Ok(Embedded {
        api: cloud.api.clone(),
        cloud,
    })
}

async fn start(arguments: &DevArguments) -> Result<RunningCloud, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure(format!("the program cannot find itself: {error}")))?;
    let minilm = models::chosen(&arguments.data, arguments.embedder)?.map(Arc::new);
    let mut parameters = BTreeMap::new();
    if minilm.is_some() {
        parameters.insert("EmbedModel".to_owned(), bedrock::MINILM_MODEL.to_owned());
        parameters.insert("EmbedDimensions".to_owned(), minilm::DIMENSIONS.to_string());
    } else {
        parameters.insert("EmbedDimensions".to_owned(), HASHING_DIMENSIONS.to_string());
    }
    parameters.insert("VectorIndex".to_owned(), "true".to_owned());
    parameters.insert("GuardMode".to_owned(), arguments.guard.clone());
    // Whoever can reach loopback owns the laptop; there is no account.
    parameters.insert("Admins".to_owned(), "user:local".to_owned());
    // Nobody but its owner pays for a laptop; spaces may set limits to try them.
    parameters.insert("CallerRequestsPerMinute".to_owned(), "0".to_owned());
    // Off until a space sets one; nobody is billed for it here.
    parameters.insert("RerankModels".to_owned(), RERANKERS.to_owned());
    // Functions of a laptop share its processors.
    parameters.insert("IngestConcurrency".to_owned(), "4".to_owned());
    // The laptop's embedder has no quota.
    for quota in ["EmbedTokensPerMinute", "EmbedRequestsPerMinute"] {
        parameters.insert(quota.to_owned(), "0".to_owned());
    }
    let gather = arguments.gather_seconds.to_string();
    parameters.insert("SyncGatherSeconds".to_owned(), gather);
    parameters.insert("SyncSpaces".to_owned(), arguments.sync_spaces.clone());
    match &arguments.sync_schedule {
        Some(SyncSchedule::At(schedule)) => {
            parameters.insert("SyncSchedule".to_owned(), schedule.to_string());
        }
        Some(SyncSchedule::Off) => {
            parameters.insert("SyncScheduleState".to_owned(), "DISABLED".to_owned());
        }
        None => {}
    }
    if arguments.model_url.is_some() {
        parameters.insert("AnswerModel".to_owned(), OPEN_MODEL.to_owned());
    }
    let config = CloudConfig {
        data: arguments.data.clone(),
        api_port: arguments.port,
        aws_port: arguments.aws_port,
        program,
        template: include_str!("../../../template.yaml"),
        files,
        openapi: include_str!("../../../infra/openapi.yaml"),
        parameters,
        starts_by_itself: !arguments.no_events,
        bedrock: bedrock::Settings {
            model_url: arguments.model_url.clone(),
            model_name: arguments.model_name.clone(),
            minilm,
            batch_quotas: bedrock::BatchQuotas {
                least_records: arguments.batch_min_records,
                ..bedrock::BatchQuotas::default()
            },
            ..bedrock::Settings::default()
        },
    };
    cloud::start(config)
        .await
        .map_err(|error| Failure(error.to_string()))
}

fn files(path: &str) -> Option<&'static str> {
    match path {
        "infra/ingest.asl.json" => Some(include_str!("../../../infra/ingest.asl.json")),
        "infra/guardrail.json" => Some(include_str!("../../../infra/guardrail.json")),
        _ => None,
    }
}

/// Runs until Ctrl-C.
pub async fn run(arguments: DevArguments) -> Result<u8, Failure> {
    let level = if arguments.verbose {
        tracing::Level::INFO
    } else {
        tracing::Level::WARN
    };
    aws::telemetry::start_plain(level);
    let fresh = is_fresh(&arguments.data);
    let cloud = start(&arguments).await?;
    output::line(&format!("Outcrop {} runs.", env!("CARGO_PKG_VERSION")));
    output::line(&format!("  page and API   {}", cloud.api));
    output::line(&format!(
        "  AWS services   {}   (access key and secret: outcrop)",
        cloud.aws
    ));
    output::line(&format!("  data           {}", arguments.data.display()));
    if let Some(by_itself) = &cloud.by_itself {
        print_by_itself(by_itself, &arguments.sync_spaces);
    }
    for (id, kind) in &cloud.skipped {
        tracing::info!(id, kind, "the laptop does not run this resource");
    }
    let begun = async {
        let api = Api::new(&cloud.api, "default")?;
        if fresh && !arguments.no_sample {
            ingest_sample(&api).await?;
        }
        print_hints(&cloud.api);
        Ok::<(), Failure>(())
    };
    tokio::select! {
        begun = begun => if let Err(Failure(words)) = begun {
            // The instance is of use without its sample.
            output::error_line(&format!("the sample handbook could not be ingested: {words}"));
        },
        () = asked_to_end() => {
            cloud.shutdown().await;
            return Ok(DONE);
        }
    }
    asked_to_end().await;
    output::note("ending; what was stored stays");
    cloud.shutdown().await;
    Ok(DONE)
}

/// Ctrl-C, or the signal that a supervisor sends.
async fn asked_to_end() {
    let Ok(mut terminate) =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
    else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Whether nothing was ever stored in this folder.
fn is_fresh(data: &Path) -> bool {
    !data.join("dynamodb.db").exists()
}

async fn ingest_sample(api: &Api) -> Result<(), Failure> {
    let files: Vec<_> = SAMPLE.files().collect();
    let bar = output::progress(files.len() as u64, "sample");
    let uploads: Vec<_> = files
        .iter()
        .filter_map(|file| Some((file.path().to_str()?, file.contents())))
        .map(|(name, content)| async move {
            let name = format!("bedrock-handbook/{name}");
            api.upload_bytes(&name, content, &["everyone".to_owned()])
                .await
                .map_err(|unsent| match unsent {
                    Unsent::File(reason) => Failure(format!("{name}: {reason}")),
                    Unsent::Instance(failure) => failure,
                })
        })
        .collect();
    let mut uploads = stream::iter(uploads).buffered(8);
    let mut ids = Vec::new();
    while let Some(id) = uploads.next().await {
        ids.push(id?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    for run in ingest_documents(api, &ids).await? {
        let (status, published) = (&run["status"], &run["counts"]["published"]);
        output::line(&format!(
            "  sample         {published} documents, {}",
            status.as_str().unwrap_or_default()
        ));
    }
    Ok(())
}

/// What starts runs without a command.
fn print_by_itself(by_itself: &ByItself, spaces: &str) {
    for folder in &by_itself.folders {
        let seconds = by_itself.gather.as_secs();
        output::line(&format!(
            "  by itself      takes what changes in {}, {seconds} seconds later",
            folder.display()
        ));
    }
    for schedule in &by_itself.schedules {
        output::line(&format!("                 syncs {spaces}: {schedule}"));
    }
}

fn print_hints(api: &str) {
    output::line("\nTry:");
    output::line(&format!(
        "  curl -s {api}/v1/ask -H 'content-type: application/json' -d '{{\"question\": \"How many ingestion jobs can a knowledge base run at once?\"}}'"
    ));
    let url = if api.ends_with(":8787") {
        String::new()
    } else {
        format!(" --url {api}")
    };
    output::line(&format!(
        "  cargo run --release -- ask \"What does the guardrail do with an e-mail address?\"{url}"
    ));
    output::line(&format!("  cargo run --release -- ingest README.md{url}"));
    output::line("\nCtrl-C ends it.");
}
