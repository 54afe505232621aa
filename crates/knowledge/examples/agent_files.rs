//! Writes the generated files of `infra/agent/` from the declared actions: `cargo run -p knowledge --example agent_files`.

use std::io::Error;
use std::path::Path;

use knowledge::actions::{cloudformation, schema};

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/agent");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let deployed = cloudformation::files(read).map_err(Error::other)?;
    for (name, content) in schema::files().into_iter().chain(deployed) {
        let file = folder.join(name);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(file, content)?;
    }
    Ok(())
}
