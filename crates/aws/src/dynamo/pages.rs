//! A partition's rows, a page at a time: memory holds one page, however many rows there are.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::{Range, Table};
use crate::AwsError;

/// Rows of one page. A page ends before that where it comes to 1 MB.
/// Source: Amazon DynamoDB API Reference, Query.
const PAGE_ROWS: usize = 500;

/// Reads a range of a partition page by page, in the order of the sort key.
#[derive(Debug)]
pub struct Pages<'a, T> {
    table: &'a Table,
    partition: String,
    sort_prefix: String,
    after: Option<String>,
    ended: bool,
    rows: PhantomData<fn() -> T>,
}

impl Table {
    /// The rows of `partition` whose sort key begins with `sort_prefix`. Nothing is read before the first page is asked for.
    pub fn pages<T: DeserializeOwned>(&self, partition: &str, sort_prefix: &str) -> Pages<'_, T> {
        Pages {
            table: self,
            partition: partition.to_owned(),
            sort_prefix: sort_prefix.to_owned(),
            after: None,
            ended: false,
            rows: PhantomData,
        }
    }

    /// Reads a whole partition range, page by page.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub async fn query_all<T: DeserializeOwned>(
        &self,
        partition: &str,
        sort_prefix: &str,
    ) -> Result<Vec<T>, AwsError> {
        let mut items = Vec::new();
        let mut pages = self.pages(partition, sort_prefix);
        while let Some(page) = pages.next().await? {
            items.extend(page);
        }
        Ok(items)
    }
}

impl<T: DeserializeOwned> Pages<'_, T> {
    /// The next page; `None` after the last. After an error the same page can be asked for again.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub async fn next(&mut self) -> Result<Option<Vec<T>>, AwsError> {
        if self.ended {
            return Ok(None);
        }
        let range = Range {
            partition: &self.partition,
            sort_prefix: &self.sort_prefix,
            after: self.after.as_deref(),
            limit: PAGE_ROWS,
            newest_first: false,
        };
        let page = self.table.query(range).await?;
        self.ended = page.next.is_none();
        self.after = page.next;
        Ok(Some(page.items))
    }
}
