//! Writes the generated files of `infra/agent/` from the declared actions: `cargo run -p knowledge --example agent_files`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/agent");
    for (name, content) in knowledge::actions::schema::files() {
        let file = folder.join(name);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(file, content)?;
    }
    Ok(())
}
