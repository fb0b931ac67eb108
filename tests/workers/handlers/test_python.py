"""Handlers that are Python: every form a user may write, and every mistake, answered with what to do."""

from __future__ import annotations

import itertools
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dataflow.handler import Reject
from tests.workers.support import pace, plain, task, tasks, worker
from workers import kinds
from workers.fate import BadOutput
from workers.handler import Handler, HandlerUnusable, Pace
from workers.handlers import python
from workers.pulse import Pulse
from workers.task import Task

Write = Callable[[str], str]
numbers = itertools.count()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module beside the flow file; gives its name, new each time."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def to_module(source: str) -> str:
        name = f"steps{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        return name

    yield to_module
    for name in set(sys.modules) - before:
        if name.startswith("steps"):
            del sys.modules[name]


@pytest.fixture
def load(write: Write, tmp_path: Path) -> Callable[..., Handler]:
    """Loads `handle` (or another attribute) of a module with this source."""

    def loaded(source: str, attribute: str = "handle", **changes: Any) -> Handler:
        return python.load(worker(handler=f"{write(source)}:{attribute}", **changes), tmp_path)

    return loaded


Load = Callable[..., Handler]


def answers(handler: Handler, batch: Sequence[Task], threads: int = 1) -> list[Any]:
    results = handler.handle(batch, pace(threads))
    assert results.split is None, results.split
    return [plain(result) for result in results.each]


