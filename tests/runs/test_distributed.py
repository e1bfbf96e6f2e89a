"""replay_server.py, learner.py and actor.py as their users run them."""

import os
import shutil
import signal

import numpy as np
import pytest
from distributed import check_unbroken, check_whole, end, said, terminate, wait

from idql_tf.replay import deadlines
from idql_tf.replay.library import reverb


def test_a_finetuning_in_processes_of_their_own(make_job, unused_port):
    job = make_job(1_600)
    server = job.start("server")
    actors = [job.start("actor"), job.start("actor")]
    learner = job.start("learner")
    assert end(learner) == 0, said(learner)
    assert [end(actor) for actor in actors] == [0, 0], [said(a) for a in actors]
    origins = check_whole(job, 1_600)
    check_unbroken(origins)
    assert len(np.unique(origins[:, 0])) == 2
    # Actors followed the learner, and never far behind.
    assert len(np.unique(origins[:, 2])) > 5
    assert 0 < max(job.logged("collect/staleness").values()) < 200
    assert max(job.logged("collect/length").values()) == 300
    assert "online step 1,600" in said(learner)[0]
    client = reverb.Client(f"localhost:{unused_port}")
    assert client.server_info(5)["online"].current_size >= 800
    assert terminate(server) == 75
    assert "policy of step" in said(actors[0])[0]
    for process in (server, learner, *actors):
        assert said(process)[1] == "", said(process)
    # Nobody needs the server that was; a new one has what it had.
    server = job.start("server")
    wait(lambda: "replay server at localhost" in said(server)[0], server)
    # The connection that was is closed, which a first call finds out.
    tables = deadlines.retried(
        10.0, client, "looking at the tables", lambda: client.server_info(5)
    )
    assert tables["online"].current_size >= 800
    assert tables["offline"].current_size == 1_500 // 8


@pytest.mark.slow
def test_what_belongs_to_another_run_is_refused(make_job, finished, tmp_path):
    job = make_job(100)
    a_run = shutil.copytree(finished[0], tmp_path / "run")
    server = make_job(100, replay=a_run).start("server")
    assert end(server) == 2 and "not an empty folder" in said(server)[1]
    server = job.start("server")
    wait(lambda: "replay server at" in said(server)[0], server)
    # Another server at the same port; it would share what comes, unheard.
    second = make_job(100, replay=tmp_path / "second").start("server")
    assert end(second) == 2 and "already in use" in said(second)[1]
    assert not any((tmp_path / "second").iterdir())
    actor, learner = map(job.start, ("actor", "learner"))
    assert end(learner) == 0 and end(actor) == 0
    # A run that begins, and a server that has another's transitions.
    shutil.rmtree(job.output)
    learner = job.start("learner")
    assert end(learner) == 2 and "of another run" in said(learner)[1]
    assert not job.output.exists()
    other = make_job(100, "finetune.num_environments=1")
    actor = other.start("actor")
    assert end(actor) == 2 and "the same --run_dir" in said(actor)[1]


@pytest.mark.slow
def test_a_finished_run_goes_on(make_job):
    job = make_job(200)
    server, actor, learner = map(job.start, ("server", "actor", "learner"))
    assert end(learner) == 0 and end(actor) == 0
    # The server still says that the learner is done when another actor comes.
    more = make_job(400)
    actor = more.start("actor")
    learner = more.start("learner")
    assert end(learner) == 0, said(learner)
    assert end(actor) == 0 and server.is_alive()
    check_unbroken(check_whole(more, 400))


@pytest.mark.slow
def test_a_killed_learner_goes_on_and_misses_nothing(make_job):
    job = make_job(1_000)
    server, actor = job.start("server"), job.start("actor")
    learner = job.start("learner")
    job.wait_for(300, server, actor, learner)
    learner.kill()
    end(learner)
    learner = job.start("learner")
    assert end(learner) == 0, said(learner)
    assert "found" in said(learner)[0] and "taken and not saved" in said(learner)[0]
    assert end(actor) == 0 and server.is_alive()
    check_unbroken(check_whole(job, 1_000))


