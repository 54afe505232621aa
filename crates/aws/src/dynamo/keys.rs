//! The key grammar of the one table, both directions.
//!
//! | item | partition | sort |
//! |---|---|---|
//! | space settings | `SPACE#<space>` | `SETTINGS` |
//! | manifest | `SPACE#<space>` | `MANIFEST` |
//! | document | `SPACE#<space>` | `DOCUMENT#<document id>` |
//! | announced upload | `SPACE#<space>` | `UPLOAD#<document id>` |
//! | the run over the whole source that is under way | `SPACE#<space>` | `UNDERWAY` |
//! | a source that a space asks | `SPACE#<space>` | `SOURCE#<name>` |
//! | a request that may come again | `IDEMPOTENCY#<digest of caller and key>` | `REQUEST` |
//! | run | `RUN#<run id>` (index: `SPACE#<space>#RUNS`, `<run id>`) | `RUN` |
//! | a run's batch | `RUN#<run id>` | `BATCH#<batch id>` |
//! | a run's embedding job | `RUN#<run id>` | `JOB#<number, five digits>` |
//! | state of a space's vectors | `SPACE#<space>` | `VECTORS` |
//! | state of the knowledge base that a space fills | `SPACE#<space>` | `KNOWLEDGEBASE` |
//! | a passage's vector for one reader | `VECTOR#<document id>` | `<version>#<ordinal>#<reader's number>` |
//! | order | `ORDER#<space>#<order number>` | `ORDER` |
//! | ticket | `TICKET#<ticket id>` (index: `SPACE#<space>#TICKETS`, `<ticket id>`) | `TICKET` |
//! | note | `ABOUT#<document or ticket id>` | `NOTE#<note id>` |
//! | flag | `ABOUT#<document id>` (index: `SPACE#<space>#FLAGS`, `<flag id>`) | `FLAG#<flag id>` |
//! | a write that an agent made | `WRITE#<digest of session, action and arguments>` | `WRITE` |
//! | count of an agent's writes | `WRITES#<digest of session or principal>` | `DAY#<yyyy-mm-dd>` |
//! | requests of a minute | `RATE#<space>#<digest of the caller, or all>` | `MINUTE#<minutes since the epoch>` |
//! | what a model took in a space on a day | `USAGE#<space>` | `DAY#<yyyy-mm-dd>#<model>` |
//! | what a space spent and holds of its budget | `BUDGET#<space>` | `MONTH#<yyyy-mm>` |
//! | pace of a model | `PACE#<digest of the model>` | `PACE` |
//! | audit entry | `AUDIT#<space>#<yyyy-mm-dd>` | `ENTRY#<entry id>` |
//! | answer | `ANSWER#<answer id>` | `ANSWER` |
//! | conversation | `CONVERSATION#<conversation id>` | `CONVERSATION` |
//! | a conversation's turn | `CONVERSATION#<conversation id>` | `TURN#<turn id>` |
//!
//! Ids carry their space: `<space>.<id>`, so that an id alone finds its partition.

/// Where an item stands: partition and sort key, and its place in the index by space where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub partition: String,
    pub sort: String,
    pub by_space: Option<(String, String)>,
}

/// What a key names; the reverse of the functions below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    Settings {
        space: String,
    },
    Manifest {
        space: String,
    },
    Document {
        document_id: String,
    },
    Upload {
        document_id: String,
    },
    Run {
        run_id: String,
    },
    Batch {
        run_id: String,
        batch_id: String,
    },
    Job {
        run_id: String,
        number: u32,
    },
    Order {
        space: String,
        number: String,
    },
    Ticket {
        ticket_id: String,
    },
    Note {
        about: String,
        note_id: String,
    },
    Flag {
        document_id: String,
        flag_id: String,
    },
    Write {
        digest: String,
    },
    Writes {
        digest: String,
        day: String,
    },
    Rate {
        space: String,
        digest: String,
        minute: u64,
    },
    Pace {
        digest: String,
    },
    Usage {
        space: String,
        day: String,
        model: String,
    },
    Budget {
        space: String,
        month: String,
    },
    Audit {
        space: String,
        day: String,
        entry_id: String,
    },
    Answer {
        answer_id: String,
    },
    Conversation {
        conversation_id: String,
    },
    Turn {
        conversation_id: String,
        turn_id: String,
    },
    VectorState {
        space: String,
    },
    KnowledgeBaseState {
        space: String,
    },
    UnderWay {
        space: String,
    },
    Source {
        space: String,
        name: String,
    },
    Idempotency {
        digest: String,
    },
    Vector(VectorName),
}