class TestForms:
    """What may be written."""

    def test_a_function(self, load: Load) -> None:
        handler = load("def handle(message): return {'n': message['n'] * 2}")
        assert answers(handler, tasks(3)) == [[{"n": 0}], [{"n": 2}], [{"n": 4}]]

    def test_a_function_with_params_by_name(self, load: Load) -> None:
        handler = load(
            "def handle(message, factor, plus=0): return {'n': message['n'] * factor + plus}", params={"factor": 3}
        )
        assert answers(handler, tasks(2)) == [[{"n": 0}], [{"n": 3}]]

    def test_a_function_with_any_params(self, load: Load) -> None:
        handler = load(
            "def handle(message, **options): return dict(message, **options)", params={"partial": 1, "x": "y"}
        )
        assert answers(handler, tasks(1)) == [[{"n": 0, "partial": 1, "x": "y"}]]

    @pytest.mark.parametrize(
        "signature", ["message, context", "message, ctx", "message, context=None", "message, *, context"]
    )
    def test_a_context_for_those_who_ask(self, load: Load, signature: str) -> None:
        name = signature.rpartition(" ")[2].partition("=")[0]
        handler = load(
            f"def handle({signature}): return {{'seen': [{name}.mid, {name}.attempt, {name}.worker, {name}.stream]}}"
        )
        assert answers(handler, [task(7, attempt=2)]) == [[{"seen": ["m7", 2, "double", "in.stream_in"]}]]

    def test_a_context_behind_params(self, load: Load) -> None:
        source = "def handle(message, factor, context): return {'n': factor, 'mid': context.mid}"
        assert answers(load(source, params={"factor": 3}), [task(7)]) == [[{"n": 3, "mid": "m7"}]]

    def test_no_context_for_a_second_argument_with_a_default(self, load: Load) -> None:
        assert answers(load("def handle(message, factor=5): return {'n': factor}"), tasks(1)) == [[{"n": 5}]]

    def test_the_context_has_a_logger(self, load: Load, caplog: pytest.LogCaptureFixture) -> None:
        answers(load("def handle(message, context): context.logger.error('seen %s', message['n'])"), tasks(1))
        assert [(record.name, record.message) for record in caplog.records] == [("handler.double", "seen 0")]

    def test_a_class_is_set_up_once(self, load: Load) -> None:
        handler = load(
            """
            class Model:
                def setup(self, context, factor, plus=1):
                    self.calls, self.factor, self.plus, self.worker = [], factor, plus, context.worker
                def handle(self, message):
                    self.calls.append(message['n'])
                    return {'n': message['n'] * self.factor + self.plus, 'worker': self.worker,
                            'calls': len(self.calls)}
            """,
            "Model",
            params={"factor": 10},
        )
        assert answers(handler, tasks(2)) == [
            [{"n": 1, "worker": "double", "calls": 1}],
            [{"n": 11, "worker": "double", "calls": 2}],
        ]

    def test_a_class_without_setup(self, load: Load) -> None:
        handler = load("class Model:\n    def handle(self, message, context): return {'mid': context.mid}", "Model")
        assert answers(handler, [task(3)]) == [[{"mid": "m3"}]]

    def test_a_class_is_closed(self, load: Load, capsys: pytest.CaptureFixture[str]) -> None:
        source = "class Model:\n    def handle(self, message): pass\n    def close(self): print('closed')"
        load(source, "Model").close()
        assert capsys.readouterr().out == "closed\n"

    def test_a_coroutine_function(self, load: Load) -> None:
        handler = load("import asyncio\nasync def handle(message):\n    await asyncio.sleep(0)\n    return message")
        assert answers(handler, tasks(2)) == [[{"n": 0}], [{"n": 1}]]
        handler.close()

    def test_a_class_whose_every_method_is_awaited_in_one_loop(
        self, load: Load, capsys: pytest.CaptureFixture[str]
    ) -> None:
        handler = load(
            """
            import asyncio
            class Model:
                async def setup(self, context, factor):
                    self.loop, self.factor = asyncio.get_running_loop(), factor
                async def handle(self, message, context):
                    assert asyncio.get_running_loop() is self.loop
                    return {'n': message['n'] * self.factor, 'mid': context.mid}
                async def close(self):
                    print('closed', asyncio.get_running_loop() is self.loop)
            """,
            "Model",
            params={"factor": 2},
        )
        assert answers(handler, [task(4)]) == [[{"n": 8, "mid": "m4"}]]
        handler.close()
        assert capsys.readouterr().out == "closed True\n"

    def test_a_setup_that_is_awaited_before_a_plain_handle(self, load: Load) -> None:
        handler = load(
            """
            class Model:
                async def setup(self, context): self.x = 1
                def handle(self, message): return {'x': self.x}
            """,
            "Model",
        )
        assert answers(handler, tasks(1)) == [[{"x": 1}]]

    def test_an_object_that_can_be_called(self, load: Load) -> None:
        source = "class Model:\n    def __call__(self, message, context): return {'mid': context.mid}\nhandle = Model()"
        assert answers(load(source), [task(2)]) == [[{"mid": "m2"}]]

    def test_an_attribute_of_an_attribute(self, load: Load) -> None:
        source = "class Box:\n    @staticmethod\n    def inner(message): return message"
        assert answers(load(source, "Box.inner"), tasks(1)) == [[{"n": 0}]]

    def test_a_generator(self, load: Load) -> None:
        source = "def handle(message):\n    for i in range(message['n']): yield {'i': i}"
        assert answers(load(source), tasks(3)) == [[], [{"i": 0}], [{"i": 0}, {"i": 1}]]

    def test_a_module_in_a_folder_without_init(self, write: Write, tmp_path: Path) -> None:
        (tmp_path / "stepsfolder").mkdir()
        (tmp_path / "stepsfolder" / "model.py").write_text("def handle(message): return message")
        handler = python.load(worker(handler="stepsfolder.model:handle"), tmp_path)
        assert answers(handler, tasks(1)) == [[{"n": 0}]]

    def test_a_module_may_import_its_neighbours(self, load: Load, write: Write) -> None:
        neighbour = write("FACTOR = 7")
        handler = load(f"from {neighbour} import FACTOR\ndef handle(message): return {{'n': FACTOR}}")
        assert answers(handler, tasks(1)) == [[{"n": 7}]]


