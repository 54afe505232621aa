//! The files below paths: hidden ones skipped, links followed once, what cannot be read told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file and the name that its document gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    /// The path below the argument that it was found by, with `/`.
    pub name: String,
    pub bytes: u64,
    /// Which of the paths it was found by.
    argument: usize,
}

/// Files in the order of their names, and what was left out with the reason.
#[derive(Debug, Default)]
pub struct Walk {
    pub files: Vec<Found>,
    pub skipped: Vec<(PathBuf, String)>,
    /// Arguments whose files got their folders' names in front.
    pub prefixed: Vec<PathBuf>,
    seen: BTreeSet<PathBuf>,
    /// The folder that each argument's names are counted from.
    bases: Vec<PathBuf>,
}

/// Walks every path. A path that does not exist is an error of the whole, before anything is sent.
///
/// # Errors
/// The first path that does not exist, or two files that cannot be told apart by any of their folders, in words.
pub fn walk(paths: &[PathBuf]) -> Result<Walk, String> {
    let mut walk = Walk::default();
    for (argument, path) in paths.iter().enumerate() {
        if let Err(error) = path.metadata() {
            return Err(match error.kind() {
                std::io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
                _ => format!("{} cannot be read: {error}", path.display()),
            });
        }
        let base = if path.is_dir() {
            path.clone()
        } else {
            path.parent().unwrap_or(Path::new("")).to_owned()
        };
        walk.visit(path, &base, argument);
        walk.bases.push(base);
    }
    walk.tell_apart()?;
    walk.files.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(walk)
}

/// The last `depth` folders of a path, with `/`; `None` when it has fewer.
fn last_folders(base: &Path, depth: usize) -> Option<String> {
    let whole = base.canonicalize().ok()?;
    let folders: Vec<String> = whole
        .components()
        .filter(|part| matches!(part, std::path::Component::Normal(_)))
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    let first = folders.len().checked_sub(depth)?;
    Some(folders[first..].join("/"))
}

impl Walk {
    /// The same name twice would be the same document twice: where two arguments hold one, both get as many of their
    /// folders' names in front as tell them apart.
    fn tell_apart(&mut self) -> Result<(), String> {
        let mut depths = vec![0; self.bases.len()];
        loop {
            let names = self.names(&depths)?;
            let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
            let mut clashing = BTreeSet::new();
            for (file, name) in self.files.iter().zip(&names) {
                if let Some(other) = owners.insert(name, file.argument) {
                    clashing.extend([other, file.argument]);
                }
            }
            if clashing.is_empty() {
                for (file, name) in self.files.iter_mut().zip(names) {
                    file.name = name;
                }
                let prefixed = depths
                    .iter()
                    .zip(&self.bases)
                    .filter(|(depth, _)| **depth > 0);
                self.prefixed = prefixed.map(|(_, base)| base.clone()).collect();
                return Ok(());
            }
            for argument in clashing {
                depths[argument] += 1;
            }
        }
    }

    fn names(&self, depths: &[usize]) -> Result<Vec<String>, String> {
        let name = |file: &Found| match depths[file.argument] {
            0 => Some(file.name.clone()),
            depth => {
                let folders = last_folders(&self.bases[file.argument], depth)?;
                Some(format!("{folders}/{}", file.name))
            }
        };
        let names = self.files.iter().map(|file| {
            name(file).ok_or_else(|| {
                format!(
                    "two files would get the name {:?}; ingest them one after the other",
                    file.name
                )
            })
        });
        names.collect()
    }

    fn visit(&mut self, path: &Path, base: &Path, argument: usize) {
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) => return self.skip(path, error.to_string()),
        };
        if !self.seen.insert(real) {
            return self.skip(path, "it was visited by another path".into());
        }
        if path.is_dir() {
            return self.visit_folder(path, base, argument);
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
                    argument,
                });
            }
            Ok(_) => self.skip(path, "it is no regular file".into()),
            Err(error) => self.skip(path, error.to_string()),
        }
    }

    fn visit_folder(&mut self, path: &Path, base: &Path, argument: usize) {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return self.skip(path, error.to_string()),
        };
        for entry in entries {
            match entry {
                Ok(entry) if entry.file_name().to_string_lossy().starts_with('.') => {
                    self.skip(&entry.path(), "it is hidden".into());
                }
                Ok(entry) => self.visit(&entry.path(), base, argument),
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
    }

    /// Two folders with a file of the same name were refused as a whole.
    #[test]
    fn folders_that_hold_the_same_names_go_in_front() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in [
            "a/x.md",
            "a/only.md",
            "b/x.md",
            "c/y.md",
            "1/d/x.md",
            "2/d/x.md",
        ] {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), name).unwrap();
        }
        let check = |paths: &[&str], expected: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(|path| at(path)).collect();
            let found = walk(&paths).unwrap();
            let names: Vec<&str> = found.files.iter().map(|file| file.name.as_str()).collect();
            assert_eq!(names, expected, "{paths:?}");
        };
        check(&["a", "c"], &["only.md", "x.md", "y.md"]);
        check(&["a", "b", "c"], &["a/only.md", "a/x.md", "b/x.md", "y.md"]);
        check(&["a/x.md", "b/x.md"], &["a/x.md", "b/x.md"]);
        check(&["1/d", "2/d"], &["1/d/x.md", "2/d/x.md"]);
        check(&["a", "a/x.md"], &["only.md", "x.md"]);
        let found = walk(&[at("a"), at("b")]).unwrap();
        assert_eq!(found.prefixed, [at("a"), at("b")]);
    }
}
