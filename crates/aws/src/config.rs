//! The environment, read once into a type that can only be right. No other file reads a variable.

use std::path::PathBuf;
use std::time::Duration;

use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use serde::Deserialize;

use crate::RetrieverSetting;
use crate::bedrock::GuardrailRef;

/// Amazon Trust Services' five roots: every endpoint of the AWS partition chains to one of them. Reading five
/// certificates instead of the system's 140 saves about 4 ms of CPU at start.
const AMAZON_ROOTS: &[u8] = include_bytes!("roots/amazon.pem");

/// The name by which the IAM callers of the account stand among [`Settings::admins`].
pub const ACCOUNT: &str = "account";

/// A variable that is missing or cannot be what it says. The message names the variable and an example.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{variable} {problem}; set it, for example {variable}={example}")]
pub struct ConfigError {
    pub variable: &'static str,
    pub problem: String,
    pub example: &'static str,
}

impl ConfigError {
    /// The machine-readable name.
    pub fn name(&self) -> &'static str {
        "InvalidConfiguration"
    }
}

/// Everything a function takes from its environment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// DynamoDB table name.
    pub table: String,
    /// Bucket for sources, texts, segments and runs.
    pub bucket: String,
    /// ARN of the ingestion state machine.
    pub state_machine_arn: String,
    /// Model, inference profile or prompt router that writes answers.
    pub answer_model: String,
    /// Models that a caller may name instead; comma-separated in `OUTCROP_ALLOWED_MODELS`.
    pub allowed_models: Vec<String>,
    /// Model that puts follow-ups into words that stand alone; the one that answers where none is named.
    pub condense_model: Option<String>,
    /// Rerankers that spaces may set; comma-separated in `OUTCROP_RERANK_MODELS`.
    pub rerank_models: Vec<String>,
    /// The reranker of spaces that say nothing else: the first of those, none where `off` stands before them.
    pub rerank_model: Option<String>,
    /// Whether passages are kept in the models' prompt caches, and for how long; `OUTCROP_PROMPT_CACHE`.
    pub prompt_cache: Option<CacheTtl>,
    /// The service tier that answers are asked for in; `OUTCROP_SERVICE_TIER`.
    pub service_tier: ServiceTier,
    /// How long a model is waited for.
    pub model_timeouts: ModelTimeouts,
    /// Embedding model id.
    pub embed_model: String,
    /// Components of an embedding.
    pub embed_dimensions: u32,
    /// What the account may ask of the embedding model, where that is not AWS's default.
    pub embed_quota: EmbedQuota,
    /// The role that Bedrock takes for batch jobs; without one there are none.
    pub batch_role_arn: Option<String>,
    /// Who finds the passages of a space that says nothing else.
    pub retriever: RetrieverSetting,
    /// The guardrail that questions, answers and documents go through; without one nothing is guarded.
    pub guardrail: Option<GuardrailRef>,
    /// How answers are guarded.
    pub guard_mode: GuardMode,
    /// Principals that administer every space; `account` stands for the IAM callers of the account.
    pub admins: Vec<String>,
    /// The share of a space's documents, in percent, that a run over the whole source deletes without being told to.
    pub brake_percent: u64,
    /// Batches of one run that are brought through side by side; the quota of the embedding model is kept whatever this is.
    pub ingest_concurrency: u64,
    /// Days that answers and conversations are kept for those who asked; 0: not at all.
    pub history_days: u64,
    /// Requests in a minute, for spaces that say nothing else.
    pub request_limits: RequestLimits,
    /// Tokens of one answer at the most.
    pub answer_tokens: u32,
    /// SDK attempts after the first, of calls to storage.
    pub sdk_retries: u32,
    /// SDK attempts after the first, of calls to models. 0 inside ingestion steps, where the state machine retries.
    pub model_retries: u32,
    /// How long a step that embeds works before it hands over to another: 600 s, which leaves time for the last calls below
    /// the functions' own 900 s.
    pub step_slice: Duration,
    /// Bounds of the index files.
    pub index: IndexSettings,
    /// What agents may write, and how long it is remembered.
    pub agents: AgentSettings,
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    pub log_level: tracing::Level,
    region: String,
    credentials: Credentials,
    endpoints: Endpoints,
    ca_bundle: Option<Vec<u8>>,
    pub(crate) local: bool,
}

