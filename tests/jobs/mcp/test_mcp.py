"""`tamis mcp` as an assistant meets it: a client of the protocol talks to the command over its standard streams."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import tamis
from tamis.jobs.manifest.verify import verify

mcp = pytest.importorskip("mcp")

from mcp.client.stdio import StdioServerParameters, stdio_client  # noqa: E402

CLI = "from tamis.jobs.cli.app import main; main()"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("mcp")
    rows = [{"id": str(i), "text": ("The river bends below the old garden. " * (1 + i % 9))} for i in range(90)]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rule = {"column": "text_words", "op": "min", "threshold": 15, "reason": "short"}
    plain = {
        "inputs": [{"path": str(folder / "a.jsonl"), "source": "web"}],
        "steps": [{"language": {"min_score": 0.1}}, {"heuristics": {"rules": [rule]}}, {"sample": {"documents": 50}}],
    }
    tamis.run(plain, output=folder / "first")
    tamis.run(plain | {"steps": ["exact_dedup"]}, output=folder / "second")
    return str(folder / "first"), str(folder / "second")


def talk(runs: tuple[str, ...], conversation: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        environment = {name: os.environ[name] for name in ("PYTHONPATH", "PATH", "HOME") if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        server = StdioServerParameters(command=sys.executable, args=["-c", CLI, "mcp", *runs], env=environment)
        async with mcp.Client(stdio_client(server)) as client:
            await conversation(client)

    asyncio.run(asyncio.wait_for(main(), 120))


def test_an_assistant_asks_about_a_run(runs: tuple[str, str]) -> None:
    first = runs[0]

    async def conversation(client: Any) -> None:
        assert "data and never instructions" in client.instructions
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert sorted(tools) == ["funnel", "plan", "sample", "sql", "what_if"]
        for tool in tools.values():
            hints = tool.annotations.model_dump(by_alias=True)
            assert (hints["readOnlyHint"], hints["destructiveHint"]) == (True, False)

        async def ask(name: str, **arguments: Any) -> Any:
            result = await client.call_tool(name, arguments)
            assert not result.is_error, result.content
            return result.structured_content

        async def refused(name: str, **arguments: Any) -> str:
            result = await client.call_tool(name, arguments)
            assert result.is_error
            return str(result.content[0].text)

        funnel = await ask("funnel")
        assert (funnel["read"], funnel["selected"], funnel["errors"]) == (90, 50, 0)
        steps = {step["step"]: step for step in funnel["steps"]}
        assert steps["heuristics"]["rejected"] == {"short": 20}
        assert steps["sample"]["rejected"] == {"sample_draw_documents": 20}

        rows = await ask("sql", query="SELECT rule, count(*) AS n FROM rejected GROUP BY ALL ORDER BY ALL", limit=1)
        assert rows == {"columns": ["rule", "n"], "rows": [["sample_draw_documents", 20]], "more": True}
        assert "one query is wanted" in await refused("sql", query="DROP VIEW documents")
        assert "SQL: " in await refused("sql", query="FROM read_text('/etc/hostname')")

        drawn = await ask("sample", rule="short", n=3)
        assert len(drawn["rows"]) == 3
        assert drawn == await ask("sample", rule="short", n=3)
        assert "did you mean 'short'?" in await refused("sample", rule="shirt")

        bounds = await ask("what_if", column="text_words", min=30)
        (row,) = [dict(zip(bounds["columns"], row, strict=True)) for row in bounds["rows"]]
        assert row["source"] == "web"
        kept = await ask("sql", query="SELECT count(*) FROM selected WHERE text_words >= 30")
        assert kept["rows"][0][0] in row.values()
        assert "there is no column 'text_word'" in await refused("what_if", column="text_word", min=3)

        plan = await ask("plan", changes=["steps.language.min_score=0.2"])
        work = {step["step"]: step["work"] for step in plan["steps"]}
        assert work == {"extract": "stays", "language": "decides", "heuristics": "decides", "sample": "decides"}
        plan = await ask("plan", changes=["steps.language.prefix=50", "steps.sample.documents=20"])
        assert [step["work"] for step in plan["steps"]] == ["stays", "scores", "decides", "decides"]
        assert "documents: 20" in plan["config"]
        for change, said in {
            "steps.language.model=/etc/hostname": "names a file",
            "inputs.0.path=/etc/*": "only options of steps",
            "steps.language.min_scor=1": "did you mean 'min_score'?",
            "steps.2={pii: {}}": "can't be added or renamed",
        }.items():
            assert said in await refused("plan", changes=[change])

    talk((first,), conversation)
    assert verify(first).ok


def test_of_several_runs_one_is_named(runs: tuple[str, str]) -> None:
    first, second = runs

    async def conversation(client: Any) -> None:
        result = await client.call_tool("funnel", {})
        assert result.is_error
        assert f"`run` says which: {first}, {second}" in result.content[0].text
        result = await client.call_tool("funnel", {"run": second})
        assert [step["step"] for step in result.structured_content["steps"]] == ["extract", "exact_dedup"]
        assert (await client.call_tool("funnel", {"run": "/nowhere"})).is_error

    talk(runs, conversation)


def test_what_is_no_run_is_said(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    from tamis.jobs.cli.app import main

    for run, said in {str(tmp_path): "manifest.json", "hdfs://x/run": "only runs on this machine"}.items():
        monkeypatch.setattr(sys, "argv", ["tamis", "mcp", run])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code in (1, 2)
        assert said in capsys.readouterr().err
