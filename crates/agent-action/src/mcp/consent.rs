//! The user's word before an action of [`Tier::Confirm`], asked for through the client.
//!
//! From protocol 2026-07-28 a call may be answered with `input_required`: the client asks its user and sends the same
//! call again with what the user said. No session is needed, so a function that forgets everything between two calls
//! can ask. Older protocols send questions over a stream that stays open, which this function does not keep; there,
//! and for clients that cannot ask, the host decides by the tool's annotations.
//! Source: Model Context Protocol 2026-07-28, "Multi Round-Trip Requests" and "Elicitation".

use knowledge::actions::{Declared, Tier};
use knowledge::digest::short_id;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationSchema, InputRequest, InputRequests, InputRequiredResult, ProtocolVersion,
};
use rmcp::service::RequestContext;
use serde_json::{Map, Value};

/// What the question is called in the client's answer.
const QUESTION: &str = "agree";
/// Hex digits of the state that binds a word to what it was given for.
const STATE_DIGITS: usize = 64;
/// Characters of one argument that the user is shown.
const SHOWN: usize = 600;

/// What the user said.
pub(super) enum Word {
    /// Agreed, or nobody there could be asked.
    Go,
    /// Declined or closed the question.
    No,
    /// Not asked yet.
    Ask(Box<InputRequiredResult>),
}

/// Whether the call may be run. `principal` is who calls.
pub(super) fn word(
    action: &Declared,
    request: &CallToolRequestParams,
    principal: &str,
    context: &RequestContext<RoleServer>,
) -> Word {
    if action.tier != Tier::Confirm || !can_ask(context) {
        return Word::Go;
    }
    let nothing = Map::new();
    let arguments = request.arguments.as_ref().unwrap_or(&nothing);
    let state = state(action.name, arguments, principal);
    let said = request
        .input_responses
        .as_ref()
        .and_then(|said| said.get(QUESTION));
    // A word that was given for other arguments is no word for these.
    match said {
        Some(said) if request.request_state.as_deref() == Some(state.as_str()) => {
            match serde_json::from_value::<ElicitResult>(said.clone()) {
                Ok(result) if result.action == ElicitationAction::Accept => Word::Go,
                _ => Word::No,
            }
        }
        _ => Word::Ask(Box::new(question(action, arguments, state))),
    }
}

fn can_ask(context: &RequestContext<RoleServer>) -> bool {
    let speaks = context
        .protocol_version()
        .is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
    let elicits = context
        .client_capabilities()
        .and_then(|client| client.elicitation)
        // A client that names neither mode knows forms. Source: Elicitation, "Capabilities".
        .is_some_and(|elicits| elicits.form.is_some() || elicits.url.is_none());
    speaks && elicits
}

/// The state says what was asked about and is made again from the call that comes back, so it needs no secret: whoever
/// forges one has only said of themselves that their user agreed, which a client can say anyway.
fn state(action: &str, arguments: &Map<String, Value>, principal: &str) -> String {
    let arguments = Value::Object(arguments.clone()).to_string();
    short_id(&["consent", principal, action, &arguments], STATE_DIGITS)
}

fn question(
    action: &Declared,
    arguments: &Map<String, Value>,
    state: String,
) -> InputRequiredResult {
    let mut message = format!("{}?", action.title);
    for (name, value) in arguments {
        let whole = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut shown: String = whole.chars().take(SHOWN).collect();
        if shown.len() < whole.len() {
            shown.push('…');
        }
        message.push_str(&format!("\n{}: {shown}", name.replace('_', " ")));
    }
    // A form without fields: agreeing is the whole answer.
    let asked = ElicitRequest::new(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message,
        requested_schema: ElicitationSchema::new(Default::default()),
    });
    let asked = InputRequests::from([(QUESTION.to_owned(), InputRequest::Elicitation(asked))]);
    InputRequiredResult::new(Some(asked), Some(state))
}