class TestBatches:
    """Many messages at once."""

    def test_a_list(self, load: Load) -> None:
        handler = load("def handle(messages): return [{'n': m['n'] + 1} for m in messages]", batch_handler="list")
        assert answers(handler, tasks(3)) == [[{"n": 1}], [{"n": 2}], [{"n": 3}]]

    def test_a_list_with_context_and_params(self, load: Load) -> None:
        source = "def handle(messages, plus, context): return [{'n': plus, 'mid': context.mid, 'w': context.worker}]"
        handler = load(source, batch_handler="list", params={"plus": 4})
        assert answers(handler, tasks(1)) == [[{"n": 4, "mid": "", "w": "double"}]]

    def test_a_coroutine_function(self, load: Load) -> None:
        handler = load("async def handle(messages): return messages", batch_handler="list")
        assert answers(handler, tasks(2)) == [[{"n": 0}], [{"n": 1}]]

    def test_a_frame(self, load: Load) -> None:
        handler = load(
            "def handle(frame): return frame[frame['n'] > 1].assign(twice=frame['n'] * 2)", batch_handler="dataframe"
        )
        assert answers(handler, tasks(3)) == [None, None, [{"n": 2, "twice": 4}]]

    def test_a_class_and_frames(self, load: Load) -> None:
        source = """
        class Model:
            def setup(self, context, k): self.k = k
            def handle(self, frame): return frame * self.k
        """
        handler = load(source, "Model", batch_handler="dataframe", params={"k": 3})
        assert answers(handler, tasks(2)) == [[{"n": 0}], [{"n": 3}]]

    def test_an_aggregate(self, load: Load) -> None:
        handler = load(
            "def handle(messages): return {'sum': sum(m['n'] for m in messages)}", batch_handler="list", aggregate=True
        )
        results = handler.handle(tasks(4), pace())
        assert results.together
        assert [plain(result) for result in results.each] == [[{"sum": 6}], [], [], []]

    @pytest.mark.parametrize("body", ["1 / 0", "raise SystemExit(3)", "raise KeyboardInterrupt", "return 'nonsense'"])
    def test_a_batch_that_fails_is_split_and_a_single_message_fails(self, load: Load, body: str) -> None:
        handler = load(f"def handle(messages): {body}", batch_handler="list")
        results = handler.handle(tasks(2), pace())
        assert results.split is not None
        assert list(results.each) == []
        assert isinstance(answers(handler, tasks(1))[0], BaseException)

    def test_nothing_is_begun_once_the_process_stops(self, load: Load) -> None:
        handler = load("def handle(messages): return messages", batch_handler="list")
        stopping = Pace(Pulse(1), lambda: True)
        assert list(handler.handle(tasks(2), stopping).each) == []


class TestFailures:
    """A message that fails fails alone."""

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            ("1 / 0", ZeroDivisionError),
            ("import sys; sys.exit(3)", SystemExit),
            ("raise KeyboardInterrupt", KeyboardInterrupt),
            ("raise GeneratorExit", GeneratorExit),
            ("return 'nonsense'", BadOutput),
            ("yield {'a': 1}; 1 / 0", ZeroDivisionError),
        ],
    )
    def test_whatever_is_raised(self, load: Load, body: str, error: type[BaseException]) -> None:
        source = f"def handle(message):\n    if message['n'] != 1: return [message]\n    {body}"
        if "yield" in body:
            source = "def handle(message):\n    if message['n'] == 1: 1 / 0\n    yield message"
        first, second, third = answers(load(source), tasks(3))
        assert (first, third) == ([{"n": 0}], [{"n": 2}])
        assert isinstance(second, error)

    @pytest.mark.parametrize(
        "body",
        [
            "1 / 0",
            "raise SystemExit",
            "raise asyncio.CancelledError",
            "asyncio.current_task().cancel(); await asyncio.sleep(0)",
        ],
    )
    @pytest.mark.parametrize("threads", [1, 3])
    def test_whatever_is_raised_while_awaited(self, load: Load, body: str, threads: int) -> None:
        source = f"import asyncio\nasync def handle(message):\n    if message['n'] != 1: return message\n    {body}"
        first, second, third = answers(load(source, threads=threads), tasks(3), threads)
        assert (first, third) == ([{"n": 0}], [{"n": 2}])
        assert isinstance(second, BaseException)

    def test_a_reject_comes_out_as_it_is(self, load: Load) -> None:
        handler = load("from dataflow.handler import Reject\ndef handle(message): raise Reject('no')")
        assert isinstance(answers(handler, tasks(1))[0], Reject)

    def test_a_call_that_has_failed_runs_no_more(self, load: Load) -> None:
        own = pace()
        load("def handle(message): 1 / 0").handle(tasks(2), own)
        assert own.pulse.oldest_call_s() == 0.0


