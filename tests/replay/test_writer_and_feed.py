import socket
import time

import numpy as np
import pytest
import tiny_replay
import tiny_run
from tiny_replay import DEADLINE, SIZES, item, serving

from idql_tf.replay import deadlines, layout, server, tables
from idql_tf.replay.deadlines import ReplayTimeout
from idql_tf.replay.feed import Feed, _Numbers
from idql_tf.replay.library import reverb
from idql_tf.replay.tables import FRESH, ONLINE, RECENT
from idql_tf.replay.writer import TransitionWriter


def sizes_of(client):
    return {name: info.current_size for name, info in client.server_info(5).items()}


def rewards(items):
    """The first reward of each: 100 times its number."""
    return [item["rewards"][0, 0] for item in items]


def test_what_is_written_arrives_once_and_in_order():
    with serving() as client:
        writer, feed = TransitionWriter(client, DEADLINE), Feed(client, DEADLINE)
        for number in range(40):
            writer.write(item(number))
        writer.flush()
        taken = [*feed.wait(15), *feed.wait()]
        assert rewards(taken) == [100 * number for number in range(40)]
        for name, value in item(39).items():
            np.testing.assert_array_equal(taken[39][name], value)
        # The durable store still has them all.
        assert sizes_of(client) == {"online": 40, "fresh": 0}


def test_the_store_drops_the_oldest():
    with serving(capacity=20 * SIZES.num_environments) as client:
        writer = TransitionWriter(client, DEADLINE)
        for number in range(50):
            writer.write(item(number))
        writer.flush()
        assert sizes_of(client)["online"] == 20
        samples = client.sample(
            "online", 200, emit_timesteps=False, unpack_as_table_signature=True
        )
        numbers = {int(sample.data["origin"][1]) for sample in samples}
        assert numbers <= set(range(30, 50)) and len(numbers) > 10


def test_an_item_offered_again_is_dropped():
    with serving() as client:
        writer, feed = TransitionWriter(client, DEADLINE), Feed(client, DEADLINE)
        for actor, number in ((0, 1), (1, 1), (0, 2), (0, 1), (1, 1), (1, 2)):
            writer.write(item(number, actor))
        writer.flush()
        taken = feed.wait()
        assert rewards(taken) == [100, 100, 200, 200]