/// What an account may ask of the embedding model in a minute: `None` is AWS's default for the model, 0 any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EmbedQuota {
    /// `OUTCROP_EMBED_TOKENS_PER_MINUTE`.
    pub tokens_per_minute: Option<u64>,
    /// `OUTCROP_EMBED_REQUESTS_PER_MINUTE`.
    pub requests_per_minute: Option<u64>,
}

/// How long a model is waited for. All are below the functions' own time of 900 s, so that a silent model is told by
/// its name and not as a function that was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelTimeouts {
    /// Until a reply begins; `OUTCROP_MODEL_READ_TIMEOUT_SECONDS`, 60 by default.
    pub read: Duration,
    /// The longest silence within a stream; `OUTCROP_MODEL_IDLE_TIMEOUT_SECONDS`, 60 by default.
    pub idle: Duration,
    /// The whole call with its retries, or the whole stream; `OUTCROP_MODEL_OPERATION_TIMEOUT_SECONDS`, 600 by default.
    pub operation: Duration,
}

/// How long a step that embeds works before it hands over.
const STEP_SLICE: Duration = Duration::from_secs(600);

/// Until a reply of a store begins, what is sent included: without a bound a lost reply holds a step for all of its time.
const STORAGE_READ: Duration = Duration::from_secs(60);
/// Attempts after the first of a step's call to storage.
const STEP_STORAGE_RETRIES: u32 = 3;
/// The longest pause before the first of them; it doubles, and each is drawn between nothing and its length.
const STORAGE_PAUSE: Duration = Duration::from_millis(100);

/// The longest of [`ModelTimeouts`], in seconds.
const MODEL_TIMEOUT_SECONDS: u64 = 870;

/// How many requests are taken in a minute; 0 is any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestLimits {
    /// Of one caller in one space; `OUTCROP_CALLER_REQUESTS_PER_MINUTE`.
    pub caller_per_minute: u64,
    /// Of all callers of a space together; `OUTCROP_SPACE_REQUESTS_PER_MINUTE`.
    pub space_per_minute: u64,
}

/// The word for no reranker, in settings and of spaces.
pub const NO_RERANKER: &str = "off";
pub const RERANK_MODELS: &str = "OUTCROP_RERANK_MODELS";

/// Variables that a model may not be able to take.
pub const PROMPT_CACHE: &str = "OUTCROP_PROMPT_CACHE";
pub const SERVICE_TIER: &str = "OUTCROP_SERVICE_TIER";

const CALLER_REQUESTS: &str = "OUTCROP_CALLER_REQUESTS_PER_MINUTE";
/// The longest answer that may be configured, in tokens.
const ANSWER_TOKENS: u64 = 16_384;

/// The most children of one distributed Map. Source: Step Functions service quotas.
const INGEST_CONCURRENCY: u64 = 10_000;

/// How much of the index a function keeps, and how long replaced index files stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSettings {
    /// The temporary folder; `TMPDIR`, `/tmp` by default.
    pub folder: PathBuf,
    /// Bytes of segment files below it, over all spaces. Lambda's `/tmp` holds 512 MB unless
    /// `EphemeralStorage` says more.
    pub disk_bytes: u64,
    /// Bytes of segments held in memory, over all spaces.
    pub memory_bytes: u64,
    /// How long a replaced index file stays for functions that still read it.
    pub retired_grace: Duration,
}

/// Bounds of what agents write. Read by the `agent-action` function; the others leave the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    /// Writes of one session in a UTC day.
    pub session_writes: u64,
    /// Writes on behalf of one principal in a UTC day.
    pub principal_writes: u64,
    /// Days that an audit entry is kept.
    pub audit_days: u64,
    /// Issuer URL of the OAuth authorization server that MCP clients are sent to; none where IAM signs requests.
    pub oauth_issuer: Option<String>,
}