/// A vector of the index: of one passage, for one of the document's readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorName {
    pub document_id: String,
    /// Digest of all that the vector was written for; lowercase hex.
    pub version: String,
    /// The passage within the document.
    pub ordinal: u32,
    /// The reader among the document's readers.
    pub reader: u32,
}

pub const DOCUMENT_PREFIX: &str = "DOCUMENT#";
pub const UPLOAD_PREFIX: &str = "UPLOAD#";
pub const SOURCE_PREFIX: &str = "SOURCE#";
pub const BATCH_PREFIX: &str = "BATCH#";
pub const JOB_PREFIX: &str = "JOB#";
const VECTOR_PREFIX: &str = "VECTOR#";
pub const NOTE_PREFIX: &str = "NOTE#";
pub const FLAG_PREFIX: &str = "FLAG#";
pub const ENTRY_PREFIX: &str = "ENTRY#";
pub const TURN_PREFIX: &str = "TURN#";
pub const DAY_PREFIX: &str = "DAY#";

/// The longest name of a space, in bytes.
pub const SPACE_NAME_BYTES: usize = 40;

/// Whether `text` may name a space: 1 to 40 of `a-z`, `0-9` and `-`, beginning with a letter or digit.
pub fn is_space_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=SPACE_NAME_BYTES).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
}

/// The space that a document or run id carries; `None` where `id` is not of the form `<space>.<id>`.
pub fn space_of(id: &str) -> Option<&str> {
    let (space, rest) = id.split_once('.')?;
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let whole = !rest.is_empty() && rest.len() <= 64 && rest.bytes().all(allowed);
    (is_space_name(space) && whole).then_some(space)
}

pub fn space_partition(space: &str) -> String {
    format!("SPACE#{space}")
}

pub fn runs_partition(space: &str) -> String {
    format!("SPACE#{space}#RUNS")
}

pub fn run_partition(run_id: &str) -> String {
    format!("RUN#{run_id}")
}

fn plain(partition: String, sort: String) -> Key {
    Key {
        partition,
        sort,
        by_space: None,
    }
}

pub fn settings(space: &str) -> Key {
    plain(space_partition(space), "SETTINGS".into())
}

pub fn manifest(space: &str) -> Key {
    plain(space_partition(space), "MANIFEST".into())
}

/// `document_id` must carry its space; see [`space_of`].
pub fn document(document_id: &str) -> Key {
    let space = space_of(document_id).unwrap_or_default();
    plain(
        space_partition(space),
        format!("{DOCUMENT_PREFIX}{document_id}"),
    )
}

/// The upload that is to become this document; its id must carry its space.
pub fn upload(document_id: &str) -> Key {
    let space = space_of(document_id).unwrap_or_default();
    plain(
        space_partition(space),
        format!("{UPLOAD_PREFIX}{document_id}"),
    )
}

/// `run_id` must carry its space; see [`space_of`].
pub fn run(run_id: &str) -> Key {
    let space = space_of(run_id).unwrap_or_default();
    Key {
        partition: run_partition(run_id),
        sort: "RUN".into(),
        by_space: Some((runs_partition(space), run_id.to_owned())),
    }
}

pub fn batch(run_id: &str, batch_id: &str) -> Key {
    plain(run_partition(run_id), format!("{BATCH_PREFIX}{batch_id}"))
}