@pytest.mark.slow
def test_actors_come_and_go(make_job):
    job = make_job(1_200)
    server, learner, first = map(job.start, ("server", "learner", "actor"))
    job.wait_for(300, server, learner, first)
    first.kill()
    end(first)
    second, third = job.start("actor"), job.start("actor")
    job.wait_for(700, server, learner, second, third)
    assert terminate(second) == 75
    assert end(learner) == 0 and end(third) == 0
    origins = check_whole(job, 1_200)
    assert len(np.unique(origins[:, 0])) == 3
    check_unbroken(origins)


@pytest.mark.slow
def test_a_killed_server_comes_back(make_job):
    job = make_job(1_200)
    server, learner, actor = map(job.start, ("server", "learner", "actor"))
    job.wait_for(400, server, learner, actor)
    server.kill()
    end(server)
    server = job.start("server")
    assert end(learner) == 0, said(learner)
    assert end(actor) == 0, said(actor)
    check_whole(job, 1_200)
    assert terminate(server) == 75


@pytest.mark.slow
def test_a_server_that_stands_still_is_waited_for(make_job):
    job = make_job(800)
    server, learner, actor = map(job.start, ("server", "learner", "actor"))
    job.wait_for(200, server, learner, actor)
    os.kill(server.pid, signal.SIGSTOP)
    learner.join(30)
    os.kill(server.pid, signal.SIGCONT)
    assert end(learner) == 0, said(learner)
    assert end(actor) == 0, said(actor)
    check_unbroken(check_whole(job, 800))


@pytest.mark.slow
def test_all_are_stopped_and_started_again(make_job):
    job = make_job(1_000)
    for steps in 200, 600:
        server, learner, actor = map(job.start, ("server", "learner", "actor"))
        job.wait_for(steps, server, learner, actor)
        assert [terminate(p) for p in (actor, learner, server)] == [75] * 3
        assert "saved at environment step" in said(learner)[0]
    server, learner, actor = map(job.start, ("server", "learner", "actor"))
    assert end(learner) == 0, said(learner)
    check_unbroken(check_whole(job, 1_000))


@pytest.mark.slow
def test_a_full_disk_costs_nothing_that_was_saved(make_job, small_disk):
    folder, fill = small_disk
    job = make_job(1_200, folder=folder)
    server, learner, actor = map(job.start, ("server", "learner", "actor"))
    job.wait_for(300, server, learner, actor)
    filler = fill()
    # The learner cannot keep what it learns: it ends, and says why in one line.
    assert end(learner) == 1
    # Reverb's writer may say before it that its own end was a sudden one.
    told = [x for x in said(learner)[1].splitlines() if not x.startswith("[reverb")]
    assert len(told) == 1 and "No space left on device" in told[0], told
    # The server can do without a checkpoint for a while.
    wait(lambda: "could not save" in said(server)[0], server, actor)
    filler.unlink()
    learner = job.start("learner")
    job.wait_for(600, server, learner, actor)
    server.kill()
    end(server)
    server = job.start("server")
    assert end(learner) == 0, said(learner)
    assert end(actor) == 0
    check_whole(job, 1_200)


@pytest.mark.slow
def test_who_hears_nothing_says_so_and_ends(make_job):
    job = make_job(800, "finetune.deadline_seconds=5.0")
    server, learner = job.start("server"), job.start("learner")
    # No actor.
    assert end(learner) == 1
    error = said(learner)[1]
    assert "is an actor running?" in error and "fresh: 0 of" in error
    actor = job.start("actor")
    wait(lambda: "acting with" in said(actor)[0], actor)
    server.kill()
    end(server)
    assert end(actor, 60) == 1
    assert "does not answer" in said(actor)[1]
    learner = job.start("learner")
    assert end(learner, 60) == 1
    assert "does not answer" in said(learner)[1]