/// Where files go that nobody names a folder for.
const TEMPORARY: &str = "/tmp";

#[derive(Debug, Clone, Default)]
struct Endpoints {
    all: Option<String>,
    dynamodb: Option<String>,
    bedrock_runtime: Option<String>,
}

impl Settings {
    /// Reads the process environment.
    ///
    /// # Errors
    /// The first variable that is missing or malformed.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// The same settings with another number of SDK attempts after the first.
    pub fn with_sdk_retries(mut self, sdk_retries: u32) -> Self {
        (self.sdk_retries, self.model_retries) = (sdk_retries, sdk_retries);
        self
    }

    /// Whether other programs stand in for AWS, so that nothing is billed.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// The same settings with other slices of steps.
    pub fn with_step_slice(mut self, step_slice: Duration) -> Self {
        self.step_slice = step_slice;
        self
    }

    /// The settings of ingestion steps. Models are left to the state machine's retries, which know of quotas. Calls to
    /// storage are retried where they fail, within the SDK's budget: a step makes hundreds of them, and one that began
    /// anew for each would never end. See docs/decisions/034-one-retry-for-each-fault.md.
    pub fn for_steps(mut self) -> Self {
        (self.sdk_retries, self.model_retries) = (STEP_STORAGE_RETRIES, 0);
        self
    }

    /// Reads settings through `lookup`, which answers a variable's value.
    ///
    /// # Errors
    /// The first variable that is missing or malformed.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let required = |variable: &'static str, example: &'static str| {
            lookup(variable)
                .filter(|value| !value.trim().is_empty())
                .ok_or(ConfigError {
                    variable,
                    problem: "is not set".into(),
                    example,
                })
        };
        let endpoint = lookup("AWS_ENDPOINT_URL").filter(|value| !value.is_empty());
        let (rerank_models, rerank_model) = rerankers(lookup(RERANK_MODELS));
        Ok(Self {
            table: required("OUTCROP_TABLE", "outcrop")?,
            bucket: required("OUTCROP_BUCKET", "outcrop-documents")?,
            state_machine_arn: required(
                "OUTCROP_STATE_MACHINE_ARN",
                "arn:aws:states:us-east-1:000000000000:stateMachine:outcrop-ingest",
            )?,
            answer_model: required("OUTCROP_ANSWER_MODEL", "us.amazon.nova-lite-v1:0")?,
            allowed_models: listed(lookup("OUTCROP_ALLOWED_MODELS")),
            condense_model: lookup("OUTCROP_CONDENSE_MODEL")
                .filter(|value| !value.trim().is_empty()),
            rerank_models,
            rerank_model,
            prompt_cache: prompt_cache(lookup(PROMPT_CACHE))?,
            service_tier: service_tier(lookup(SERVICE_TIER))?,
            model_timeouts: ModelTimeouts {
                read: seconds(&lookup, "OUTCROP_MODEL_READ_TIMEOUT_SECONDS", 60)?,
                idle: seconds(&lookup, "OUTCROP_MODEL_IDLE_TIMEOUT_SECONDS", 60)?,
                operation: seconds(&lookup, "OUTCROP_MODEL_OPERATION_TIMEOUT_SECONDS", 600)?,
            },
            embed_model: required("OUTCROP_EMBED_MODEL", "amazon.titan-embed-text-v2:0")?,
            embed_dimensions: dimensions(&required("OUTCROP_EMBED_DIMENSIONS", "1024")?)?,
            embed_quota: EmbedQuota {
                tokens_per_minute: number("OUTCROP_EMBED_TOKENS_PER_MINUTE", &lookup, "300000")?,
                requests_per_minute: number("OUTCROP_EMBED_REQUESTS_PER_MINUTE", &lookup, "6000")?,
            },
            batch_role_arn: lookup("OUTCROP_BATCH_ROLE_ARN").filter(|arn| !arn.trim().is_empty()),
            retriever: retriever(lookup("OUTCROP_RETRIEVER"))?,
            guardrail: guardrail(&lookup)?,
            guard_mode: guard_mode(lookup("OUTCROP_GUARD_MODE"))?,
            // Set and empty: nobody but whom the spaces name.
            admins: listed(lookup("OUTCROP_ADMINS").or_else(|| Some(ACCOUNT.to_owned()))),
            brake_percent: whole("OUTCROP_BRAKE_PERCENT", &lookup, 20, "20")?,
            ingest_concurrency: ingest_concurrency(&lookup)?,
            history_days: whole("OUTCROP_HISTORY_DAYS", &lookup, 30, "30")?,
            request_limits: RequestLimits {
                caller_per_minute: whole(CALLER_REQUESTS, &lookup, 0, "600")?,
                space_per_minute: whole("OUTCROP_SPACE_REQUESTS_PER_MINUTE", &lookup, 0, "6000")?,
            },
            answer_tokens: answer_tokens(&lookup)?,
            sdk_retries: 2,
            model_retries: 2,
            step_slice: STEP_SLICE,
            index: index_settings(&lookup)?,
            agents: AgentSettings {
                session_writes: whole("OUTCROP_SESSION_WRITES", &lookup, 20, "20")?,
                principal_writes: whole("OUTCROP_PRINCIPAL_WRITES", &lookup, 200, "200")?,
                audit_days: whole("OUTCROP_AUDIT_DAYS", &lookup, 90, "90")?,
                oauth_issuer: lookup("OUTCROP_OAUTH_ISSUER").filter(|value| !value.is_empty()),
            },
            log_level: log_level(lookup("OUTCROP_LOG_LEVEL"))?,
            region: required("AWS_REGION", "us-east-1")?,
            credentials: Credentials::new(
                required("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")?,
                required("AWS_SECRET_ACCESS_KEY", "(the secret)")?,
                lookup("AWS_SESSION_TOKEN").filter(|value| !value.is_empty()),
                None,
                "environment",
            ),
            local: endpoint.is_some(),
            endpoints: Endpoints {
                all: endpoint,
                dynamodb: lookup("AWS_ENDPOINT_URL_DYNAMODB").filter(|value| !value.is_empty()),
                bedrock_runtime: lookup("AWS_ENDPOINT_URL_BEDROCK_RUNTIME")
                    .filter(|value| !value.is_empty()),
            },
            ca_bundle: ca_bundle(lookup("AWS_CA_BUNDLE"))?,
        })
    }
}

