//! AWS's rules for a Converse request, and the refusals by name.
use serde_json::Value;

use super::super::content::{ContentBlock, GuardContent, Role, SystemBlock, ToolResultPart};
use super::super::wire::WireError;
use super::{ConverseRequest, InferenceConfig, Tool, ToolChoice, ToolConfig};

impl ConverseRequest {
    /// AWS's rules, in the order in which a client would want to hear of them.
    pub(in crate::bedrock) fn check(&self) -> Result<(), WireError> {
        self.check_unsupported()?;
        self.inference_config.check()?;
        self.check_metadata()?;
        if let Some(tools) = &self.tool_config {
            tools.check()?;
        }
        self.check_turns()?;
        for (index, block) in self.system.iter().enumerate() {
            check_system(block, index)?;
        }
        for (turn, message) in self.messages.iter().enumerate() {
            for (index, block) in message.content.iter().enumerate() {
                check_block(
                    block,
                    message.role,
                    &format!("messages.{turn}.content.{index}"),
                )?;
            }
        }
        self.check_tool_turns()
    }

    fn check_unsupported(&self) -> Result<(), WireError> {
        let some = |value: &Option<Value>| {
            value
                .as_ref()
                .is_some_and(|v| !v.as_object().is_some_and(|o| o.is_empty()))
        };
        let refused = [
            (
                some(&self.additional_model_request_fields),
                "additionalModelRequestFields",
            ),
            (
                !self.additional_model_response_field_paths.is_empty(),
                "additionalModelResponseFieldPaths",
            ),
            (some(&self.prompt_variables), "promptVariables"),
            (some(&self.output_config), "outputConfig"),
        ];
        match refused.iter().find(|(present, _)| *present) {
            Some((_, name)) => Err(WireError::unsupported(name)),
            None => Ok(()),
        }
    }

    /// 1 to 16 pairs of at most 256 characters (Bedrock runtime API model).
    fn check_metadata(&self) -> Result<(), WireError> {
        let Some(pairs) = &self.request_metadata else {
            return Ok(());
        };
        let too_long = |text: &String| text.chars().count() > 256;
        if pairs.is_empty()
            || pairs.len() > 16
            || pairs
                .iter()
                .any(|(k, v)| k.is_empty() || too_long(k) || too_long(v))
        {
            return Err(constraint(
                "requestMetadata",
                "have between 1 and 16 pairs of at most 256 characters",
            ));
        }
        Ok(())
    }

    fn check_turns(&self) -> Result<(), WireError> {
        let Some(first) = self.messages.first() else {
            return Err(WireError::validation(
                "A conversation must have at least one message.",
            ));
        };
        if let Some(turn) = self
            .messages
            .iter()
            .position(|message| message.role == Role::System)
        {
            return Err(WireError::unsupported(format!(
                "messages.{turn}.role system"
            )));
        }
        if first.role != Role::User {
            return Err(WireError::validation(
                "A conversation must start with a user message. Try again with a conversation that starts with a user message.",
            ));
        }
        if self
            .messages
            .windows(2)
            .any(|pair| pair[0].role == pair[1].role)
        {
            return Err(WireError::validation(
                "A conversation must alternate between user and assistant roles. Make sure the conversation alternates \
                 between user and assistant roles and try again.",
            ));
        }
        if self
            .messages
            .last()
            .is_some_and(|last| last.role == Role::Assistant)
        {
            return Err(WireError::validation(
                "A conversation must end with a user message. Try again with a conversation that ends with a user message.",
            ));
        }
        match self
            .messages
            .iter()
            .position(|message| message.content.is_empty())
        {
            Some(turn) => Err(WireError::validation(format!(
                "The content field in the Message object at messages.{turn} is empty. Add a ContentBlock object to the content field and try again."
            ))),
            None => Ok(()),
        }
    }

