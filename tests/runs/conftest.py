import pytest
from distributed import Job


@pytest.fixture
def make_job(finished, tmp_path, unused_port):
    jobs = []

    def make(steps, *params, folder=tmp_path):
        printed = tmp_path / "printed"
        jobs.append(Job(finished[0], folder, printed, unused_port, steps, params))
        return jobs[-1]

    yield make
    for job in jobs:
        job.close()