/// `number` is below 100,000.
pub fn job(run_id: &str, number: u32) -> Key {
    plain(run_partition(run_id), format!("{JOB_PREFIX}{number:05}"))
}

pub fn vector_state(space: &str) -> Key {
    plain(space_partition(space), "VECTORS".into())
}

pub fn knowledge_base_state(space: &str) -> Key {
    plain(space_partition(space), "KNOWLEDGEBASE".into())
}

pub fn under_way(space: &str) -> Key {
    plain(space_partition(space), "UNDERWAY".into())
}

/// `name` is of the form of a space's name; see [`is_space_name`].
pub fn source(space: &str, name: &str) -> Key {
    plain(space_partition(space), format!("{SOURCE_PREFIX}{name}"))
}

/// `digest` is of lowercase letters and digits.
pub fn idempotency(digest: &str) -> Key {
    plain(format!("IDEMPOTENCY#{digest}"), "REQUEST".into())
}

pub fn vectors_partition(document_id: &str) -> String {
    format!("{VECTOR_PREFIX}{document_id}")
}

/// `document_id` must carry its space; see [`space_of`].
pub fn vector(name: &VectorName) -> Key {
    let sort = format!("{}#{}#{}", name.version, name.ordinal, name.reader);
    plain(vectors_partition(&name.document_id), sort)
}

fn parse_vector(document_id: &str, sort: &str) -> Option<VectorName> {
    space_of(document_id)?;
    let mut parts = sort.split('#');
    let (version, ordinal, reader) = (parts.next()?, parts.next()?, parts.next()?);
    let name = VectorName {
        document_id: document_id.to_owned(),
        version: version.to_owned(),
        ordinal: ordinal.parse().ok()?,
        reader: reader.parse().ok()?,
    };
    // Only as it is written: neither `007` nor a fourth part.
    (!version.is_empty() && vector(&name).sort == sort).then_some(name)
}

/// Whether `text` may be an order's number: 1 to 64 of letters, digits, `-`, `_` and `.`.
pub fn is_order_number(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

/// `space` must be a space's name and `number` an order's; see [`is_order_number`].
pub fn order(space: &str, number: &str) -> Key {
    plain(format!("ORDER#{space}#{number}"), "ORDER".into())
}

pub fn tickets_partition(space: &str) -> String {
    format!("SPACE#{space}#TICKETS")
}

/// `ticket_id` must carry its space; see [`space_of`].
pub fn ticket(ticket_id: &str) -> Key {
    let space = space_of(ticket_id).unwrap_or_default();
    Key {
        partition: format!("TICKET#{ticket_id}"),
        sort: "TICKET".into(),
        by_space: Some((tickets_partition(space), ticket_id.to_owned())),
    }
}

/// Where notes and flags about a document or ticket stand.
pub fn about_partition(id: &str) -> String {
    format!("ABOUT#{id}")
}

/// `about` must carry its space; see [`space_of`].
pub fn note(about: &str, note_id: &str) -> Key {
    plain(about_partition(about), format!("{NOTE_PREFIX}{note_id}"))
}

pub fn flags_partition(space: &str) -> String {
    format!("SPACE#{space}#FLAGS")
}

/// `document_id` must carry its space; see [`space_of`].
pub fn flag(document_id: &str, flag_id: &str) -> Key {
    let space = space_of(document_id).unwrap_or_default();
    Key {
        partition: about_partition(document_id),
        sort: format!("{FLAG_PREFIX}{flag_id}"),
        by_space: Some((flags_partition(space), flag_id.to_owned())),
    }
}

/// `digest` is of lowercase letters and digits, as are the digests below.
pub fn write(digest: &str) -> Key {
    plain(format!("WRITE#{digest}"), "WRITE".into())
}

/// `day` is `yyyy-mm-dd`.
pub fn writes(digest: &str, day: &str) -> Key {
    plain(format!("WRITES#{digest}"), format!("{DAY_PREFIX}{day}"))
}

/// `digest` is of lowercase letters and digits; `minute` counts from the epoch.
pub fn rate(space: &str, digest: &str, minute: u64) -> Key {
    plain(format!("RATE#{space}#{digest}"), format!("MINUTE#{minute}"))
}

/// `digest` is of lowercase letters and digits.
pub fn pace(digest: &str) -> Key {
    plain(format!("PACE#{digest}"), "PACE".into())
}

/// Whether `text` may name a model in a key: 1 to 512 of letters, digits and `._:/=-`, as ids, ARNs and what these stand for
/// are made of.
pub fn is_model_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/=-".contains(&byte);
    (1..=512).contains(&text.len()) && text.bytes().all(allowed)
}

