//! Who asks, and what they may see. Principals come from the authorizer, never from a request's body.

/// Someone whom everyone in a space counts as.
pub const EVERYONE: &str = "everyone";

/// The caller of a request: the principals that stand for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// `user:<id>` first, then `group:<name>`…, then `everyone`.
    pub principals: Vec<String>,
}

impl Caller {
    /// A caller with the user id that the authorizer vouches for, and groups.
    pub fn user(id: &str, groups: &[&str]) -> Self {
        let mut principals = vec![format!("user:{id}")];
        principals.extend(groups.iter().map(|group| format!("group:{group}")));
        principals.push(EVERYONE.to_owned());
        Self { principals }
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