/// How long a prompt cache keeps what was written to it, counted from its last use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum CacheTtl {
    #[default]
    #[serde(rename = "5m")]
    FiveMinutes,
    #[serde(rename = "1h")]
    OneHour,
}

impl CacheTtl {
    /// The word in settings and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5m",
            Self::OneHour => "1h",
        }
    }
}

/// How soon a model answers, and at which price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceTier {
    #[default]
    Default,
    /// Later, for less.
    Flex,
    /// Before others, for more.
    Priority,
}

impl ServiceTier {
    /// The word in settings and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Flex => "flex",
            Self::Priority => "priority",
        }
    }
}

fn prompt_cache(text: Option<String>) -> Result<Option<CacheTtl>, ConfigError> {
    match text.as_deref().unwrap_or_default() {
        "" | "off" => Ok(None),
        "5m" => Ok(Some(CacheTtl::FiveMinutes)),
        "1h" => Ok(Some(CacheTtl::OneHour)),
        other => Err(ConfigError {
            variable: PROMPT_CACHE,
            problem: format!("is {other:?}, not one of off, 5m, 1h"),
            example: "5m",
        }),
    }
}

fn service_tier(text: Option<String>) -> Result<ServiceTier, ConfigError> {
    match text.as_deref().unwrap_or_default() {
        "" | "default" => Ok(ServiceTier::Default),
        "flex" => Ok(ServiceTier::Flex),
        "priority" => Ok(ServiceTier::Priority),
        other => Err(ConfigError {
            variable: SERVICE_TIER,
            problem: format!("is {other:?}, not one of default, flex, priority"),
            example: "flex",
        }),
    }
}