pub fn usage_partition(space: &str) -> String {
    format!("USAGE#{space}")
}

/// `day` is `yyyy-mm-dd`; of `model` see [`is_model_name`].
pub fn usage(space: &str, day: &str, model: &str) -> Key {
    plain(usage_partition(space), format!("{DAY_PREFIX}{day}#{model}"))
}

/// `month` is `yyyy-mm`.
pub fn budget(space: &str, month: &str) -> Key {
    plain(format!("BUDGET#{space}"), format!("MONTH#{month}"))
}

pub fn audit_partition(space: &str, day: &str) -> String {
    format!("AUDIT#{space}#{day}")
}

pub fn audit(space: &str, day: &str, entry_id: &str) -> Key {
    plain(
        audit_partition(space, day),
        format!("{ENTRY_PREFIX}{entry_id}"),
    )
}

/// `answer_id` must carry its space; see [`space_of`].
pub fn answer(answer_id: &str) -> Key {
    plain(format!("ANSWER#{answer_id}"), "ANSWER".into())
}

pub fn conversation_partition(conversation_id: &str) -> String {
    format!("CONVERSATION#{conversation_id}")
}

/// `conversation_id` must carry its space; see [`space_of`].
pub fn conversation(conversation_id: &str) -> Key {
    plain(
        conversation_partition(conversation_id),
        "CONVERSATION".into(),
    )
}

/// `turn_id` is of lowercase letters and digits.
pub fn turn(conversation_id: &str, turn_id: &str) -> Key {
    plain(
        conversation_partition(conversation_id),
        format!("{TURN_PREFIX}{turn_id}"),
    )
}

/// Reads a key of what was asked and answered.
fn parse_answers(partition: &str, sort: &str) -> Option<Named> {
    let (kind, id) = partition.split_once('#')?;
    space_of(id)?;
    let id = id.to_owned();
    match (kind, sort) {
        ("ANSWER", "ANSWER") => Some(Named::Answer { answer_id: id }),
        ("CONVERSATION", "CONVERSATION") => Some(Named::Conversation {
            conversation_id: id,
        }),
        ("CONVERSATION", _) => id_after(sort, TURN_PREFIX).map(|turn_id| Named::Turn {
            conversation_id: id,
            turn_id,
        }),
        _ => None,
    }
}

/// Lowercase letters and digits, as ids and digests are made of.
fn is_plain_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_day(text: &str) -> bool {
    let digit = |at: usize, byte: u8| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 10 && text.bytes().enumerate().all(|(at, byte)| digit(at, byte))
}

/// A plain id after `prefix`.
fn id_after(sort: &str, prefix: &str) -> Option<String> {
    let id = sort.strip_prefix(prefix)?;
    is_plain_id(id).then(|| id.to_owned())
}

