"""Turns are taken in the order in which they were asked for."""

from __future__ import annotations

import threading
import time

from sparktts.turns import Ticket, Turns


def test_places_are_kept_in_order_and_turns_are_given_on() -> None:
    turns = Turns(2)
    first, second, third, fourth = (turns.ticket() for _ in range(4))
    assert first.wait(0)
    assert not third.wait(0)  # the second one asked before
    assert second.wait(0)
    assert not third.wait(0.01)
    first.release()
    assert not fourth.wait(0)
    assert third.wait(0)
    assert turns.waiting == 1


def test_whoever_leaves_the_queue_lets_others_through() -> None:
    turns = Turns()
    holder, tired, patient = (turns.ticket() for _ in range(3))
    assert holder.wait(0)
    tired.release()
    holder.release()
    holder.release()  # once more changes nothing
    assert patient.wait(0)
    assert not turns.ticket().wait(0)


def test_a_thread_may_enter_again_and_others_wait() -> None:
    turns, heard = Turns(), []
    with turns, turns:
        thread = threading.Thread(target=lambda: _enter(turns, heard))
        thread.start()
        time.sleep(0.05)
        assert heard == []
    thread.join(5)
    assert heard == ["in"]
    assert turns.ticket().wait(0)


def _enter(turns: Turns, heard: list[str]) -> None:
    with turns:
        heard.append("in")


def test_many_threads_never_exceed_the_count() -> None:
    turns, lock = Turns(3), threading.Lock()
    inside = most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            ticket: Ticket = turns.ticket()
            assert ticket.wait(10)
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.0005)
            with lock:
                inside -= 1
            ticket.release()

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == 3
    assert turns.waiting == 0
