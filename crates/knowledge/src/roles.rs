//! Who may do what in a space.
//!
//! A reader asks, searches and reads what documents let them read. An editor also adds documents, and replaces and
//! deletes those that they may read. An admin also sets the space up, imports orders, and sees the runs of others and
//! what agents wrote. No role opens a document: readers of documents are one list, roles of a space another.

use serde::{Deserialize, Deserializer, Serialize};

use crate::KnowledgeError;
use crate::access::{self, Caller, EVERYONE};

/// Principals that one role of a space names at the most. Keeps the row of a space small: each request reads it.
const ROLE_PRINCIPALS: usize = 100;

/// What a caller may do in a space; each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Reader,
    Editor,
    Admin,
}

impl Role {
    /// As it stands in settings and replies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }
}

/// The principals of each role. Whoever has none is not in the space: to them it looks like one that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    #[serde(default = "everyone")]
    pub reader: Vec<String>,
    #[serde(default)]
    pub editor: Vec<String>,
    #[serde(default)]
    pub admin: Vec<String>,
}

fn everyone() -> Vec<String> {
    vec![EVERYONE.to_owned()]
}

impl Default for Roles {
    /// Everyone whom the API lets in reads what names them; only who administers the deployment does more.
    fn default() -> Self {
        Self {
            reader: everyone(),
            editor: Vec::new(),
            admin: Vec::new(),
        }
    }
}

impl Roles {
    /// The highest role that one of the caller's principals has.
    pub fn of(&self, caller: &Caller) -> Option<Role> {
        let highest_first = [
            (&self.admin, Role::Admin),
            (&self.editor, Role::Editor),
            (&self.reader, Role::Reader),
        ];
        highest_first
            .into_iter()
            .find(|(principals, _)| caller.may_read(principals))
            .map(|(_, role)| role)
    }

    /// The same with what `change` says.
    ///
    /// # Errors
    /// [`KnowledgeError::InvalidPrincipal`], or [`KnowledgeError::InvalidRequest`] for too many of them.
    pub fn changed(mut self, change: RolesChange) -> Result<Self, KnowledgeError> {
        let default = Self::default();
        for (role, list, wanted, fallback) in [
            (
                Role::Reader,
                &mut self.reader,
                change.reader,
                default.reader,
            ),
            (
                Role::Editor,
                &mut self.editor,
                change.editor,
                default.editor,
            ),
            (Role::Admin, &mut self.admin, change.admin, default.admin),
        ] {
            let Some(wanted) = wanted else { continue };
            let mut principals = wanted.unwrap_or(fallback);
            access::check_principals(&principals)?;
            principals.sort();
            principals.dedup();
            if principals.len() > ROLE_PRINCIPALS {
                let (name, count) = (role.name(), principals.len());
                let detail = format!(
                    "{count} principals were named as {name}, a role takes {ROLE_PRINCIPALS}; name groups instead"
                );
                return Err(KnowledgeError::InvalidRequest { detail });
            }
            *list = principals;
        }
        Ok(self)
    }
}

/// What is to change: a role that is left out stays, null brings its default back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolesChange {
    #[serde(default, deserialize_with = "present")]
    pub reader: Option<Option<Vec<String>>>,
    #[serde(default, deserialize_with = "present")]
    pub editor: Option<Option<Vec<String>>>,
    #[serde(default, deserialize_with = "present")]
    pub admin: Option<Option<Vec<String>>>,
}

/// Tells a field that is null from one that is left out.
///
/// # Errors
/// As the field's own reading.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(field).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn roles(value: Value) -> Roles {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_highest_role_counts() {
        let check = |value: Value, caller: &Caller, expected: Option<Role>| {
            assert_eq!(roles(value.clone()).of(caller), expected, "{value}");
        };
        let ada = Caller::user("ada", &["writers"]);
        check(json!({}), &ada, Some(Role::Reader));
        check(json!({}), &Caller::anybody(), Some(Role::Reader));
        check(json!({"reader": []}), &ada, None);
        check(json!({"reader": ["user:bob"]}), &ada, None);
        check(
            json!({"reader": [], "editor": ["group:writers"]}),
            &ada,
            Some(Role::Editor),
        );
        let both = json!({"editor": ["group:writers"], "admin": ["user:ada"]});
        check(both.clone(), &ada, Some(Role::Admin));
        check(both, &Caller::user("bob", &["writer"]), Some(Role::Reader));
        check(json!({"reader": ["user:ada"]}), &Caller::anybody(), None);
    }

    #[test]
    fn a_change_changes_what_it_names() {
        let check = |change: Value, expected: Value| {
            let before = roles(json!({"reader": ["user:ada"], "editor": ["group:w"], "admin": []}));
            let change: RolesChange = serde_json::from_value(change).unwrap();
            assert_eq!(json!(before.changed(change).unwrap()), expected);
        };
        check(
            json!({}),
            json!({"reader": ["user:ada"], "editor": ["group:w"], "admin": []}),
        );
        check(
            json!({"reader": null, "admin": ["user:b", "user:a", "user:b"]}),
            json!({"reader": ["everyone"], "editor": ["group:w"], "admin": ["user:a", "user:b"]}),
        );
        check(
            json!({"reader": [], "editor": null}),
            json!({"reader": [], "editor": [], "admin": []}),
        );
    }

    #[test]
    fn principals_that_stand_for_nobody_are_refused() {
        let check = |editor: Vec<String>, name: &str| {
            let change = RolesChange {
                editor: Some(Some(editor)),
                ..RolesChange::default()
            };
            let error = Roles::default().changed(change).unwrap_err();
            assert_eq!(error.name(), name);
        };
        check(vec!["writers".into()], "InvalidPrincipal");
        let many = (0..101).map(|number| format!("user:{number}")).collect();
        check(many, "InvalidRequest");
    }
}