def test_numbers_lost_with_a_server_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(_Numbers, "_WINDOW", 5)
    numbers = _Numbers()
    # 1 never comes; 0 and 4 come twice.
    offered = [0, 2, 3, 4, 0, 5, 4, 6, 7, 8, 9]
    assert [n for n in offered if numbers.add(n)] == [0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert not numbers.add(2) and not numbers._above


def test_a_full_queue_is_an_error_that_tells_the_tables():
    with serving(queue_steps=20) as client:
        writer = TransitionWriter(client, DEADLINE)
        began = time.monotonic()
        with pytest.raises(ReplayTimeout, match="fresh: 5 of 5 items"):
            for number in range(100):
                writer.write(item(number))
        assert DEADLINE <= time.monotonic() - began < DEADLINE + 5
        Feed(client, DEADLINE).wait()
        writer.close()


def test_an_empty_queue_is_an_error_that_tells_the_tables():
    with serving() as client:
        feed = Feed(client, 0.5)
        assert feed.wait(stopped=lambda: True) == []
        with pytest.raises(ReplayTimeout, match="an actor running.*fresh: 0 of 500"):
            feed.wait()


def test_a_waiting_actor_goes_on_when_the_learner_takes(monkeypatch):
    monkeypatch.setattr("idql_tf.replay.writer._LOOK_EVERY_SECONDS", 0.2)
    waits, taken = [], []
    with serving(queue_steps=20) as client:
        feed = Feed(client, DEADLINE)

        def on_wait():
            waits.append(time.monotonic())
            # Longer than the deadline: a full server that answers is no silent one.
            if waits[-1] - waits[0] > 2 * DEADLINE:
                taken.extend(feed.wait())

        writer = TransitionWriter(client, DEADLINE, on_wait=on_wait)
        for number in range(60):
            writer.write(item(number))
        while len(taken) < 60:
            taken += feed.wait()
        writer.flush()
    assert len(waits) > 10
    assert rewards(taken) == [100 * i for i in range(60)]


def test_what_ends_a_wait_is_the_actors_own(monkeypatch):
    monkeypatch.setattr("idql_tf.replay.writer._LOOK_EVERY_SECONDS", 0.1)

    def on_wait():
        raise InterruptedError

    with serving(queue_steps=20) as client:
        writer = TransitionWriter(client, 60.0, on_wait=on_wait)
        with pytest.raises(InterruptedError):
            for number in range(100):
                writer.write(item(number))


def test_what_a_killed_learner_had_taken_is_found_again():
    every = (ONLINE, FRESH, RECENT)
    with serving(recent=400) as client:
        writer, feed = TransitionWriter(client, DEADLINE, every), Feed(client, DEADLINE)
        for number in range(150):
            writer.write(item(number, number % 2))
        writer.flush()
        known = feed.wait(90)[:40]
        # Another learner knows of the first 40, and finds the others: 100 are recent.
        other = Feed(client, DEADLINE)
        other.know(np.stack([one["origin"] for one in known]))
        told = []
        assert other.recover(lambda *progress: told.append(progress)) == 100
        assert told and told[-1][0] <= told[-1][1]
        found = other.wait(100)
        assert sorted(rewards(found)) == [100 * i for i in range(50, 150)]
        # Sixty of them are in `fresh` still: nothing comes twice.
        with pytest.raises(ReplayTimeout):
            Feed.wait(other)


def test_what_came_before_a_connection_broke_is_taken(monkeypatch):
    with serving() as client:
        writer, feed = TransitionWriter(client, DEADLINE), Feed(client, DEADLINE)
        for number in range(20):
            writer.write(item(number))
        writer.flush()
        draw = feed._draw

        def breaks(table, count):
            for i, one in enumerate(draw(table, count)):
                if i == 12:
                    raise RuntimeError("Socket closed")
                yield one

        monkeypatch.setattr(feed, "_draw", breaks)
        first = feed.wait()
        monkeypatch.undo()
        assert rewards(first) == [100 * i for i in range(12)]
        # What was on its way may be in `online` and `recent` alone.
        writer.write(item(20))
        rest = rewards(feed.wait())
        while 2_000 not in rest:
            rest += rewards(feed.wait())
        assert rest == sorted(set(rest)) and set(rest) <= set(range(1_300, 2_001, 100))


def test_an_item_of_another_shape_is_refused():
    with serving() as client:
        writer = TransitionWriter(client, DEADLINE)
        wrong = item(0) | {"rewards": np.zeros([1, 1], np.float32)}
        with pytest.raises(ValueError, match="rewards"):
            writer.write(wrong)


def test_waits_end_where_there_is_no_server(monkeypatch):
    monkeypatch.setattr(server, "INFO_DEADLINE_SECONDS", 1)
    client = reverb.Client("localhost:1")
    with pytest.raises(ReplayTimeout, match="does not answer"):
        deadlines.within(0.5, client, "nothing", lambda: time.sleep(60))
    assert "does not answer" in server.describe(client)


def start(port, folder):
    """A server in a process of its own; send anything to end it well."""
    ours, theirs = tiny_run.WARM.Pipe()
    arguments = theirs, port, folder
    process = tiny_run.WARM.Process(
        target=tiny_replay.serve, args=arguments, daemon=True
    )
    process.start()
    assert ours.poll(60) and ours.recv() == "up"
    return process, ours


def test_a_killed_server_comes_back_and_nothing_is_lost(tmp_path, unused_port):
    process, told = start(unused_port, tmp_path)
    client = reverb.Client(f"localhost:{unused_port}")
    writer, feed = TransitionWriter(client, 60.0), Feed(client, 60.0)
    for number in range(30):
        writer.write(item(number))
    writer.flush()
    taken = rewards(feed.wait())
    server.save(client)
    process.kill()
    process.join()
    # What an actor makes meanwhile waits with it, up to what may be pending.
    for number in range(30, 37):
        writer.write(item(number))
    process, told = start(unused_port, tmp_path)
    writer.flush()
    assert sizes_of(client) == {"online": 37, "fresh": 7}
    while len(taken) < 37:
        taken += rewards(feed.wait())
    # After a reconnection the order may be another one.
    assert sorted(taken) == [100 * number for number in range(37)]
    writer.close()
    told.send("stop")
    process.join(30)
    assert process.exitcode == 0


def test_an_earlier_checkpoint_offers_nothing_twice(tmp_path, unused_port):
    process, told = start(unused_port, tmp_path)
    client = reverb.Client(f"localhost:{unused_port}")
    writer, feed = TransitionWriter(client, 60.0), Feed(client, 60.0)
    for number in range(20):
        writer.write(item(number))
    writer.flush()
    server.save(client)
    assert len(feed.wait()) == 20
    process.kill()
    process.join()
    process, told = start(unused_port, tmp_path)
    assert sizes_of(client)["fresh"] == 20
    writer.write(item(20))
    writer.flush()
    assert rewards(feed.wait()) == [2_000]
    writer.close()
    process.kill()


def test_listens_on_the_loopback_alone_unless_told():
    def devices(port):
        option = socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16
        found = [s.getsockopt(*option).rstrip(b"\0") for s in server.listening(port)]
        assert found
        return found

    for everywhere, device in ((False, b"lo"), (True, b"")):
        with serving(everywhere=everywhere) as client:
            port = int(client.server_address.rpartition(":")[2])
            assert set(devices(port)) == {device}
            assert set(sizes_of(client)) == {"online", "fresh"}


def test_room_is_quiet_about_its_server(tmp_path, capfd):
    for size in 100, 200:
        with serving(folder=tmp_path) as client:
            writer = TransitionWriter(client, DEADLINE)
            for number in range(100):
                writer.write(item(number))
            writer.flush()
            writer.close()
            server.save(client)
            assert sizes_of(client)["online"] == size
    assert capfd.readouterr() == ("", "")


def test_sizes_tell_their_bytes():
    row = layout.pack(tiny_replay.item(0))
    assert row[0, 0].nbytes == SIZES.row_bytes
    spec = tables.signature(SIZES)
    assert {k: v.shape for k, v in spec.items()} == {
        k: v.shape for k, v in item(0).items()
    }