/// Reads a key of what agents read and write.
fn parse_actions(partition: &str, sort: &str) -> Option<Named> {
    let (kind, rest) = partition.split_once('#')?;
    match kind {
        "ORDER" => {
            let (space, number) = rest.split_once('#')?;
            let whole = is_space_name(space) && is_order_number(number) && sort == "ORDER";
            let (space, number) = (space.to_owned(), number.to_owned());
            whole.then_some(Named::Order { space, number })
        }
        "TICKET" => {
            space_of(rest)?;
            let ticket_id = rest.to_owned();
            (sort == "TICKET").then_some(Named::Ticket { ticket_id })
        }
        "ABOUT" => {
            space_of(rest)?;
            let about = rest.to_owned();
            match id_after(sort, NOTE_PREFIX) {
                Some(note_id) => Some(Named::Note { about, note_id }),
                None => id_after(sort, FLAG_PREFIX).map(|flag_id| Named::Flag {
                    document_id: about,
                    flag_id,
                }),
            }
        }
        "WRITE" => {
            let digest = is_plain_id(rest).then(|| rest.to_owned())?;
            (sort == "WRITE").then_some(Named::Write { digest })
        }
        "IDEMPOTENCY" => {
            let digest = is_plain_id(rest).then(|| rest.to_owned())?;
            (sort == "REQUEST").then_some(Named::Idempotency { digest })
        }
        "WRITES" => {
            let digest = is_plain_id(rest).then(|| rest.to_owned())?;
            let day = sort.strip_prefix(DAY_PREFIX).filter(|day| is_day(day))?;
            let day = day.to_owned();
            Some(Named::Writes { digest, day })
        }
        "RATE" => {
            let (space, digest) = rest.split_once('#')?;
            let minute = sort.strip_prefix("MINUTE#")?.parse().ok()?;
            let whole = is_space_name(space) && is_plain_id(digest);
            // Only as it is written: not `+7` or `007`.
            (whole && rate(space, digest, minute).sort == sort).then(|| Named::Rate {
                space: space.to_owned(),
                digest: digest.to_owned(),
                minute,
            })
        }
        "PACE" => {
            let digest = is_plain_id(rest).then(|| rest.to_owned())?;
            (sort == "PACE").then_some(Named::Pace { digest })
        }
        "USAGE" => {
            let (day, model) = sort.strip_prefix(DAY_PREFIX)?.split_once('#')?;
            let whole = is_space_name(rest) && is_day(day) && is_model_name(model);
            whole.then(|| Named::Usage {
                space: rest.to_owned(),
                day: day.to_owned(),
                model: model.to_owned(),
            })
        }
        "BUDGET" => {
            let month = sort.strip_prefix("MONTH#")?;
            let whole = is_space_name(rest) && is_day(&format!("{month}-01"));
            whole.then(|| Named::Budget {
                space: rest.to_owned(),
                month: month.to_owned(),
            })
        }
        "AUDIT" => {
            let (space, day) = rest.split_once('#')?;
            let entry_id = id_after(sort, ENTRY_PREFIX)?;
            let whole = is_space_name(space) && is_day(day);
            let (space, day) = (space.to_owned(), day.to_owned());
            whole.then_some(Named::Audit {
                space,
                day,
                entry_id,
            })
        }
        _ => None,
    }
}

