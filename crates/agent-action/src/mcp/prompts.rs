//! Prompts that a client can offer its user.

use rmcp::ErrorData;
use rmcp::model::{
    GetPromptRequestParams, GetPromptResult, Prompt, PromptArgument, PromptMessage, Role,
};

const ANSWER: &str = "answer_from_documents";
const SUPPORT: &str = "help_with_an_order";

pub(super) fn all() -> Vec<Prompt> {
    let argument = |name: &str, words: &str| {
        PromptArgument::new(name)
            .with_description(words)
            .with_required(true)
    };
    vec![
        Prompt::new(
            ANSWER,
            Some("Answers a question from the documents, with citations."),
            Some(vec![argument("question", "What the user wants to know.")]),
        )
        .with_title("Answer from the documents"),
        Prompt::new(
            SUPPORT,
            Some("Looks an order up and helps with it, up to a support ticket."),
            Some(vec![argument("order_number", "The order's number.")]),
        )
        .with_title("Help with an order"),
    ]
}

pub(super) fn get(request: &GetPromptRequestParams) -> Result<GetPromptResult, ErrorData> {
    let argument = |name: &str| {
        let given = request.arguments.as_ref();
        let given = given
            .and_then(|given| given.get(name))
            .and_then(|value| value.as_str());
        given.filter(|text| !text.trim().is_empty()).ok_or_else(|| {
            let words = format!("the prompt {} needs the argument {name}", request.name);
            ErrorData::invalid_params(words, None)
        })
    };
    let text = match request.name.as_str() {
        ANSWER => format!(
            "Answer the question below from the documents only. Look it up with search_knowledge or ask_knowledge, \
             quote what you rest on, and name the document of each quote. If the documents hold no answer, say so.\
             \n\nQuestion: {}",
            argument("question")?
        ),
        SUPPORT => format!(
            "Help me with my order {}. Look it up with get_order_status. If something is wrong with it, look in the \
             documents for what can be done. Only if that does not help, offer to open a support ticket, and open it \
             when I agree.",
            argument("order_number")?
        ),
        other => {
            let words = format!("there is no prompt {other:?}; there are {ANSWER}, {SUPPORT}");
            return Err(ErrorData::invalid_params(words, None));
        }
    };
    Ok(GetPromptResult::new(vec![PromptMessage::new_text(
        Role::User,
        text,
    )]))
}