class TestConcurrency:
    """threads: N."""

    def test_threads_work_at_once_and_answer_in_order(self, load: Load) -> None:
        handler = load(
            """
            import threading
            together = threading.Barrier(4)
            def handle(message):
                together.wait(10)
                return {'n': message['n'], 'thread': threading.get_ident()}
            """,
            threads=4,
        )
        found = [answer[0] for answer in answers(handler, tasks(8), threads=4)]
        assert [message["n"] for message in found] == list(range(8))
        assert len({message["thread"] for message in found}) == 4

    def test_a_failing_thread_does_not_disturb_the_others(self, load: Load) -> None:
        source = "def handle(message):\n    if message['n'] % 2: raise SystemExit\n    return message"
        found = answers(load(source, threads=3), tasks(9), threads=3)
        assert [isinstance(answer, SystemExit) for answer in found] == [bool(n % 2) for n in range(9)]

    def test_coroutines_work_at_once_up_to_the_limit(self, load: Load) -> None:
        handler = load(
            """
            import asyncio
            running = most = 0
            async def handle(message):
                global running, most
                running += 1
                most = max(most, running)
                await asyncio.sleep(0.001)
                running -= 1
                return {'most': most}
            """,
            threads=5,
        )
        assert answers(handler, tasks(20), threads=5)[-1] == [{"most": 5}]

    @pytest.mark.parametrize("kind", ["def", "async def"])
    @pytest.mark.parametrize("threads", [1, 2])
    def test_slow_messages_are_settled_before_the_batch_is_through(self, load: Load, kind: str, threads: int) -> None:
        handler = load(f"import time\n{kind} handle(message): time.sleep(0.03); return message", threads=threads)
        hasty = pace(threads, settle_every_s=0.05)
        done = len(handler.handle(tasks(50), hasty).each)
        assert 1 <= done < 50

    @pytest.mark.parametrize("threads", [1, 2])
    def test_no_message_is_begun_after_the_signal(self, load: Load, threads: int) -> None:
        stop = threading.Event()
        handler = load("def handle(message): return message", threads=threads)
        asked = itertools.count()

        def stopping() -> bool:
            if next(asked) == 5:
                stop.set()
            return stop.is_set()

        steady = Pace(Pulse(threads), stopping, 60.0)
        steady.start()
        assert len(handler.handle(tasks(50), steady).each) == 5

    def test_the_pulse_beats_during_a_call(self, load: Load) -> None:
        handler = load("import time\ndef handle(message): time.sleep(0.2)")
        own = pace()
        thread = threading.Thread(target=handler.handle, args=(tasks(1), own))
        thread.start()
        deadline = time.monotonic() + 10
        while own.pulse.oldest_call_s() < 0.05:
            assert time.monotonic() < deadline
        thread.join()
        assert own.pulse.oldest_call_s() == 0.0


