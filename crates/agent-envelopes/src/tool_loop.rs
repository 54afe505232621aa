//! The loop of Converse with tools: ask the model, run what it asks for, hand the results back, until it has done.
//!
//! The loop knows Converse's JSON and nothing of an SDK: whoever runs it brings the model, the tools and the user.

use serde_json::{Value, json};

use crate::{Call, Fault, Outcome, recognise};

/// Rounds after which a model that goes on asking for tools is stopped, unless the caller says otherwise.
pub const ROUNDS: usize = 10;

/// Where the loop ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The conversation, with all that the model and the tools said.
    pub messages: Vec<Value>,
    /// Why the model stopped, in Converse's words.
    pub stop_reason: String,
    /// How often the model was asked.
    pub rounds: usize,
}

impl Ended {
    /// The text of the model's last message.
    pub fn text(&self) -> String {
        let content = self
            .messages
            .last()
            .and_then(|message| message["content"].as_array());
        let texts = content
            .into_iter()
            .flatten()
            .filter_map(|block| block["text"].as_str());
        texts.collect()
    }
}

/// Why the loop did not come to an end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoopError<E> {
    /// The model gave no answer.
    #[error(transparent)]
    Model(E),
    /// The model's reply is not Converse's.
    #[error("the model's reply has no message")]
    NoMessage,
    /// The model asked for tools again and again.
    #[error("the model asked for tools {rounds} times without an end")]
    TooManyRounds {
        /// How often it was asked.
        rounds: usize,
    },
}

/// Runs the loop. `messages` are Converse's; `model` answers them with Converse's reply, being given the tools of
/// [`crate::schema::converse`] by whoever made it. `agree` is asked before each call, and is where a user confirms;
/// what is not agreed to is told to the model. `tool` runs a call. `session` and `attributes` go with each call as an
/// application vouches for them.
///
/// # Errors
/// [`LoopError`].
pub async fn run<E>(
    mut messages: Vec<Value>,
    caller: &Value,
    rounds: usize,
    mut model: impl AsyncFnMut(&[Value]) -> Result<Value, E>,
    mut agree: impl AsyncFnMut(&Call) -> bool,
    mut tool: impl AsyncFnMut(&Call) -> Outcome,
) -> Result<Ended, LoopError<E>> {
    for round in 1..=rounds {
        let reply = model(&messages).await.map_err(LoopError::Model)?;
        let message = reply["output"]["message"].clone();
        if !message["content"].is_array() {
            return Err(LoopError::NoMessage);
        }
        let stop_reason = reply["stopReason"].as_str().unwrap_or_default().to_owned();
        messages.push(message.clone());
        if stop_reason != "tool_use" {
            return Ok(Ended {
                messages,
                stop_reason,
                rounds: round,
            });
        }
        let mut results = Vec::new();
        for call in calls(&message, caller) {
            let outcome = if agree(&call).await {
                tool(&call).await
            } else {
                Outcome::Reprompt(Fault::not_agreed(&call.tool))
            };
            // A tool's result in this form is always a reply.
            results.push(call.reply(&outcome).unwrap_or_default());
        }
        // All results of a message go back in one: Converse refuses a call without its result.
        messages.push(json!({ "role": "user", "content": results }));
    }
    Err(LoopError::TooManyRounds { rounds })
}

/// The calls of a message, in its order, each with what the application says of the session.
fn calls<'a>(message: &'a Value, caller: &'a Value) -> impl Iterator<Item = Call> + 'a {
    let blocks = message["content"].as_array().into_iter().flatten();
    blocks.filter_map(move |block| {
        let mut event = json!({ "toolUse": block.get("toolUse")? });
        for field in ["sessionId", "agent", "sessionAttributes"] {
            event[field] = caller[field].clone();
        }
        recognise(&event, &Default::default()).ok()
    })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// The loop waits for nothing here, so one look is enough.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("the loop waits"),
        }
    }

    fn says(stop_reason: &str, content: Value) -> Value {
        json!({ "output": { "message": { "role": "assistant", "content": content } }, "stopReason": stop_reason })
    }

    fn wants(id: &str, name: &str, input: Value) -> Value {
        json!({ "toolUse": { "toolUseId": id, "name": name, "input": input } })
    }

    fn question() -> Vec<Value> {
        vec![json!({ "role": "user", "content": [{ "text": "Where is order A-1?" }] })]
    }

    fn end(
        script: Vec<Result<Value, &'static str>>,
        rounds: usize,
    ) -> Result<Ended, LoopError<&'static str>> {
        let mut script = script.into_iter();
        let caller = json!({ "sessionId": "s", "sessionAttributes": { "user": "ada" } });
        now(run(
            question(),
            &caller,
            rounds,
            async |_: &[Value]| script.next().unwrap(),
            async |call: &Call| call.tool != "delete_order",
            async |call: &Call| {
                assert_eq!(call.session.as_deref(), Some("s"));
                assert_eq!(call.attribute("user"), Some("ada"));
                Outcome::Done(json!({ "ran": call.tool }))
            },
        ))
    }

    #[test]
    fn tools_are_run_until_the_model_has_done() {
        let two = json!([
            { "text": "I look." },
            wants("1", "get_order", json!({ "number": "A-1" })),
            wants("2", "delete_order", json!({})),
        ]);
        let script = vec![
            Ok(says("tool_use", two)),
            Ok(says("end_turn", json!([{ "text": "It is shipped." }]))),
        ];
        let ended = end(script, ROUNDS).unwrap();
        assert_eq!((ended.text().as_str(), ended.rounds), ("It is shipped.", 2));
        insta::assert_json_snapshot!(ended.messages[2], @r#"
        {
          "role": "user",
          "content": [
            {
              "toolResult": {
                "toolUseId": "1",
                "content": [
                  {
                    "json": {
                      "ran": "get_order"
                    }
                  }
                ],
                "status": "success"
              }
            },
            {
              "toolResult": {
                "toolUseId": "2",
                "content": [
                  {
                    "json": {
                      "error": {
                        "name": "NotAgreed",
                        "message": "the user did not agree to delete_order; ask what they want instead",
                        "retry": false
                      }
                    }
                  }
                ],
                "status": "error"
              }
            }
          ]
        }
        "#);
    }

    #[test]
    fn a_loop_that_does_not_end_is_ended() {
        let again = || {
            Ok(says(
                "tool_use",
                json!([wants("1", "get_order", json!({}))]),
            ))
        };
        assert_eq!(
            end(vec![again(), again()], 2),
            Err(LoopError::TooManyRounds { rounds: 2 })
        );
        assert_eq!(
            end(vec![Err("throttled")], 2),
            Err(LoopError::Model("throttled"))
        );
        assert_eq!(end(vec![Ok(json!({}))], 2), Err(LoopError::NoMessage));
    }
}
