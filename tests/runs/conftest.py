import pytest
from distributed import Job


@pytest.fixture
def make_job(finished, tmp_path, unused_port):
    jobs = []

    def make(steps, *params, folder=tmp_path, replay=None):
        printed = tmp_path / f"printed{len(jobs)}"
        jobs.append(
            Job(finished[0], folder, printed, unused_port, steps, params, replay)
        )
        return jobs[-1]

    yield make
    for job in jobs:
        job.close()