/// How an answer's text is guarded while it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardMode {
    /// Released sentence by sentence behind the guard.
    Window,
    /// Released when the whole answer has passed.
    Sync,
    /// Released at once and looked at afterwards: what should have been masked has been seen by then.
    Async,
    /// Not at all.
    Off,
}

impl GuardMode {
    /// The word in settings and replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Sync => "sync",
            Self::Async => "async",
            Self::Off => "off",
        }
    }
}

fn guard_mode(text: Option<String>) -> Result<GuardMode, ConfigError> {
    match text.as_deref().unwrap_or_default() {
        "" | "window" => Ok(GuardMode::Window),
        "sync" => Ok(GuardMode::Sync),
        "async" => Ok(GuardMode::Async),
        "off" => Ok(GuardMode::Off),
        other => Err(ConfigError {
            variable: "OUTCROP_GUARD_MODE",
            problem: format!("is {other:?}, not one of window, sync, async, off"),
            example: "window",
        }),
    }
}

/// An id without a version would be a guardrail that changes under the feet of the answers.
fn guardrail(
    lookup: &impl Fn(&str) -> Option<String>,
) -> Result<Option<GuardrailRef>, ConfigError> {
    let value = |variable: &str| lookup(variable).filter(|value| !value.trim().is_empty());
    match (
        value("OUTCROP_GUARDRAIL_ID"),
        value("OUTCROP_GUARDRAIL_VERSION"),
    ) {
        (None, _) => Ok(None),
        (Some(id), Some(version)) => Ok(Some(GuardrailRef { id, version })),
        (Some(_), None) => Err(ConfigError {
            variable: "OUTCROP_GUARDRAIL_VERSION",
            problem: "is not set, though OUTCROP_GUARDRAIL_ID is".into(),
            example: "1",
        }),
    }
}

/// The certificates to trust instead of Amazon's. A bundle that was named and cannot be read must not be left out quietly.
fn ca_bundle(path: Option<String>) -> Result<Option<Vec<u8>>, ConfigError> {
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    std::fs::read(&path).map(Some).map_err(|error| ConfigError {
        variable: "AWS_CA_BUNDLE",
        problem: format!("names {path:?}, which cannot be read ({error})"),
        example: "/etc/ssl/certs/ca-certificates.crt",
    })
}

