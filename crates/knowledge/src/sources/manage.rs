//! A space's sources: set, listed and removed by its admins, and how the last run found them.

use std::collections::BTreeSet;

use aws::dynamo::keys::{self, SOURCE_PREFIX, is_space_name};
use aws::{Aws, AwsError};

use super::setting::{
    SourceForm, SourcePage, SourceRow, SourceRun, SourceSetting, SourceView, check, invalid,
};
use super::state::State;
use crate::KnowledgeError;
use crate::access::{self, Caller};
use crate::roles::Role;
use crate::spaces;

/// Sources of one space.
const SOURCES: usize = 20;

pub(super) async fn rows(aws: &Aws, space: &str) -> Result<Vec<SourceRow>, AwsError> {
    let partition = keys::space_partition(space);
    aws.table.query_all(&partition, SOURCE_PREFIX).await
}

/// Whether a name is one of the documents that a source of the space brings.
///
/// # Errors
/// The table's.
pub(crate) async fn holds(aws: &Aws, space: &str, name: &str) -> Result<bool, AwsError> {
    let Some((first, _)) = name
        .split_once('/')
        .filter(|(first, _)| is_space_name(first))
    else {
        return Ok(false);
    };
    let row: Option<SourceRow> = aws.table.get(&keys::source(space, first)).await?;
    Ok(row.is_some())
}

/// The source of the space that brings a document, if one does.
///
/// # Errors
/// The table's, and those of what is remembered of the source.
pub(crate) async fn bringing(
    aws: &Aws,
    space: &str,
    name: &str,
) -> Result<Option<String>, AwsError> {
    if !holds(aws, space, name).await? {
        return Ok(None);
    }
    let (source, _) = name.split_once('/').unwrap_or_default();
    let state = State::read(aws, space, source).await?;
    let brought = state.items.values().any(|item| item.name == name);
    Ok(brought.then(|| source.to_owned()))
}

/// Names of the sources of a space.
///
/// # Errors
/// The table's.
pub(crate) async fn names(aws: &Aws, space: &str) -> Result<BTreeSet<String>, AwsError> {
    let rows = rows(aws, space).await?.into_iter();
    Ok(rows.map(|row| row.name).collect())
}

/// The sources of a space, for its admins.
///
/// # Errors
/// [`KnowledgeError::UnknownSpace`], [`KnowledgeError::RoleRequired`].
pub async fn list(aws: &Aws, space: &str, caller: &Caller) -> Result<SourcePage, KnowledgeError> {
    spaces::enter(aws, space, caller, Role::Admin).await?;
    let sources = rows(aws, space).await?.into_iter();
    Ok(SourcePage {
        sources: sources.map(SourceView::from).collect(),
    })
}

/// Sets a source. Its documents come with the next run over the space.
///
/// # Errors
/// [`KnowledgeError::InvalidSource`]; [`KnowledgeError::InvalidPrincipal`]; [`KnowledgeError::RoleRequired`] for who is
/// no admin of the space, and for another bucket for who does not administer the deployment.
pub async fn set(
    aws: &Aws,
    space: &str,
    name: &str,
    caller: &Caller,
    form: SourceForm,
) -> Result<SourceView, KnowledgeError> {
    let entered = spaces::enter_or_make(aws, space, caller, Role::Admin).await?;
    if !is_space_name(name) {
        return Err(invalid("its name is not of 1 to 40 of a-z, 0-9 and '-'"));
    }
    access::check_principals(&form.readers)?;
    check(&form.source, aws.bucket.name())?;
    if let Some(open) = form
        .source
        .trusted()
        .into_iter()
        .find(|url| !aws.web.keeps_secrets(url))
    {
        return Err(invalid(&format!(
            "{open:?} is no https URL, and a secret is sent to no other"
        )));
    }
    let needs_readers = !matches!(form.source, SourceSetting::S3(_));
    if needs_readers && form.readers.is_empty() {
        return Err(invalid(
            "it names no readers, so that nobody could read its documents",
        ));
    }
    // Which buckets the function reads is the deployment's; another space's documents may lie in them.
    let of_deployment = caller.administers_all(&aws.settings.admins);
    if matches!(form.source, SourceSetting::S3(_)) && !of_deployment {
        return Err(KnowledgeError::RoleRequired {
            space: space.to_owned(),
            needed: "administrator of the deployment",
            role: entered.role.name(),
        });
    }
    let key = keys::source(space, name);
    let stored: Option<SourceRow> = aws.table.get(&key).await?;
    if stored.is_none() && rows(aws, space).await?.len() >= SOURCES {
        return Err(invalid("the space has 20 sources already"));
    }
    let expected = stored.as_ref().map_or(0, |row| row.version);
    let row = SourceRow {
        name: name.to_owned(),
        version: expected + 1,
        source: form.source,
        readers: form.readers,
        removed: false,
        last: stored.and_then(|row| row.last),
    };
    aws.table.replace(&key, expected, &row).await?;
    Ok(row.into())
}

/// Marks a source as removed: the next run takes its documents out, unless the brake stops it.
///
/// # Errors
/// [`KnowledgeError::SourceNotFound`]; as [`list`].
pub async fn remove(
    aws: &Aws,
    space: &str,
    name: &str,
    caller: &Caller,
) -> Result<SourceView, KnowledgeError> {
    spaces::enter(aws, space, caller, Role::Admin).await?;
    let missing = || KnowledgeError::SourceNotFound {
        name: name.chars().take(80).collect(),
    };
    if !is_space_name(name) {
        return Err(missing());
    }
    let key = keys::source(space, name);
    let row: SourceRow = aws.table.get(&key).await?.ok_or_else(missing)?;
    let expected = row.version;
    let row = SourceRow {
        version: expected + 1,
        removed: true,
        ..row
    };
    aws.table.replace(&key, expected, &row).await?;
    Ok(row.into())
}

/// Forgets a source that was removed. One that was set again since the row was read stays.
pub(super) async fn forget(aws: &Aws, space: &str, row: &SourceRow) -> Result<(), AwsError> {
    let key = keys::source(space, &row.name);
    match aws.table.delete(&key, row.version).await {
        Err(AwsError::Conflict { .. }) => Ok(()),
        forgotten => forgotten,
    }
}

/// Notes how a run found a source. A setting that changed in the meantime stays as it is.
pub(super) async fn note(
    aws: &Aws,
    space: &str,
    row: &SourceRow,
    last: SourceRun,
) -> Result<(), AwsError> {
    let noted = SourceRow {
        version: row.version + 1,
        last: Some(last),
        ..row.clone()
    };
    match aws
        .table
        .replace(&keys::source(space, &row.name), row.version, &noted)
        .await
    {
        Err(AwsError::Conflict { .. }) => Ok(()),
        noted => noted,
    }
}
