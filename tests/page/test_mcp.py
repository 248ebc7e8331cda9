"""The page as tools of the Model Context Protocol, asked by the protocol's own client."""

import ast

import anyio
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from tests.helpers.pages import page_process
from tests.helpers.repositories import FLOWERS, make_repository

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    model = make_repository(tmp_path_factory.mktemp("model"))
    with page_process("--mcp", "--model", model, path=r"\S*/mcp/") as address:
        yield address


def test_the_endpoints_are_tools_with_descriptions(address):
    async def ask():
        async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            info = next((name for name in tools if name.endswith("model_info")), None)
            return tools, info and await session.call_tool(info, {})

    tools, answer = anyio.run(ask)
    assert sorted(tools) == ["classify", "classify_batch", "explain", "model_info"]
    assert all(tool.description.strip() for tool in tools.values())
    assert ast.literal_eval(answer.content[0].text)["classes"] == list(FLOWERS)