    /// Each toolResult answers a toolUse of the turn before, and each toolUse is answered.
    fn check_tool_turns(&self) -> Result<(), WireError> {
        let mut asked: Vec<&str> = Vec::new();
        for (turn, message) in self.messages.iter().enumerate() {
            let answered: Vec<&str> = message.content.iter().filter_map(tool_result_id).collect();
            let uses: Vec<&str> = message.content.iter().filter_map(tool_use_id).collect();
            if (!answered.is_empty() || !uses.is_empty()) && self.tool_config.is_none() {
                return Err(WireError::validation(
                    "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
                ));
            }
            if answered.iter().any(|id| !asked.contains(id)) || answered.len() > asked.len() {
                return Err(WireError::validation(format!(
                    "The number of toolResult blocks at messages.{turn}.content exceeds the number of toolUse blocks of previous turn."
                )));
            }
            let missing: Vec<&str> = asked
                .iter()
                .copied()
                .filter(|id| !answered.contains(id))
                .collect();
            if !missing.is_empty() {
                return Err(WireError::validation(format!(
                    "Expected toolResult blocks at messages.{turn}.content for the following Ids: {}",
                    missing.join(", ")
                )));
            }
            asked = uses;
        }
        Ok(())
    }
}

impl InferenceConfig {
    fn check(&self) -> Result<(), WireError> {
        if self.max_tokens.is_some_and(|n| n < 1) {
            return Err(constraint(
                "inferenceConfig.maxTokens",
                "have value greater than or equal to 1",
            ));
        }
        let outside = |value: Option<f64>| value.is_some_and(|v| !(0.0..=1.0).contains(&v));
        if outside(self.temperature) {
            return Err(constraint(
                "inferenceConfig.temperature",
                "have value between 0 and 1",
            ));
        }
        if outside(self.top_p) {
            return Err(constraint(
                "inferenceConfig.topP",
                "have value between 0 and 1",
            ));
        }
        if self.stop_sequences.len() > 2500 || self.stop_sequences.iter().any(String::is_empty) {
            return Err(constraint(
                "inferenceConfig.stopSequences",
                "have at most 2500 items of length 1 or more",
            ));
        }
        Ok(())
    }
}

impl ToolConfig {
    fn check(&self) -> Result<(), WireError> {
        if self.specs().next().is_none() {
            return Err(constraint(
                "toolConfig.tools",
                "have length greater than or equal to 1",
            ));
        }
        let mut names: Vec<&str> = Vec::new();
        for (index, tool) in self.tools.iter().enumerate() {
            let spec = match tool {
                Tool::Spec(spec) => spec,
                Tool::System(_) => {
                    return Err(WireError::unsupported(format!(
                        "toolConfig.tools.{index}.systemTool"
                    )));
                }
                Tool::CachePoint(_) => continue,
            };
            check_tool_name(
                &spec.name,
                &format!("toolConfig.tools.{index}.toolSpec.name"),
            )?;
            if names.contains(&spec.name.as_str()) {
                return Err(WireError::validation(format!(
                    "The tool name {} is used more than once in toolConfig.tools.",
                    spec.name
                )));
            }
            // The local model's arguments follow the schema anyway; an endpoint's are as good as its model.
            if spec.strict == Some(true)
                && let Some(path) = open_object(&spec.input_schema.json)
            {
                return Err(WireError::validation(format!(
                    "toolConfig.tools.{index}.toolSpec.inputSchema.json{path}: for a strict tool, additionalProperties must be false."
                )));
            }
            if spec.input_schema.json.get("type").and_then(Value::as_str) != Some("object") {
                return Err(WireError::validation(format!(
                    "The value at toolConfig.tools.{index}.toolSpec.inputSchema.json.type must be one of the following: object."
                )));
            }
            names.push(&spec.name);
        }
        match &self.tool_choice {
            Some(ToolChoice::Tool { name }) if !names.contains(&name.as_str()) => {
                Err(WireError::validation(format!(
                    "The tool {name} of toolConfig.toolChoice is not in toolConfig.tools."
                )))
            }
            _ => Ok(()),
        }
    }
}

/// 1 to 64 characters of `[a-zA-Z0-9_-]`.
fn check_tool_name(name: &str, path: &str) -> Result<(), WireError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(legal) {
        return Err(constraint(
            path,
            "satisfy regular expression pattern: [a-zA-Z0-9_-]{1,64}",
        ));
    }
    Ok(())
}

fn tool_use_id(block: &ContentBlock) -> Option<&str> {
    match block {
        ContentBlock::ToolUse(tool) => Some(&tool.tool_use_id),
        _ => None,
    }
}

