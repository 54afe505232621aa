//! The `guardrail-check` function's bootstrap.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    guardrail_check::run().await
}
