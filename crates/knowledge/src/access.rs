//! Who asks, and what they may see. Principals come from the authorizer, never from a request's body.

use std::collections::BTreeSet;

use aws::config::ACCOUNT;

use crate::KnowledgeError;

/// Someone whom everyone in a space counts as.
pub const EVERYONE: &str = "everyone";

/// The longest principal, in bytes. IAM's longest ARNs have 2,048, its longest role sessions far less.
const PRINCIPAL_BYTES: usize = 512;

/// The caller of a request: the principals that stand for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// `user:<id>` first, then `group:<name>`…, then `everyone`.
    pub principals: Vec<String>,
    /// Whether IAM vouches for them as one of the account's own.
    pub of_account: bool,
}

impl Caller {
    /// A caller with the user id that the authorizer vouches for, and groups.
    pub fn user(id: &str, groups: &[&str]) -> Self {
        let mut principals = vec![format!("user:{id}")];
        principals.extend(groups.iter().map(|group| format!("group:{group}")));
        principals.push(EVERYONE.to_owned());
        Self {
            principals,
            of_account: false,
        }
    }

    /// A caller for whom nobody vouches.
    pub fn anybody() -> Self {
        Self {
            principals: vec![EVERYONE.to_owned()],
            of_account: false,
        }
    }

    /// The principal that owns what this caller makes.
    pub fn owner(&self) -> Option<&str> {
        self.principals
            .iter()
            .find(|principal| principal.starts_with("user:"))
            .map(String::as_str)
    }

    /// Whether one of `readers` stands for this caller. A document without readers is read by nobody.
    pub fn may_read(&self, readers: &[String]) -> bool {
        readers
            .iter()
            .any(|reader| self.principals.contains(reader))
    }

    /// Whether they are among the principals who administer every space.
    pub fn administers_all(&self, admins: &[String]) -> bool {
        let of_account = self.of_account && admins.iter().any(|name| name == ACCOUNT);
        of_account || self.may_read(admins)
    }
}

/// Readers of both lists: whoever is one of them is one of each. Sorted, each once.
pub fn common_readers(left: &[String], right: &[String]) -> Vec<String> {
    let allows = |list: &[String], reader: &String| {
        list.contains(reader) || list.iter().any(|listed| listed == EVERYONE)
    };
    let common: BTreeSet<&String> = left
        .iter()
        .filter(|reader| allows(right, reader))
        .chain(right.iter().filter(|reader| allows(left, reader)))
        .collect();
    common.into_iter().cloned().collect()
}

/// Refuses what is no principal: it would stand for nobody, and look as if it did.
///
/// # Errors
/// [`KnowledgeError::InvalidPrincipal`] naming the first.
pub fn check_principals<'a>(
    names: impl IntoIterator<Item = &'a String>,
) -> Result<(), KnowledgeError> {
    match names.into_iter().find(|name| !is_principal(name)) {
        None => Ok(()),
        Some(name) => Err(KnowledgeError::InvalidPrincipal {
            principal: name.chars().take(80).collect(),
        }),
    }
}

fn is_principal(name: &str) -> bool {
    let named = |id: &str| !id.trim().is_empty() && !id.chars().any(char::is_control);
    let id = name
        .strip_prefix("user:")
        .or_else(|| name.strip_prefix("group:"));
    name.len() <= PRINCIPAL_BYTES && (name == EVERYONE || id.is_some_and(named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_of_two_lists_are_those_of_each() {
        let check = |left: &[&str], right: &[&str], common: &[&str]| {
            let listed = |names: &[&str]| -> Vec<String> {
                names.iter().map(|name| (*name).to_owned()).collect()
            };
            let (left, right) = (listed(left), listed(right));
            assert_eq!(common_readers(&left, &right), common);
            assert_eq!(common_readers(&right, &left), common);
            for caller in [
                Caller::user("ada", &[]),
                Caller::user("bob", &["x"]),
                Caller::anybody(),
            ] {
                let both = caller.may_read(&left) && caller.may_read(&right);
                assert_eq!(caller.may_read(&listed(common)), both, "{caller:?}");
            }
        };
        check(&["user:ada"], &["user:ada"], &["user:ada"]);
        check(&["user:ada"], &["user:bob"], &[]);
        check(&["user:ada", "user:bob"], &["user:bob"], &["user:bob"]);
        check(&["everyone"], &["user:ada"], &["user:ada"]);
        check(&["everyone"], &["everyone"], &["everyone"]);
        check(&["everyone", "group:x"], &["group:x"], &["group:x"]);
        check(&["everyone"], &[], &[]);
        check(&[], &[], &[]);
    }

    #[test]
    fn only_readers_read() {
        let caller = Caller::user("ada", &["engineers"]);
        let check = |readers: &[&str], may: bool| {
            let readers: Vec<String> = readers.iter().map(|reader| (*reader).to_owned()).collect();
            assert_eq!(caller.may_read(&readers), may, "{readers:?}");
        };
        check(&[], false);
        check(&["everyone"], true);
        check(&["user:ada"], true);
        check(&["user:bob"], false);
        check(&["group:engineers", "user:bob"], true);
        check(&["group:engineer"], false);
        check(&["ada"], false);
        assert_eq!(caller.owner(), Some("user:ada"));
        assert_eq!(Caller::anybody().owner(), None);
    }

    #[test]
    fn a_principal_says_what_it_is() {
        let check = |name: &str, ok: bool| {
            let names = [name.to_owned()];
            assert_eq!(check_principals(&names).is_ok(), ok, "{name:?}");
        };
        check("everyone", true);
        check("user:ada", true);
        check("user:arn:aws:iam::000000000000:user/ada", true);
        check("group:legal team", true);
        for name in [
            "",
            "ada",
            "user:",
            "group: ",
            "Everyone",
            "role:x",
            "user:a\nb",
            "account",
        ] {
            check(name, false);
        }
        check(&format!("user:{}", "x".repeat(600)), false);
    }

    #[test]
    fn the_account_administers_where_it_is_named() {
        let check = |of_account: bool, admins: &[&str], expected: bool| {
            let caller = Caller {
                of_account,
                ..Caller::user("ada", &["ops"])
            };
            let admins: Vec<String> = admins.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(caller.administers_all(&admins), expected, "{admins:?}");
        };
        check(true, &["account"], true);
        check(false, &["account"], false);
        check(true, &[], false);
        check(true, &["group:others"], false);
        check(false, &["group:ops"], true);
        // A user of that name is not the account.
        let named = Caller::user("account", &["account"]);
        assert!(!named.administers_all(&["account".to_owned()]));
    }
}