fn tool_result_id(block: &ContentBlock) -> Option<&str> {
    match block {
        ContentBlock::ToolResult(result) => Some(&result.tool_use_id),
        _ => None,
    }
}

fn check_system(block: &SystemBlock, index: usize) -> Result<(), WireError> {
    match block {
        SystemBlock::Text(text) => {
            not_blank(text, "SystemContentBlock", &format!("system.{index}"))
        }
        SystemBlock::GuardContent(guard) => check_guard_content(guard, &format!("system.{index}")),
        SystemBlock::CachePoint(_) => Ok(()),
    }
}

fn check_block(block: &ContentBlock, role: Role, path: &str) -> Result<(), WireError> {
    if let Some(name) = block.unsupported() {
        return Err(WireError::unsupported(format!("{path}.{name}")));
    }
    let user_only = |name: &str| match role {
        Role::User => Ok(()),
        _ => Err(WireError::validation(format!(
            "The {name} block at {path} is only allowed in a message of the user role."
        ))),
    };
    let assistant_only = |name: &str| match role {
        Role::Assistant => Ok(()),
        _ => Err(WireError::validation(format!(
            "The {name} block at {path} is only allowed in a message of the assistant role."
        ))),
    };
    match block {
        ContentBlock::Text(text) => not_blank(text, "ContentBlock", path),
        ContentBlock::SearchResult(result) => {
            user_only("searchResult")?;
            check_parts(
                result.content.iter().map(|part| part.text.as_str()),
                &format!("{path}.searchResult.content"),
            )
        }
        ContentBlock::Document(document) => {
            user_only("document")?;
            super::super::passages::document_parts(document, path).map(|_| ())
        }
        ContentBlock::GuardContent(guard) => check_guard_content(guard, path),
        ContentBlock::ToolUse(tool) => {
            assistant_only("toolUse")?;
            check_tool_name(&tool.name, &format!("{path}.toolUse.name"))
        }
        ContentBlock::ToolResult(result) => {
            user_only("toolResult")?;
            match result.content.iter().find_map(ToolResultPart::unsupported) {
                Some(name) => Err(WireError::unsupported(format!(
                    "{path}.toolResult.content {name}"
                ))),
                None => Ok(()),
            }
        }
        ContentBlock::CitationsContent(_) => assistant_only("citationsContent"),
        _ => Ok(()),
    }
}

fn check_parts<'a>(
    parts: impl ExactSizeIterator<Item = &'a str>,
    path: &str,
) -> Result<(), WireError> {
    if parts.len() == 0 {
        return Err(constraint(path, "have length greater than or equal to 1"));
    }
    parts.enumerate().try_for_each(|(index, text)| {
        not_blank(text, "SearchResultContentBlock", &format!("{path}.{index}"))
    })
}

fn check_guard_content(guard: &GuardContent, path: &str) -> Result<(), WireError> {
    match guard {
        GuardContent::Text(text) => not_blank(
            &text.text,
            "GuardrailConverseTextBlock",
            &format!("{path}.guardContent.text"),
        ),
        GuardContent::Image(_) => Err(WireError::unsupported(format!("{path}.guardContent.image"))),
    }
}

fn not_blank(text: &str, object: &str, path: &str) -> Result<(), WireError> {
    if text.trim().is_empty() {
        return Err(WireError::validation(format!(
            "The text field in the {object} object at {path} is blank. Add text to the text field, and try again."
        )));
    }
    Ok(())
}

/// AWS's wording for a value outside its range.
fn constraint(path: &str, rule: &str) -> WireError {
    WireError::validation(format!(
        "1 validation error detected: Value at '{path}' failed to satisfy constraint: Member must {rule}"
    ))
}

/// Where an object of the schema takes members that it does not name, from the schema's root.
fn open_object(schema: &Value) -> Option<String> {
    if schema["type"] == "object" && schema["additionalProperties"] != false {
        return Some(String::new());
    }
    let properties = schema["properties"].as_object().into_iter().flatten();
    let inside = properties.map(|(name, inner)| (format!(".properties.{name}"), inner));
    let items = schema
        .get("items")
        .map(|items| (".items".to_owned(), items));
    inside
        .chain(items)
        .find_map(|(path, inner)| open_object(inner).map(|rest| path + &rest))
}