/// Reads a key back; `None` for a key that this grammar does not write.
pub fn parse(partition: &str, sort: &str) -> Option<Named> {
    if let Some(named) = parse_actions(partition, sort).or_else(|| parse_answers(partition, sort)) {
        return Some(named);
    }
    if let Some(run_id) = partition.strip_prefix("RUN#") {
        space_of(run_id)?;
        let run_id = run_id.to_owned();
        if let Some(number) = sort.strip_prefix(JOB_PREFIX) {
            let digits = number.len() == 5 && number.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| number.parse().ok()).flatten()?;
            return Some(Named::Job { run_id, number });
        }
        return match sort.strip_prefix(BATCH_PREFIX) {
            Some(batch_id) => Some(Named::Batch {
                run_id,
                batch_id: batch_id.to_owned(),
            }),
            None => (sort == "RUN").then_some(Named::Run { run_id }),
        };
    }
    if let Some(document_id) = partition.strip_prefix(VECTOR_PREFIX) {
        return parse_vector(document_id, sort).map(Named::Vector);
    }
    let space = partition
        .strip_prefix("SPACE#")
        .filter(|space| is_space_name(space))?;
    match sort {
        "SETTINGS" => Some(Named::Settings {
            space: space.to_owned(),
        }),
        "VECTORS" => Some(Named::VectorState {
            space: space.to_owned(),
        }),
        "KNOWLEDGEBASE" => Some(Named::KnowledgeBaseState {
            space: space.to_owned(),
        }),
        "MANIFEST" => Some(Named::Manifest {
            space: space.to_owned(),
        }),
        "UNDERWAY" => Some(Named::UnderWay {
            space: space.to_owned(),
        }),
        _ => {
            if let Some(document_id) = sort.strip_prefix(UPLOAD_PREFIX) {
                return (space_of(document_id)? == space).then(|| Named::Upload {
                    document_id: document_id.to_owned(),
                });
            }
            if let Some(name) = sort.strip_prefix(SOURCE_PREFIX) {
                return is_space_name(name).then(|| Named::Source {
                    space: space.to_owned(),
                    name: name.to_owned(),
                });
            }
            let document_id = sort.strip_prefix(DOCUMENT_PREFIX)?;
            (space_of(document_id)? == space).then(|| Named::Document {
                document_id: document_id.to_owned(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_come_back(space in "[a-z0-9][a-z0-9-]{0,39}", plain in "[a-z0-9]{1,26}", batch_id in "[a-f0-9]{16}", ordinal in any::<u32>(), reader in any::<u32>()) {
            let id = format!("{space}.{plain}");
            let check = |key: Key, named: Named| {
                assert_eq!(parse(&key.partition, &key.sort), Some(named));
            };
            check(settings(&space), Named::Settings { space: space.clone() });
            check(manifest(&space), Named::Manifest { space: space.clone() });
            check(document(&id), Named::Document { document_id: id.clone() });
            check(upload(&id), Named::Upload { document_id: id.clone() });
            check(run(&id), Named::Run { run_id: id.clone() });
            check(batch(&id, &batch_id), Named::Batch { run_id: id.clone(), batch_id: batch_id.clone() });
            check(job(&id, ordinal % 100_000), Named::Job { run_id: id.clone(), number: ordinal % 100_000 });
            check(under_way(&space), Named::UnderWay { space: space.clone() });
            check(source(&space, &space), Named::Source { space: space.clone(), name: space.clone() });
            check(idempotency(&plain), Named::Idempotency { digest: plain.clone() });
            check(vector_state(&space), Named::VectorState { space: space.clone() });
            check(knowledge_base_state(&space), Named::KnowledgeBaseState { space: space.clone() });
            check(answer(&id), Named::Answer { answer_id: id.clone() });
            check(conversation(&id), Named::Conversation { conversation_id: id.clone() });
            check(turn(&id, &plain), Named::Turn { conversation_id: id.clone(), turn_id: plain.clone() });
            let name = VectorName { document_id: id.clone(), version: batch_id, ordinal, reader };
            check(vector(&name), Named::Vector(name));
            check(ticket(&id), Named::Ticket { ticket_id: id.clone() });
            check(note(&id, &plain), Named::Note { about: id.clone(), note_id: plain.clone() });
            check(flag(&id, &plain), Named::Flag { document_id: id.clone(), flag_id: plain.clone() });
            check(write(&plain), Named::Write { digest: plain.clone() });
        }

        #[test]
        fn keys_of_actions_come_back(
            space in "[a-z0-9][a-z0-9-]{0,39}", number in "[A-Za-z0-9_.-]{1,64}",
            digest in "[a-f0-9]{64}", day in "[0-9]{4}-[0-9]{2}-[0-9]{2}", entry_id in "[a-z0-9]{26}",
            model in "[a-zA-Z0-9._:/=-]{1,80}",
        ) {
            let check = |key: Key, named: Named| {
                assert_eq!(parse(&key.partition, &key.sort), Some(named));
            };
            check(order(&space, &number), Named::Order { space: space.clone(), number });
            let minute = u64::from(day.bytes().map(u32::from).sum::<u32>()) * 1_000_003;
            check(rate(&space, &digest, minute), Named::Rate { space: space.clone(), digest: digest.clone(), minute });
            check(pace(&digest), Named::Pace { digest: digest.clone() });
            check(usage(&space, &day, &model), Named::Usage { space: space.clone(), day: day.clone(), model });
            check(budget(&space, &day[..7]), Named::Budget { space: space.clone(), month: day[..7].to_owned() });
            check(writes(&digest, &day), Named::Writes { digest, day: day.clone() });
            check(audit(&space, &day, &entry_id), Named::Audit { space, day, entry_id });
        }

        #[test]
        fn no_two_kinds_share_a_key(partition in "(ORDER|TICKET|ABOUT|WRITE|WRITES|RATE|PACE|USAGE|BUDGET|AUDIT|RUN|SPACE)#[a-z0-9#.-]{1,20}", sort in "(ORDER|TICKET|WRITE|PACE|RUN|NOTE#|FLAG#|ENTRY#|DAY#|MONTH#|MINUTE#|BATCH#)([a-z0-9-]{0,12}|[0-9]{4}-[0-9]{2}(-[0-9]{2}#[a-z0-9.:/-]{1,9})?)") {
            let rebuilt = match parse(&partition, &sort) {
                Some(Named::Order { space, number }) => order(&space, &number),
                Some(Named::Ticket { ticket_id }) => ticket(&ticket_id),
                Some(Named::Note { about, note_id }) => note(&about, &note_id),
                Some(Named::Flag { document_id, flag_id }) => flag(&document_id, &flag_id),
                Some(Named::Write { digest }) => write(&digest),
                Some(Named::Writes { digest, day }) => writes(&digest, &day),
                Some(Named::Pace { digest }) => pace(&digest),
                Some(Named::Usage { space, day, model }) => usage(&space, &day, &model),
                Some(Named::Budget { space, month }) => budget(&space, &month),
                Some(Named::Rate { space, digest, minute }) => rate(&space, &digest, minute),
                Some(Named::Audit { space, day, entry_id }) => audit(&space, &day, &entry_id),
                Some(Named::Run { run_id }) => run(&run_id),
                Some(Named::Batch { run_id, batch_id }) => batch(&run_id, &batch_id),
                Some(Named::Job { run_id, number }) => job(&run_id, number),
                _ => return Ok(()),
            };
            prop_assert_eq!((rebuilt.partition, rebuilt.sort), (partition, sort));
        }

        #[test]
        fn whatever_parses_is_written_the_same(partition in ".{0,60}", sort in ".{0,60}") {
            if let Some(Named::Document { document_id }) = parse(&partition, &sort) {
                prop_assert_eq!(document(&document_id).sort, sort);
            }
        }
    }

    #[test]
    fn a_vector_has_one_name() {
        let check = |sort: &str, known: bool| {
            assert_eq!(parse("VECTOR#default.1", sort).is_some(), known, "{sort}");
        };
        check("ab12#0#3", true);
        check("ab12#00#3", false);
        check("ab12#0#3#4", false);
        check("ab12#0", false);
        check("#0#3", false);
        check("ab12#-1#3", false);
        assert_eq!(parse("VECTOR#default", "ab12#0#3"), None);
    }

    #[test]
    fn space_names_are_checked() {
        let check = |text: &str, ok: bool| assert_eq!(is_space_name(text), ok, "{text:?}");
        check("default", true);
        check("team-7", true);
        check("", false);
        check("-a", false);
        check("Größe", false);
        check("a.b", false);
        check("a#b", false);
        check(&"a".repeat(41), false);
    }

    #[test]
    fn ids_carry_their_space() {
        let check = |id: &str, space: Option<&str>| assert_eq!(space_of(id), space, "{id:?}");
        check("default.0123abcd", Some("default"));
        check("default", None);
        check("default.", None);
        check(".abc", None);
        check("default.a#b", None);
        check("default.a/../b", None);
    }
}
