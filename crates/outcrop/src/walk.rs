//! The files below paths: hidden ones skipped, links followed once, what cannot be read told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A file and the name that its document gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    /// The path below the argument that it was found by, with `/`.
    pub name: String,
    pub bytes: u64,
}

/// Files in the order of their names, and what was left out with the reason.
#[derive(Debug, Default)]
pub struct Walk {
    pub files: Vec<Found>,
    pub skipped: Vec<(PathBuf, String)>,
    seen: BTreeSet<PathBuf>,
}

/// Walks every path. A path that does not exist is an error of the whole, before anything is sent.
///
/// # Errors
/// The first path that does not exist, in words.
pub fn walk(paths: &[PathBuf]) -> Result<Walk, String> {
    let mut walk = Walk::default();
    for path in paths {
        if !path.exists() {
            return Err(format!("{} does not exist", path.display()));
        }
        let base = if path.is_dir() {
            path.clone()
        } else {
            path.parent().unwrap_or(Path::new("")).to_owned()
        };
        walk.visit(path, &base);
    }
    walk.files.sort_by(|left, right| left.name.cmp(&right.name));
    // The same name twice would be the same document twice; the later one would win by chance.
    let mut names = BTreeSet::new();
    for file in &walk.files {
        if !names.insert(&file.name) {
            return Err(format!(
                "two files would get the name {:?}; ingest them one after the other",
                file.name
            ));
        }
    }
    Ok(walk)
}

impl Walk {
    fn visit(&mut self, path: &Path, base: &Path) {
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) => return self.skip(path, error.to_string()),
        };
        if !self.seen.insert(real) {
            return self.skip(path, "it was visited by another path".into());
        }
        if path.is_dir() {
            return self.visit_folder(path, base);
        }
        match path.metadata() {
            Ok(metadata) if metadata.is_file() => {
                let name = path
                    .strip_prefix(base)
                    .unwrap_or(path)
                    .to_string_lossy()
                    .replace('\\', "/");
                self.files.push(Found {
                    path: path.to_owned(),
                    name,
                    bytes: metadata.len(),
                });
            }
            Ok(_) => self.skip(path, "it is no regular file".into()),
            Err(error) => self.skip(path, error.to_string()),
        }
    }

    fn visit_folder(&mut self, path: &Path, base: &Path) {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return self.skip(path, error.to_string()),
        };
        for entry in entries {
            match entry {
                Ok(entry) if entry.file_name().to_string_lossy().starts_with('.') => {
                    self.skip(&entry.path(), "it is hidden".into());
                }
                Ok(entry) => self.visit(&entry.path(), base),
                Err(error) => self.skip(path, error.to_string()),
            }
        }
    }

    fn skip(&mut self, path: &Path, reason: String) {
        self.skipped.push((path.to_owned(), reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_and_the_rest_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("a/b")).unwrap();
        for name in ["a/one.md", "a/b/two.txt", "three.txt", ".hidden"] {
            std::fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink(at("a"), at("a/b/loop")).unwrap();
        std::os::unix::fs::symlink(at("gone"), at("dangling")).unwrap();
        let found = walk(&[folder.path().to_owned()]).unwrap();
        let names: Vec<&str> = found.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a/b/two.txt", "a/one.md", "three.txt"]);
        assert_eq!(found.skipped.len(), 3, "{:?}", found.skipped);
        let single = walk(&[at("a/one.md")]).unwrap();
        assert_eq!(single.files[0].name, "one.md");
        assert!(
            walk(&[at("nowhere")])
                .unwrap_err()
                .contains("does not exist")
        );
        std::fs::write(at("one.md"), "another").unwrap();
        assert!(
            walk(&[at("a/one.md"), at("one.md")])
                .unwrap_err()
                .contains("one.md")
        );
    }
}
