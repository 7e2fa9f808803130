"""The engine's thread: a failing job fails alone, and an aborted one stops."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from tests.engine.scripted import Heard, Scripted, State, engine, job
from tests.processes import eventually

from limner_shared.db.ledger import AttemptKey, Claim
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import Lane
from limner_shared.threads import Supervisor
from limner_worker.engine.fault_isolation import DeviceBroken
from limner_worker.engine.loop import Engine
from limner_worker.generators.base import padding
from limner_worker.generators.model_cache import ModelCache

__all__ = ["engine"]


@pytest.mark.parametrize("fault", ["bad start", "bad step", "bad row", "bad state", "not finite"])
def test_a_job_that_raises_in_the_model_fails_alone_with_a_plain_reason(engine: Any, catalogue: Catalogue, fault: str):
    running, generator, heard = engine
    running.submit([job(catalogue, "a"), job(catalogue, "poison", fault), job(catalogue, "b")])
    done = heard.wait(3)
    assert done["a"] == done["b"] == "generated"
    assert "could not generate this picture" in done["poison"] or "not finite" in done["poison"]
    assert "must not read" not in done["poison"]
    eventually(lambda: all(state.closed for state in generator.states))


def test_a_broken_device_ends_the_engine_and_names_the_jobs_of_the_call(catalogue: Catalogue):
    generator, heard = Scripted(catalogue.get("limner-flow")), Heard()
    failures: list[tuple[str, type[BaseException]]] = []
    threads = Supervisor(lambda name, error: failures.append((name, type(error))))
    engine = Engine(ModelCache([generator.card], lambda _card: generator), heard, threads)
    engine.submit([job(catalogue, "breaks", "breaks the device", lane=1), job(catalogue, "later", lane=3)])
    engine.submit([job(catalogue, f"neighbour {n}", lane=1) for n in range(10)])
    engine.start()
    eventually(lambda: failures)
    assert failures == [("engine", DeviceBroken)]
    assert {key.job_id for key in engine.suspects} >= {"breaks"}
    assert len(engine.suspects) <= max(generator.card.buckets) < 12
    assert heard.done == {}, "the others are handed back, not failed"


@pytest.mark.parametrize("checkpoint", [b"damaged", b"of skipped steps that raise"])
def test_a_job_with_an_unusable_checkpoint_starts_over(engine: Any, catalogue: Catalogue, checkpoint: bytes):
    running, generator, heard = engine
    jobs = [job(catalogue, "resumed"), job(catalogue, "other")]
    jobs[0].rows[0].task.checkpoint, jobs[0].rows[0].task.buckets = checkpoint, [8, 8]
    running.submit(jobs)
    assert heard.wait(2) == {"resumed": "generated", "other": "generated"}
    assert jobs[0].rows[0].task.buckets == []
    eventually(lambda: all(state.closed for state in generator.states))


def test_a_job_that_can_neither_resume_nor_start_over_fails_alone(engine: Any, catalogue: Catalogue):
    running, generator, heard = engine
    jobs = [job(catalogue, "resumed"), job(catalogue, "other")]
    jobs[0].rows[0].task.checkpoint = b"of skipped steps that raise"
    start, started = generator.start, list[Any]()

    def start_once(tasks: Any) -> Any:
        started.append(tasks)
        if len(started) > 1:
            raise RuntimeError("the files are gone")
        return start(tasks)

    generator.start = start_once
    running.submit(jobs)
    done = heard.wait(2)
    assert done["other"] == "generated"
    assert "could not generate this picture" in done["resumed"]
    eventually(lambda: all(state.closed for state in generator.states))


def test_a_job_of_a_model_that_this_worker_does_not_serve_is_handed_back(engine: Any, catalogue: Catalogue):
    running, _, heard = engine
    stray = job(catalogue, "a")
    stray.claim = Claim("a", "tenant", None, 1, 2, Lane.NORMAL, stray.claim.spec.model_copy(update={"model": "gone"}))
    running.submit([stray])
    assert heard.wait(1)["a"].startswith("unavailable")


def test_jobs_join_a_batch_between_two_steps(engine: Any, catalogue: Catalogue):
    running, generator, heard = engine
    generator.gated = True
    running.submit([job(catalogue, "first", steps=5)])
    generator.gate.release(2)
    while len(generator.batches) < 2:
        pass
    running.submit([job(catalogue, "second", steps=2)])
    generator.gate.release(100)
    heard.wait(2)
    assert generator.batches[0] == 1
    assert 2 in generator.batches


def test_an_aborted_job_leaves_at_the_next_step_without_a_report(engine: Any, catalogue: Catalogue):
    running, generator, heard = engine
    generator.gated = True
    dropped = job(catalogue, "dropped", steps=100)
    running.submit([dropped, job(catalogue, "kept")])
    running.abort([dropped])
    generator.gate.release(1000)
    assert heard.wait(1) == {"kept": "generated"}
    assert generator.batches[-1] == 1 or len(generator.batches) == 3


def test_a_job_of_several_images_finishes_with_the_last_of_them(engine: Any, catalogue: Catalogue):
    running, _, heard = engine
    several = job(catalogue, "several", n=11)
    running.submit([several])
    heard.wait(1)
    assert len(several.rows) == 11
    assert all(row.drawn is not None and row.picture is None for row in several.rows)  # others finish them


def test_images_of_several_rows_share_a_batch_with_others_up_to_its_largest_size(engine: Any, catalogue: Catalogue):
    running, generator, heard = engine
    wide = [job(catalogue, f"wide {n}", "five wide", steps=3) for n in range(3)]
    running.submit([*wide, *(job(catalogue, f"narrow {n}", steps=6) for n in range(3))])
    assert set(heard.wait(6).values()) == {"generated"}
    assert max(generator.batches) == 8
    assert sum(generator.batches) == 3 * 5 * 3 + 3 * 6


def test_out_of_memory_reduces_the_batch_size_until_later(engine: Any, catalogue: Catalogue):
    running, generator, heard = engine
    generator.room = 2
    running.submit([job(catalogue, f"first {n}") for n in range(8)])
    assert set(heard.wait(8).values()) == {"generated"}
    assert max(generator.batches) == 2
    generator.room = 1000
    running.submit([job(catalogue, f"second {n}", steps=100) for n in range(8)])
    assert set(heard.wait(16).values()) == {"generated"}
    assert max(generator.batches) > 4


def test_a_picture_that_does_not_fit_alone_fails_with_the_size_that_would(engine: Any, catalogue: Catalogue):
    running, generator, heard = engine
    generator.room = 0
    running.submit([job(catalogue, "a"), job(catalogue, "b")])
    assert all("256×256" in why and "smaller size" in why for why in heard.wait(2).values())


def test_a_long_job_is_checkpointed_periodically(catalogue: Catalogue):
    generator, heard = Scripted(catalogue.get("limner-flow")), Heard()
    engine = Engine(ModelCache([generator.card], lambda _card: generator), heard, Supervisor(), checkpoint_seconds=0)
    engine.start()
    engine.submit([job(catalogue, "long", steps=4)])
    heard.wait(1)
    engine.stop()
    assert heard.kept["long"][-2:] == [b"step 2", b"step 3"]


def test_the_jobs_of_a_hanging_call_are_suspects(engine: Any, catalogue: Catalogue):
    running, generator, heard = engine
    generator.gated = True
    assert running.stuck_attempts(0) is None
    running.submit([job(catalogue, "hangs")])
    while running.stuck_attempts(0.01) is None:
        pass
    assert running.stuck_attempts(0.01) == {AttemptKey("hangs", 1)}
    assert running.stuck_attempts(60) is None
    generator.gate.release(1000)
    heard.wait(1)


def test_only_jobs_whose_preview_is_wanted_get_one_and_a_failed_one_affects_nothing(engine: Any, catalogue: Catalogue):
    running, _, heard = engine
    jobs = [job(catalogue, name) for name in ("wanted", "alone")] + [job(catalogue, "bad", "bad preview")]
    jobs[0].preview_wanted = jobs[2].preview_wanted = True
    running.submit(jobs)
    assert set(heard.wait(3).values()) == {"generated"}
    assert set(heard.shown) == {"wanted"}


def test_an_error_in_the_engine_ends_its_thread_and_makes_every_job_suspect(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    generator, heard = Scripted(catalogue.get("limner-flow")), Heard()
    failures: list[object] = []
    engine = Engine(
        ModelCache([generator.card], lambda _card: generator),
        heard,
        Supervisor(lambda name, error: failures.append((name, error))),
    )

    def fault(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(heard, "progressed", fault)
    engine.submit([job(catalogue, "a")])
    engine.start()
    eventually(lambda: failures)
    assert engine.suspects == {AttemptKey("a", 1)}


def test_a_checkpoint_that_cannot_be_written_affects_no_job(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch):
    def fault(_: object) -> bytes:
        raise TypeError("cannot be written")

    monkeypatch.setattr(State, "checkpoint", fault)
    generator, heard = Scripted(catalogue.get("limner-flow")), Heard()
    engine = Engine(ModelCache([generator.card], lambda _card: generator), heard, Supervisor(), checkpoint_seconds=0)
    engine.start()
    engine.submit([job(catalogue, "long")])
    assert heard.wait(1) == {"long": "generated"}
    engine.stop()


def test_steps_continue_during_a_decode(engine: Any, catalogue: Catalogue):
    running, generator, heard = engine
    generator.beside = True
    running.submit([job(catalogue, "first", steps=1), job(catalogue, "second", steps=40)])
    eventually(lambda: sum(generator.batches) >= 30)
    assert heard.done == {}
    generator.decoded.set()
    assert heard.wait(2) == {"first": "generated", "second": "generated"}


def test_a_job_whose_decode_fails_at_the_end_fails_alone(engine: Any, catalogue: Catalogue):
    running, generator, heard = engine
    generator.beside, decode = True, generator.decode

    def recorded(states: Any) -> Any:
        with padding([state.task for state in states], generator.card.buckets):
            return decode(states)

    generator.decode = recorded
    jobs = [job(catalogue, name, prompt) for name, prompt in [("a", "fine"), ("b", "bad decode"), ("c", "fine")]]
    running.submit(jobs)
    generator.decoded.set()
    done = heard.wait(3)
    assert (done["a"], done["c"]) == ("generated", "generated")
    assert "could not generate this picture" in done["b"]
    assert [len(each.rows[0].task.buckets) for each in jobs] == [1, 1, 1], "a replay repeats the last decode only"


def test_after_out_of_memory_a_decode_begins_only_once_the_one_before_has_ended(engine: Any, catalogue: Catalogue):
    running, generator, heard = engine
    generator.beside, decode, in_progress = True, generator.decode, list[Any]()
    generator.decoded.set()

    def of_two_at_most(states: Any) -> Any:
        if len(states) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        assert not in_progress, "two decodes are in progress"
        begun = decode(states)
        fetch, in_progress[:] = begun.drawn, [begun]
        begun.drawn = lambda: (in_progress.clear(), fetch())[1]
        return begun

    generator.decode = of_two_at_most
    running.submit([job(catalogue, f"job {n}") for n in range(8)])
    assert set(heard.wait(8).values()) == {"generated"}


def test_a_job_aborted_during_its_decode_is_not_reported(engine: Any, catalogue: Catalogue):
    running, generator, heard = engine
    generator.beside = generator.gated = True
    dropped = job(catalogue, "dropped", steps=1)
    running.submit([dropped, job(catalogue, "other", steps=40)])
    generator.gate.release(30)
    eventually(lambda: sum(generator.batches) >= 30)
    running.abort([dropped])
    generator.decoded.set()
    generator.gate.release(30)
    assert heard.wait(1) == {"other": "generated"}


def test_suspended_jobs_are_checkpointed_at_their_last_step_and_others_go_on(engine: Any, catalogue: Catalogue):
    running, generator, heard = engine
    generator.gated = True
    suspended, other = job(catalogue, "suspended", n=2, steps=100), job(catalogue, "other", steps=30)
    running.submit([suspended, other])
    generator.gate.release(7)
    eventually(lambda: len(generator.batches) == 7)
    threading.Timer(0.05, generator.gate.release, [1000]).start()  # `suspend` waits for the step that has begun
    running.suspend([suspended])
    steps = [row.steps_done for row in suspended.rows]
    assert heard.kept["suspended"] == [f"step {done}".encode() for done in steps]
    assert min(steps) >= 7
    assert heard.wait(1) == {"other": "generated"}
    assert "other" not in heard.kept


def test_a_stopping_engine_checkpoints_decoded_images_of_unfinished_jobs_too(catalogue: Catalogue):
    generator, heard = Scripted(catalogue.get("limner-flow")), Heard()
    engine = Engine(ModelCache([generator.card], lambda _card: generator), heard, Supervisor())
    engine.start()
    generator.gated = True
    several = job(catalogue, "several", n=2, steps=9)
    engine.submit([several])
    generator.gate.release(3)
    eventually(lambda: len(generator.batches) == 3)
    first, second = several.rows
    generator.states[0].steps_done = 8  # the images of a job need not be at the same step
    generator.gate.release(3)
    eventually(lambda: first.drawn is not None)
    threading.Timer(0.05, generator.gate.release, [1000]).start()
    generator.decoded.set()
    engine.stop()
    assert heard.done == {}
    assert heard.kept["several"] == [b"step 9", f"step {second.steps_done}".encode()]