fn listed(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    let names = text.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The rerankers of a list, and which of them is asked by default.
fn rerankers(text: Option<String>) -> (Vec<String>, Option<String>) {
    let mut models = listed(text);
    if models.first().is_some_and(|first| first == NO_RERANKER) {
        models.remove(0);
        return (models, None);
    }
    let first = models.first().cloned();
    (models, first)
}

fn seconds(
    lookup: &impl Fn(&str) -> Option<String>,
    variable: &'static str,
    default: u64,
) -> Result<Duration, ConfigError> {
    let Some(text) = lookup(variable).filter(|value| !value.is_empty()) else {
        return Ok(Duration::from_secs(default));
    };
    text.parse()
        .ok()
        .filter(|value| (1..=MODEL_TIMEOUT_SECONDS).contains(value))
        .map(Duration::from_secs)
        .ok_or(ConfigError {
            variable,
            problem: format!("is {text:?}, not a whole number from 1 to {MODEL_TIMEOUT_SECONDS}"),
            example: "60",
        })
}

fn index_settings(lookup: &impl Fn(&str) -> Option<String>) -> Result<IndexSettings, ConfigError> {
    let whole = |variable: &'static str, default: &'static str| {
        let text = lookup(variable).filter(|value| !value.trim().is_empty());
        let text = text.unwrap_or_else(|| default.to_owned());
        let number: Option<u32> = text.trim().parse().ok();
        number.map(u64::from).ok_or(ConfigError {
            variable,
            problem: format!("is {text:?}, not a whole number"),
            example: default,
        })
    };
    let folder = lookup("TMPDIR").filter(|folder| !folder.is_empty());
    Ok(IndexSettings {
        folder: folder.map_or_else(|| TEMPORARY.into(), PathBuf::from),
        disk_bytes: whole("OUTCROP_INDEX_DISK_MB", "448")? << 20,
        memory_bytes: whole("OUTCROP_INDEX_MEMORY_MB", "256")? << 20,
        retired_grace: Duration::from_secs(whole("OUTCROP_RETIRED_GRACE_SECONDS", "3600")?),
    })
}

/// A whole number that may be left out.
fn whole(
    variable: &'static str,
    lookup: impl Fn(&str) -> Option<String>,
    default: u64,
    example: &'static str,
) -> Result<u64, ConfigError> {
    let Some(text) = lookup(variable).filter(|value| !value.is_empty()) else {
        return Ok(default);
    };
    text.parse().map_err(|_| ConfigError {
        variable,
        problem: format!("is {text:?}, not a whole number"),
        example,
    })
}

/// The same where leaving it out means something else than any number does.
fn number(
    variable: &'static str,
    lookup: impl Fn(&str) -> Option<String>,
    example: &'static str,
) -> Result<Option<u64>, ConfigError> {
    let text = lookup(variable).filter(|value| !value.is_empty());
    text.map(|_| whole(variable, &lookup, 0, example))
        .transpose()
}

fn ingest_concurrency(lookup: &impl Fn(&str) -> Option<String>) -> Result<u64, ConfigError> {
    let variable = "OUTCROP_INGEST_CONCURRENCY";
    let number = whole(variable, lookup, 10, "10")?;
    if (1..=INGEST_CONCURRENCY).contains(&number) {
        return Ok(number);
    }
    Err(ConfigError {
        variable,
        problem: format!("is {number}, not from 1 to {INGEST_CONCURRENCY}"),
        example: "10",
    })
}

fn answer_tokens(lookup: &impl Fn(&str) -> Option<String>) -> Result<u32, ConfigError> {
    let variable = "OUTCROP_ANSWER_TOKENS";
    let tokens = whole(variable, lookup, 1_024, "1024")?;
    let fits = (1..=ANSWER_TOKENS).contains(&tokens);
    u32::try_from(tokens)
        .ok()
        .filter(|_| fits)
        .ok_or(ConfigError {
            variable,
            problem: format!("is {tokens}, not from 1 to {ANSWER_TOKENS}"),
            example: "1024",
        })
}

fn dimensions(text: &str) -> Result<u32, ConfigError> {
    text.parse()
        .ok()
        .filter(|value| (1..=4096).contains(value))
        .ok_or(ConfigError {
            variable: "OUTCROP_EMBED_DIMENSIONS",
            problem: format!("is {text:?}, not a whole number from 1 to 4096"),
            example: "1024",
        })
}

fn retriever(text: Option<String>) -> Result<RetrieverSetting, ConfigError> {
    let Some(text) = text.filter(|value| !value.is_empty()) else {
        return Ok(RetrieverSetting::Embedded);
    };
    let wrong = |problem: String| ConfigError {
        variable: "OUTCROP_RETRIEVER",
        problem,
        example: "embedded",
    };
    let setting = text
        .parse()
        .map_err(|error: crate::NoRetriever| wrong(format!("cannot be read: {error}")))?;
    // Every space would want to fill it.
    match setting {
        RetrieverSetting::KnowledgeBase {
            data_source: Some(_),
            ..
        } => Err(wrong(
            "names a data source, which one space fills; set it with PUT /v1/spaces/{space}"
                .to_owned(),
        )),
        setting => Ok(setting),
    }
}

fn log_level(text: Option<String>) -> Result<tracing::Level, ConfigError> {
    let Some(text) = text.filter(|value| !value.is_empty()) else {
        return Ok(tracing::Level::INFO);
    };
    text.parse().map_err(|_| ConfigError {
        variable: "OUTCROP_LOG_LEVEL",
        problem: format!("is {text:?}, not one of ERROR, WARN, INFO, DEBUG, TRACE"),
        example: "INFO",
    })
}

/// One HTTP client, one credentials source and one retry policy for every service client.
///
/// Credentials come from the environment only, as Lambda gives them: the profile, SSO and instance-metadata chain
/// would cost code size and start-up time for nothing.
pub(crate) fn sdk_config(settings: &Settings) -> SdkConfig {
    let mut builder = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(settings.credentials.clone()))
        .sleep_impl(TokioSleep::new())
        .time_source(SystemTimeSource::new())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(3))
                .read_timeout(STORAGE_READ)
                .build(),
        )
        .retry_config(
            RetryConfig::standard()
                .with_initial_backoff(STORAGE_PAUSE)
                .with_max_attempts(settings.sdk_retries + 1),
        )
        .http_client(http_client(settings));
    if let Ok(name) = AppName::new("outcrop") {
        builder = builder.app_name(name);
    }
    if let Some(endpoint) = &settings.endpoints.all {
        builder = builder.endpoint_url(endpoint);
    }
    builder.build()
}

