"""How properties are tested: few examples, the same ones every time."""

from hypothesis import HealthCheck, settings

FEW = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