class TestMistakes:
    """Every mistake is told with its way out."""

    def refused(self, folder: Path, handler: str, **changes: Any) -> str:
        with pytest.raises(HandlerUnusable) as raised:
            kinds.load(worker(handler=handler, **changes), folder)
        text = str(raised.value)
        assert repr(handler) in text
        return text

    def test_no_such_module(self, write: Write, tmp_path: Path) -> None:
        text = self.refused(tmp_path, "steps_missing.deep:handle")
        assert f"there is no module 'steps_missing.deep'; put steps_missing/deep.py into {tmp_path}" in text

    def test_a_module_that_raises(self, write: Write, tmp_path: Path) -> None:
        text = self.refused(tmp_path, f"{write('raise RuntimeError(42)')}:handle")
        assert "importing" in text
        assert "RuntimeError: 42" in text

    def test_a_module_that_exits(self, write: Write, tmp_path: Path) -> None:
        assert "SystemExit: 3" in self.refused(tmp_path, f"{write('import sys; sys.exit(3)')}:handle")

    def test_a_module_that_does_not_parse(self, write: Write, tmp_path: Path) -> None:
        assert "SyntaxError" in self.refused(tmp_path, f"{write('def handle(message:')}:handle")

    def test_a_module_that_imports_what_is_not_there(self, write: Write, tmp_path: Path) -> None:
        text = self.refused(tmp_path, f"{write('import steps_of_nobody')}:handle")
        assert "No module named 'steps_of_nobody'" in text

    def test_no_such_attribute_names_those_that_are_there(self, write: Write, tmp_path: Path) -> None:
        name = write("def score(m): pass\nclass Model: pass\n_hidden = print")
        assert f"{name!r} has no 'handle'; it has score, Model" in self.refused(tmp_path, f"{name}:handle")

    def test_not_a_function(self, write: Write, tmp_path: Path) -> None:
        assert "is a int, not a function or class" in self.refused(tmp_path, f"{write('handle = 3')}:handle")

    @pytest.mark.parametrize("signature", ["", "a, b, c", "*, message", "message, *, must"])
    def test_a_signature_that_does_not_fit(self, write: Write, tmp_path: Path, signature: str) -> None:
        text = self.refused(tmp_path, f"{write(f'def handle({signature}): pass')}:handle")
        assert "must take (message) or (message, context)" in text

    def test_params_that_the_function_does_not_take(self, write: Write, tmp_path: Path) -> None:
        text = self.refused(tmp_path, f"{write('def handle(message): pass')}:handle", params={"limit": 3})
        assert "does not take the flow file's params {'limit': 3}" in text
        assert "'limit'" in text

    def test_a_param_that_the_function_needs(self, write: Write, tmp_path: Path) -> None:
        text = self.refused(tmp_path, f"{write('def handle(message, a, b, c): pass')}:handle", params={"a": 1})
        assert "beside what `params` gives it" in text

    def test_a_class_without_handle(self, write: Write, tmp_path: Path) -> None:
        text = self.refused(tmp_path, f"{write('class Model: pass')}:Model")
        assert "has no method `handle`" in text

    def test_a_class_with_arguments(self, write: Write, tmp_path: Path) -> None:
        source = "class Model:\n    def __init__(self, path): pass\n    def handle(self, message): pass"
        assert "must take no arguments; use `setup(self, context, **params)`" in self.refused(
            tmp_path, f"{write(source)}:Model"
        )

    def test_a_class_that_takes_no_params(self, write: Write, tmp_path: Path) -> None:
        source = "class Model:\n    def handle(self, message): pass"
        text = self.refused(tmp_path, f"{write(source)}:Model", params={"a": 1})
        assert "no `setup` to take them" in text

    @pytest.mark.parametrize(
        ("signature", "params"), [("self", {}), ("self, context", {"a": 1}), ("self, context, a", {})]
    )
    def test_a_setup_that_does_not_fit(
        self, write: Write, tmp_path: Path, signature: str, params: dict[str, Any]
    ) -> None:
        source = f"class Model:\n    def setup({signature}): pass\n    def handle(self, message): pass"
        text = self.refused(tmp_path, f"{write(source)}:Model", params=params)
        assert "setup(self, context, ...) does not take the flow file's params" in text

    def test_an_asynchronous_generator(self, write: Write, tmp_path: Path) -> None:
        text = self.refused(tmp_path, f"{write('async def handle(message): yield message')}:handle")
        assert "return a list instead of yielding" in text

    def test_a_kind_that_there_is_not(self, tmp_path: Path) -> None:
        assert "there is no kind 'cobol'; there are python" in self.refused(tmp_path, "cobol://steps")

    def test_what_setup_raises_is_not_a_mistake_of_the_flow_file(self, load: Load) -> None:
        source = (
            "class Model:\n    def setup(self, context): raise OSError('no route')\n    def handle(self, message): pass"
        )
        with pytest.raises(OSError, match="no route"):
            load(source, "Model")

    @pytest.mark.parametrize("name", ["workers", "sync", "json"])
    def test_a_name_that_belongs_to_someone_else(self, write: Write, tmp_path: Path, name: str) -> None:
        (tmp_path / f"{name}.py").write_text("def handle(message): return message")
        text = self.refused(tmp_path, f"{name}:handle")
        assert f"the name {name!r} already belongs to" in text
        assert f"rename {tmp_path / name}.py" in text

    def test_a_folder_that_has_the_name_of_ours(self, write: Write, tmp_path: Path) -> None:
        (tmp_path / "workers").mkdir()
        for file in ("__init__.py", "score.py"):
            (tmp_path / "workers" / file).write_text("def handle(message): return message")
        text = self.refused(tmp_path, "workers.score:handle")
        assert "the name 'workers' already belongs to" in text
        assert f"rename {tmp_path / 'workers' / '__init__.py'}" in text

    def test_a_folder_of_ours_in_the_way_does_no_harm(self, load: Load, tmp_path: Path) -> None:
        (tmp_path / "workers").mkdir()
        (tmp_path / "workers" / "__init__.py").write_text("raise RuntimeError('the wrong one')")
        assert answers(load("def handle(message): return message"), tasks(1)) == [[{"n": 0}]]