/// What the ARNs of the foundation models of the functions' Region begin with.
pub(crate) fn foundation_models(settings: &Settings) -> String {
    // The functions' own ARNs name the partition.
    let partition = settings.state_machine_arn.split(':').nth(1);
    let (partition, region) = (partition.unwrap_or("aws"), &settings.region);
    format!("arn:{partition}:bedrock:{region}::foundation-model/")
}

/// The endpoint of DynamoDB alone, by the AWS SDKs' own variable.
pub(crate) fn dynamodb_endpoint(settings: &Settings) -> Option<&str> {
    settings.endpoints.dynamodb.as_deref()
}

/// The endpoint of the models alone, by the AWS SDKs' own variable: another emulator has everything but models.
pub(crate) fn bedrock_runtime_endpoint(settings: &Settings) -> Option<&str> {
    settings.endpoints.bedrock_runtime.as_deref()
}

fn http_client(settings: &Settings) -> aws_smithy_runtime_api::client::http::SharedHttpClient {
    if settings.local {
        return Builder::new().build_http();
    }
    let roots = tls::TrustStore::empty()
        .with_native_roots(false)
        .with_pem_certificate(
            settings
                .ca_bundle
                .clone()
                .unwrap_or_else(|| AMAZON_ROOTS.to_vec()),
        );
    let builder = Builder::new().tls_provider(tls::Provider::Rustls(
        tls::rustls_provider::CryptoMode::Ring,
    ));
    match tls::TlsContext::builder().with_trust_store(roots).build() {
        Ok(context) => builder.tls_context(context).build_https(),
        Err(_) => builder.build_https(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn complete() -> BTreeMap<&'static str, &'static str> {
        BTreeMap::from([
            ("OUTCROP_TABLE", "t"),
            ("OUTCROP_BUCKET", "b"),
            ("OUTCROP_STATE_MACHINE_ARN", "arn"),
            ("OUTCROP_ANSWER_MODEL", "m"),
            ("OUTCROP_EMBED_MODEL", "e"),
            ("OUTCROP_EMBED_DIMENSIONS", "1024"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "k"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
        ])
    }

    #[test]
    fn the_account_administers_unless_others_are_named() {
        let check = |value: Option<&'static str>, expected: &[&str]| {
            let mut variables = complete();
            variables.extend(value.map(|value| ("OUTCROP_ADMINS", value)));
            assert_eq!(read(&variables).unwrap().admins, expected, "{value:?}");
        };
        check(None, &["account"]);
        check(Some(""), &[]);
        check(Some("group:ops, user:ada"), &["group:ops", "user:ada"]);
    }

    #[test]
    fn bounds_of_the_index_have_defaults() {
        let mut variables = complete();
        let index = read(&variables).unwrap().index;
        assert_eq!(
            (index.disk_bytes, index.memory_bytes),
            (448 << 20, 256 << 20)
        );
        assert_eq!(index.retired_grace, Duration::from_secs(3600));
        variables.insert("OUTCROP_INDEX_DISK_MB", "2048");
        assert_eq!(read(&variables).unwrap().index.disk_bytes, 2 << 30);
    }

    #[test]
    fn the_first_reranker_orders_unless_off_stands_before_it() {
        let check = |list: &str, models: &[&str], first: Option<&str>| {
            let mut variables = complete();
            variables.insert(RERANK_MODELS, list);
            let settings = read(&variables).unwrap();
            assert_eq!(settings.rerank_models, models, "{list}");
            assert_eq!(settings.rerank_model.as_deref(), first, "{list}");
        };
        check("", &[], None);
        check("off", &[], None);
        check("m-one, m-two", &["m-one", "m-two"], Some("m-one"));
        check("off,m-one", &["m-one"], None);
    }

    #[test]
    fn models_are_named_in_the_partition_and_region_of_the_functions() {
        let check = |machine: &'static str, expected: &str| {
            let mut variables = complete();
            variables.insert("OUTCROP_STATE_MACHINE_ARN", machine);
            variables.insert("AWS_REGION", "eu-central-1");
            let settings = read(&variables).unwrap();
            assert_eq!(foundation_models(&settings), expected);
        };
        check(
            "arn:aws-us-gov:states:r:1:stateMachine:m",
            "arn:aws-us-gov:bedrock:eu-central-1::foundation-model/",
        );
        check("m", "arn:aws:bedrock:eu-central-1::foundation-model/");
    }

    fn read(variables: &BTreeMap<&str, &str>) -> Result<Settings, ConfigError> {
        Settings::from_lookup(|name| variables.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let check = |variable: &'static str, value: Option<&'static str>| {
            let mut variables = complete();
            match value {
                Some(value) => variables.insert(variable, value),
                None => variables.remove(variable),
            };
            let error = read(&variables).unwrap_err();
            assert_eq!(
                (error.variable, error.name()),
                (variable, "InvalidConfiguration")
            );
            assert!(error.to_string().contains(variable));
        };
        assert!(read(&complete()).is_ok());
        for variable in complete().keys() {
            check(variable, None);
            check(variable, Some(" "));
        }
        check("OUTCROP_EMBED_DIMENSIONS", Some("many"));
        check("OUTCROP_EMBED_DIMENSIONS", Some("0"));
        check("OUTCROP_EMBED_DIMENSIONS", Some("5000"));
        check("OUTCROP_INDEX_DISK_MB", Some("-1"));
        check("OUTCROP_INDEX_MEMORY_MB", Some("much"));
        check("OUTCROP_RETIRED_GRACE_SECONDS", Some("1 h"));
        check("OUTCROP_GUARD_MODE", Some("sometimes"));
        let half = |name: &str| match name {
            "OUTCROP_GUARDRAIL_ID" => Some("g".to_owned()),
            name => complete().get(name).map(|value| (*value).to_owned()),
        };
        let error = Settings::from_lookup(half).unwrap_err();
        assert_eq!(error.variable, "OUTCROP_GUARDRAIL_VERSION");
        check("OUTCROP_PROMPT_CACHE", Some("2h"));
        check("OUTCROP_SERVICE_TIER", Some("gold"));
        check("OUTCROP_LOG_LEVEL", Some("LOUD"));
        check("OUTCROP_MODEL_READ_TIMEOUT_SECONDS", Some("0"));
        check("OUTCROP_MODEL_IDLE_TIMEOUT_SECONDS", Some("a minute"));
        check("OUTCROP_MODEL_OPERATION_TIMEOUT_SECONDS", Some("900"));
        check("OUTCROP_RETRIEVER", Some("opensearch"));
        check("OUTCROP_RETRIEVER", Some("bedrock"));
        check("OUTCROP_RETRIEVER", Some("bedrock:ABCDEFGHIJ/KLMNOPQRST"));
        check("OUTCROP_SESSION_WRITES", Some("-1"));
        check("OUTCROP_PRINCIPAL_WRITES", Some("many"));
        check("OUTCROP_AUDIT_DAYS", Some("1.5"));
        check("OUTCROP_CALLER_REQUESTS_PER_MINUTE", Some("-1"));
        check("OUTCROP_SPACE_REQUESTS_PER_MINUTE", Some("many"));
        check("OUTCROP_ANSWER_TOKENS", Some("0"));
        check("OUTCROP_ANSWER_TOKENS", Some("16385"));
        check("AWS_CA_BUNDLE", Some("/nowhere/at/all.pem"));
    }
}
