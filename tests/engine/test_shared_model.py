"""Several threads at one language model: the same ids as alone, in common steps, and no one suffers for another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
import torch

from sparktts.checkpoint.layout import Checkpoint
from sparktts.engine.base import Handle, IdSet, LanguageModel
from sparktts.engine.onnx.language_model import OnnxLanguageModel
from sparktts.engine.shared import AHEAD, BURST, Lanes, Seat, SharedModel
from sparktts.engine.torch.language_model import TorchLanguageModel
from sparktts.errors import GenerationError
from sparktts.sampling import SamplingOptions

GREEDY = SamplingOptions(temperature=0.0)


class Count:
    """A grammar that allows ids 10 to 90, so many of them; `hold` makes it wait; `closed` False: text may come."""

    def __init__(self, count: int) -> None:
        self.count, self.taken, self.hold = count, list[int](), False
        self.closed = True

    @property
    def done(self) -> bool:
        return len(self.taken) >= self.count

    @property
    def waiting(self) -> bool:
        return self.hold

    def forced(self) -> tuple[int, ...]:
        return ()

    def legal(self) -> IdSet:
        return IdSet(((10, 90),))

    def accept(self, token: int) -> None:
        self.taken.append(token)


@pytest.fixture(scope="module", params=["torch", "onnx"])
def model(request: pytest.FixtureRequest, mini: Path) -> LanguageModel:
    if request.param == "torch":
        return TorchLanguageModel(Checkpoint.open(mini), torch.device("cpu"), torch.float32)
    from sparktts.engine import load_engine

    loaded = load_engine(Checkpoint.open(request.getfixturevalue("exported")), "onnx", "cpu", "auto").language_model
    assert isinstance(loaded, OnnxLanguageModel)
    return loaded


def nothing() -> None: ...


def speak(
    model: LanguageModel,
    seed: int,
    count: int,
    between: Callable[[], object] = nothing,
    begun: Callable[[], object] = nothing,
) -> list[int]:
    grammar, said = Count(count), list[int]()
    handle = model.add(range(20 + seed, 50 + 2 * seed), GREEDY, grammar)
    begun()
    while len(said) < count:  # the grammar of a shared model may be ahead
        said += model.step().values()
        between()
    assert said == grammar.taken
    model.cancel(handle)
    return said


def test_threads_get_the_ids_that_they_get_alone(model: LanguageModel) -> None:
    alone = [speak(model, seed, 25 + seed) for seed in range(6)]
    shared, barrier = SharedModel(lambda: model), threading.Barrier(6)
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda seed: speak(shared.seat(), seed, 25 + seed, begun=barrier.wait), range(6)))
    assert together == alone
    assert shared.tokens == sum(map(len, alone))
    assert shared.steps < 0.3 * shared.tokens  # hardly any of them for one sequence


def test_the_model_does_not_stand_still_for_a_thread_that_is_busy(model: LanguageModel) -> None:
    shared = SharedModel(lambda: model)
    busy, busy_one, open_one = shared.seat(), Count(AHEAD + 30), Count(9)
    open_one.closed = False
    alone = [speak(model, 0, 2 * AHEAD), speak(model, 1, AHEAD + 30)]
    handle = busy.add(range(21, 52), GREEDY, busy_one)
    apart = shared.seat()
    apart.add(range(20, 50), GREEDY, open_one)
    assert speak(shared.seat(), 0, 2 * AHEAD) == alone[0]
    assert AHEAD <= len(busy.ahead) < AHEAD + BURST  # it got its part, but no more than it may leave lying
    assert not open_one.taken  # words may still come from its thread
    said = [busy.step()[handle] for _ in range(AHEAD + 30)]
    assert said == busy_one.taken == alone[1]


def test_models_side_by_side_share_the_threads_and_say_the_same(model: LanguageModel) -> None:
    if not isinstance(model, OnnxLanguageModel):
        pytest.skip("Only this engine has them.")
    alone = [speak(model, seed, 25 + seed) for seed in range(6)]
    lanes = Lanes([lambda: model, cache(model.beside)])
    seats = [lanes.seat() for _ in range(6)]
    assert {seat.shared for seat in seats[:2]} == {seat.shared for seat in seats}
    assert len({seat.shared for seat in seats}) == 2
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda seed: speak(seats[seed], seed, 25 + seed), range(6)))
    assert together == alone
    assert lanes.tokens == sum(map(len, alone))
    assert lanes.steps < lanes.tokens
    assert [seat.shared.running for seat in seats] == [0] * 6


def test_a_new_thread_goes_where_least_runs() -> None:
    class Idle:
        def add(self, *_: object) -> Handle:
            return Handle(0)

        def cancel(self, handle: Handle) -> None: ...

    lanes = Lanes([Idle, Idle])  # type: ignore[list-item]
    first = lanes.seat()
    handle = first.add([1], GREEDY, Count(1))
    assert all(lanes.seat().shared is not first.shared for _ in range(3))
    first.cancel(handle)
    assert lanes.seat().shared is first.shared  # it has given fewer seats


def test_what_was_said_ahead_of_a_cancelled_sequence_is_not_told(model: LanguageModel) -> None:
    shared = SharedModel(lambda: model)
    seat, long, short = shared.seat(), Count(200), Count(200)
    doomed, kept = seat.add(range(20, 50), GREEDY, long), seat.add(range(30, 60), GREEDY, short)
    other, begun, leave = shared.seat(), threading.Event(), threading.Event()

    def speak_beside() -> None:
        grammar = Count(600)
        handle = other.add(range(40, 60), GREEDY, grammar)
        while not leave.is_set():
            other.step()
            begun.set()
        other.cancel(handle)

    beside = threading.Thread(target=speak_beside)
    beside.start()
    begun.wait(30)
    while not seat.ahead:
        assert set(seat.step()) == {doomed, kept}
    seat.cancel(doomed)
    said = [seat.step() for _ in range(len(seat.ahead) + 2)]
    leave.set()
    beside.join(30)
    assert all(set(step) == {kept} for step in said)


def test_a_thread_that_is_slow_does_not_hold_the_others_up(model: LanguageModel) -> None:
    shared, finished = SharedModel(lambda: model), list[str]()

    def say(name: str, count: int, pause: float) -> None:
        speak(shared.seat(), len(name), count, lambda: time.sleep(pause))
        finished.append(name)

    threads = [threading.Thread(target=say, args=args) for args in (("slow", 6, 0.3), ("quick", 30, 0.0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert finished == ["quick", "slow"]


def test_one_that_outgrows_the_model_fails_alone(model: LanguageModel) -> None:
    shared = SharedModel(lambda: model)
    most = model.config.max_position_embeddings  # type: ignore[attr-defined]
    barrier = threading.Barrier(2)

    def too_long() -> str:
        seat, grammar = shared.seat(), Count(5)
        handle = seat.add([7] * (most + 1), GREEDY, grammar)
        barrier.wait()
        try:
            while True:
                seat.step()
        except GenerationError as error:
            return str(error)
        finally:
            seat.cancel(handle)

    def fine() -> list[int]:
        seat, grammar = shared.seat(), Count(8)
        seat.add(range(20, 50), GREEDY, grammar)
        barrier.wait()
        while not grammar.done:
            seat.step()
        return grammar.taken

    with ThreadPoolExecutor(2) as pool:
        failing, working = pool.submit(too_long), pool.submit(fine)
        assert "positions" in failing.result(30)
        assert working.result(30) == speak(model, 0, 8)


def test_sequences_that_wait_for_words_get_nothing_and_leave_the_others_alone(model: LanguageModel) -> None:
    shared = SharedModel(lambda: model)
    seat, held, free = shared.seat(), Count(3), Count(3)
    held.hold = True
    first = seat.add(range(20, 50), GREEDY, held)
    second = seat.add(range(30, 60), GREEDY, free)
    assert set(seat.step()) == {second}
    held.hold = False
    assert set(seat.step()) == {first, second}
    seat.cancel(first)
    assert set(seat.step()) == {second}
    assert free.done
    assert seat.step() == {}


class Slow:
    """Says 7 for everyone, after `before` has let it."""

    def __init__(self, before: Callable[[int], object]) -> None:
        self.handles, self.count, self.before = list[Handle](), 0, before

    def add(self, *_: object) -> Handle:
        self.handles.append(Handle(len(self.handles)))
        return self.handles[-1]

    def step(self) -> dict[Handle, int]:
        self.count += 1
        self.before(self.count)
        return dict.fromkeys(self.handles, 7)

    def cancel(self, handle: Handle) -> None:
        self.handles.remove(handle)


def two_seats(model: Slow) -> tuple[SharedModel, list[Seat]]:
    """Each with a sequence."""
    shared = SharedModel(lambda: model)  # type: ignore[arg-type,return-value]
    seats = [shared.seat(), shared.seat()]
    for seat in seats:
        seat.add([1], GREEDY, Count(100))
    return shared, seats


def test_what_is_ready_is_fetched_while_the_model_computes() -> None:
    stuck, go_on = threading.Event(), threading.Event()

    def before(count: int) -> None:
        if count > BURST:
            stuck.set()
            go_on.wait(30)

    _, seats = two_seats(Slow(before))
    with ThreadPoolExecutor(2) as pool:
        content = pool.submit(lambda: [seats[0].step() for _ in range(3)])
        eager = pool.submit(lambda: [seats[1].step() for _ in range(BURST + 1)])
        assert stuck.wait(30)
        assert len(content.result(30)) == 3
        assert not eager.done()
        go_on.set()
        assert len(eager.result(30)) == BURST + 1


def test_steps_for_several_end_early_for_a_new_sequence() -> None:
    begun = threading.Event()

    def before(count: int) -> None:
        begun.set()
        time.sleep(0.05)

    shared, seats = two_seats(model := Slow(before))
    with ThreadPoolExecutor(1) as pool:
        eager = pool.submit(seats[0].step)
        assert begun.wait(30)
        shared.seat().add([1], GREEDY, Count(100))
        assert model.count < BURST
        eager.result(30)


def test_what_was_said_before_a_failure_is_still_told() -> None:
    def before(count: int) -> None:
        if count > 2:
            raise MemoryError

    shared, seats = two_seats(Slow(before))
    handles = [next(iter(seat.grammars)) for seat in seats]
    shared._step_for_all(seats)
    for seat, handle in zip(seats, handles, strict=True):
        assert [seat.step(), seat.step()] == [{handle: 7}, {handle: 7}]
        with pytest.raises(MemoryError):
            seat.step()
        seat.cancel(handle)
    assert not shared._asking  # nobody is left in the queue
    assert shared.running == 0


def test_a_failure_of_the_model_reaches_everyone_who_asked() -> None:
    class Broken:
        def add(self, *_: object) -> Handle:
            return Handle(0)

        def step(self) -> dict[Handle, int]:
            raise MemoryError

        def cancel(self, handle: Handle) -> None: ...

    shared = SharedModel(Broken)  # type: ignore[arg-type]

    def ask(seat: Seat) -> type[BaseException] | None:
        try:
            seat.step()
        except BaseException as error:
            return type(error)
        return None

    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(ask, [shared.seat() for _ in range(3)])) == {MemoryError}
