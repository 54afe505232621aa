//! The `agent-action` function's bootstrap.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    agent_action::run().await
}
