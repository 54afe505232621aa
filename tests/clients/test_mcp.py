"""MCP as its official client sees it, with the handshake of the older protocol and without it."""

import json

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult

ACTIONS = {
    "search_knowledge",
    "ask_knowledge",
    "get_document",
    "list_documents",
    "flag_document",
    "get_order_status",
    "create_support_ticket",
    "get_support_ticket",
    "add_note",
}


@pytest.fixture(params=["legacy", "auto", "2026-07-28"])
def speak(request, instance):
    """Runs an exchange with a connected client."""

    def run(exchange):
        async def main():
            async with Client(instance.api + "/mcp", mode=request.param) as client:
                return await exchange(client)

        return anyio.run(main)

    return run


def test_tools_are_listed_and_called(speak):
    async def exchange(client):
        listed = await client.list_tools()
        found = await client.call_tool("search_knowledge", {"query": "ingestion jobs", "limit": 2})
        asked = await client.call_tool("ask_knowledge", {"question": "How many ingestion jobs may run at the same time?"})
        return listed, found, asked

    listed, found, asked = speak(exchange)
    assert {tool.name for tool in listed.tools} == ACTIONS
    search = next(tool for tool in listed.tools if tool.name == "search_knowledge")
    assert search.input_schema["required"] == ["query"] and search.annotations.read_only_hint
    assert not found.is_error and len(found.structured_content["passages"]) == 2
    assert json.loads(found.content[0].text) == found.structured_content
    assert asked.structured_content["answered"] and asked.structured_content["citations"]


def test_a_document_is_read_as_a_resource(speak, instance):
    async def exchange(client):
        listed = await client.list_resources()
        return listed, await client.read_resource(listed.resources[0].uri)

    listed, read = speak(exchange)
    uri = str(listed.resources[0].uri)
    document = instance.http("GET", "/v1/documents/" + uri.rsplit("/", 1)[1] + "/text")[2]
    assert read.contents[0].text == document["text"]


def test_what_is_wrong_is_told(speak):
    async def exchange(client):
        missing = await client.call_tool("get_order_status", {})
        with pytest.raises(MCPError) as unknown:
            await client.call_tool("drop_table", {})
        with pytest.raises(MCPError) as absent:
            await client.read_resource("outcrop://documents/default.0")
        return missing, unknown.value, absent.value

    missing, unknown, absent = speak(exchange)
    assert missing.is_error
    error = json.loads(missing.content[0].text)["error"]
    assert error["name"] == "ArgumentMissing" and "order_number" in error["message"]
    assert unknown.error.code == -32602 and "search_knowledge" in unknown.error.message
    assert absent.error.code in (-32002, -32602) and "default.0" in absent.error.message


def test_prompts_are_offered(speak):
    async def exchange(client):
        listed = await client.list_prompts()
        prompt = await client.get_prompt("answer_from_documents", {"question": "What is a marmot?"})
        return listed, prompt

    listed, prompt = speak(exchange)
    assert {prompt.name for prompt in listed.prompts} == {"answer_from_documents", "help_with_an_order"}
    assert "What is a marmot?" in prompt.messages[0].content.text


def test_a_write_happens_once(speak, instance):
    async def exchange(client):
        ticket = {"subject": "Lamp is broken", "description": "It came broken.", "tags": ["lamp"]}
        first = await client.call_tool("create_support_ticket", ticket)
        second = await client.call_tool("create_support_ticket", ticket)
        return first.structured_content, second.structured_content

    first, second = speak(exchange)
    assert first["ticket_id"] == second["ticket_id"] and second["repeated"]


def asking(instance, arguments, answer, mode="auto"):
    """Opens a ticket with a client that can ask its user: the result, and what the user was asked."""
    asked = []

    async def main():
        async def ask(context, params):
            asked.append(params)
            return ElicitResult(action=answer, content={} if answer == "accept" else None)

        async with Client(instance.api + "/mcp", mode=mode, elicitation_callback=ask) as client:
            return await client.call_tool("create_support_ticket", arguments)

    return anyio.run(main), asked


def test_a_user_is_asked_before_a_ticket_is_opened(instance):
    ticket = {"subject": "Heater is cold", "description": "Since Monday.", "tags": ["heater"]}
    declined, asked = asking(instance, ticket, "decline")
    assert declined.is_error and json.loads(declined.content[0].text)["error"]["name"] == "NotAgreed"
    assert len(asked) == 1 and asked[0].requested_schema["properties"] == {}
    assert asked[0].message == "Open a support ticket?\nsubject: Heater is cold\ndescription: Since Monday.\ntags: [\"heater\"]"
    closed, _ = asking(instance, ticket, "cancel")
    assert closed.is_error
    opened, asked = asking(instance, ticket, "accept")
    assert len(asked) == 1 and opened.structured_content["status"] == "OPEN"
    # Nothing was written before the user agreed.
    assert not opened.structured_content["repeated"]


def test_nobody_is_asked_where_nothing_could_be_done(instance):
    missing, asked = asking(instance, {"subject": "No description"}, "accept")
    assert missing.is_error and not asked
    assert json.loads(missing.content[0].text)["error"]["name"] == "ArgumentMissing"
    # The older protocol asks on a stream, which is not kept; there the host asks, by the tool's annotations.
    ticket = {"subject": "Stove is cold", "description": "Since Tuesday."}
    opened, asked = asking(instance, ticket, "decline", mode="legacy")
    assert not opened.is_error and not asked


def test_a_users_word_holds_for_what_was_asked(instance):
    def call(arguments, **more):
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
        }
        params = {"name": "create_support_ticket", "arguments": arguments, "_meta": meta, **more}
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": "create_support_ticket",
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        status, _, reply = instance.http("POST", "/mcp", body, headers)
        assert status == 200, reply
        return reply["result"]

    small = {"subject": "Lamp flickers", "description": "A little."}
    large = {"subject": "Lamp flickers", "description": "Pay me a million."}
    first = call(small)
    assert first["resultType"] == "input_required"
    agreed = {"inputResponses": {"agree": {"action": "accept", "content": {}}}}
    other = call(large, requestState=first["requestState"], **agreed)
    assert other["resultType"] == "input_required" and other["requestState"] != first["requestState"]
    assert "million" in other["inputRequests"]["agree"]["params"]["message"]
    stateless = call(small, **agreed)
    assert stateless["resultType"] == "input_required"
    done = call(small, requestState=first["requestState"], **agreed)
    assert done["structuredContent"]["status"] == "OPEN"
