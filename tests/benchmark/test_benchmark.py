import io
import json
import math

import pytest
import tensorflow as tf
import tiny_learner as tiny
import tiny_run
from rich.progress import Console, Progress

from idql_tf import config
from idql_tf.benchmark import flops, measure, suite, table, verdicts, workloads
from idql_tf.errors import UserError
from idql_tf.runs.evaluation import compile_policy
from idql_tf.training.learner import IdqlLearner

DIFFUSION_STEPS = 5
NETWORKS = [
    (),
    ("Behavior.network = @Mlp", "Mlp.hidden_dim = 16"),
    ("Critic.value_layer_norm = True",),
    ("LnResnet.hidden_dim = 256", "LnResnet.num_blocks = 1"),
]
SETTINGS = (
    "benchmark.sizes = {'tiny': ()}",
    "benchmark.observation_size = 5",
    "benchmark.action_size = 2",
    "benchmark.num_transitions = 500",
    "benchmark.num_seeds = (1,)",
    "benchmark.num_candidates = (1, 4)",
    "benchmark.batch_sizes = (1, 3)",
    "benchmark.repeats = 2",
    "benchmark.stacking_repeats = 2",
    "benchmark.call_seconds = 0.001",
    "benchmark.policy_seconds = 0.001",
    "benchmark.square_size = 64",
    "benchmark.memory_bytes = 65_536",
)


def executed_flops(graph):
    """Operations of every MatMul that the graph's results or side effects need."""
    waiting = [output.op for output in graph.outputs]
    waiting += [op for op in graph.get_operations() if op.type.startswith("Resource")]
    needed = {}
    while waiting:
        op = waiting.pop()
        if op.name not in needed:
            needed[op.name] = op
            waiting += [x.op for x in op.inputs] + list(op.control_inputs)
    total = 0
    for op in needed.values():
        if op.type in ("MatMul", "BatchMatMulV2"):
            flag = "transpose_a" if op.type == "MatMul" else "adj_x"
            inner = op.inputs[0].shape[-2 if op.get_attr(flag) else -1]
            total += 2 * inner * math.prod(op.outputs[0].shape)
        for attribute in ("body", "f"):
            if attribute in op.node_def.attr:
                inside = graph._get_function(op.get_attr(attribute).name).graph
                # The reverse chain is the only loop here.
                times = DIFFUSION_STEPS if "While" in op.type else 1
                total += times * executed_flops(inside)
    return total


def graph_of(function, *arguments):
    return tf.function(function, autograph=False).get_concrete_function(*arguments)


def test_a_layer_counts_each_of_its_products():
    assert flops.Layer(2, 3, 5).flops == 60
    assert flops.Layer(2, 3, 5, weight_gradient=True).flops == 120
    assert flops.Layer(2, 3, 5, 7, True, True, 11).flops == 60 * 7 * 3 * 11
    assert flops.total([flops.Layer(2, 3, 5), flops.Layer(1, 1, 1)]) == 62


def test_counts_by_hand_at_the_papers_sizes():
    config.load([])
    learner = IdqlLearner(11, 3, (0,))
    steps = 3 * 5 * (64 * 128 + 128 * 128 + 128 * 256)
    trunk = 3 * 1024 * (3 * 2 * 256 * 1024 + 256 * 3)
    behavior = steps + 2 * 1024 * (14 + 5) * 256 + trunk
    assert flops.total(flops.behavior_update(learner.behavior, 1024)) == 2 * behavior
    hidden = 256 * 256 + 256
    q, v = 256 * (14 * 256 + hidden), 256 * (11 * 256 + hidden)
    trained_q = 256 * (2 * 14 * 256 + 3 * hidden)
    trained_v = 256 * (2 * 11 * 256 + 3 * hidden)
    critic = 2 * q + trained_v + v + 2 * trained_q
    assert flops.total(flops.critic_update(learner.critic, 256)) == 2 * critic


@pytest.mark.parametrize("seeds", [(3,), (3, 5)])
@pytest.mark.parametrize("bindings", NETWORKS)
def test_updates_execute_exactly_the_counted_products(seeds, bindings):
    arrays, learner = tiny.arrays(), tiny.learner(seeds, *bindings)
    behavior = graph_of(lambda: learner.update_behavior(arrays)).graph
    critic = graph_of(lambda: learner.update_critic(arrays)).graph
    counted = flops.behavior_update(learner.behavior, 64)
    assert executed_flops(behavior) == flops.total(counted)
    counted = flops.critic_update(learner.critic, 32)
    assert executed_flops(critic) == flops.total(counted)


@pytest.mark.parametrize("bindings", NETWORKS)
@pytest.mark.parametrize("num_candidates", [1, 4])
def test_a_policy_call_executes_exactly_the_counted_products(bindings, num_candidates):
    learner = tiny.learner((3, 5), *bindings)
    policy = compile_policy(learner, ("argmax", num_candidates))
    seeds, step = tf.zeros([2], tf.int64), tf.constant(0, tf.int64)
    graph = policy.get_concrete_function(tf.zeros([2, 7, 5]), seeds, step).graph
    counted = flops.extraction(learner.behavior, learner.critic, 7, num_candidates)
    assert executed_flops(graph) == flops.total(counted)


def test_the_plain_products_execute_what_is_counted():
    learner = tiny.learner((3,))
    for layers in (
        flops.behavior_update(learner.behavior, 64),
        flops.critic_update(learner.critic, 32),
        flops.extraction(learner.behavior, learner.critic, 7, 4),
    ):
        for in_order in (True, False):
            graph = graph_of(measure.products(layers, in_order)).graph
            assert executed_flops(graph) == flops.total(layers)


def test_products_in_order_wait_as_an_update_does():
    """A layer's product needs the one before; its gradients need all after it."""
    trained = {"weight_gradient": True, "input_gradient": True}
    layers = [
        flops.Layer(2, 2, 3),
        flops.Layer(2, 3, 5, weight_gradient=True),
        flops.Layer(2, 5, 7, **trained),
        flops.Layer(2, 7, 11, copies=2, **trained),
    ]

    def depths(in_order):
        graph = graph_of(measure.products(layers, in_order)).graph
        depth = {}
        for op in graph.get_operations():  # in the order they were made
            above = [x.op for x in op.inputs] + list(op.control_inputs)
            deepest = max((depth[o.name] for o in above), default=0)
            depth[op.name] = deepest + (op.type == "MatMul")
        return [depth[o.name] for o in graph.get_operations() if o.type == "MatMul"]

    # The network that is not trained; forward; back, the last layer's two copies first.
    assert depths(True) == [1, *(1, 2, 3, 3), *(4, 4, 4, 4), *(5, 5), 6]
    assert depths(False) == [1] * 12


def test_updates_stand_beside_their_products_in_order_and_not():
    def timer(runs):
        seconds = {"update": 4.0, ("matmul", True): 3.0, ("matmul", False): 1.0}

        def timing(key):
            kind = key[0] if key[0] == "update" else (key[0], key[2])
            return measure.Timing((seconds[kind],), 1, 0.0)

        return {key: timing(key) for key in runs}

    arrays = workloads.synthetic_arrays(50, 5, 2)
    learner = tiny.learner((3,))
    for row in workloads.updates(timer, arrays, {False: learner}):
        assert (row["matmul_fraction"], row["unordered_fraction"]) == (0.75, 0.25)
        assert row["matmul"]["flops_per_second"] == row["flops"] / 3.0


def test_loops_beside_each_other_do_each_its_own_work():
    counters = [tf.Variable(0.0), tf.Variable(0.0)]
    steps = [
        (lambda c=c: c.assign_add(1.0), n)
        for c, n in zip(counters, (1, 2), strict=True)
    ]
    measure.repeated_beside(steps)(3)
    assert [int(c) for c in counters] == [3, 6]


def test_loops_do_their_work_as_often_as_asked():
    counter = tf.Variable(0.0)
    run = measure.repeated(lambda: counter.assign_add(1.0))
    assert (run(3), counter.numpy()) == (1 + 2 + 3, 3)
    assert measure.memory_pass(64)(5) == 5


def test_runs_are_timed_in_turns():
    calls = []
    runs = {name: lambda n, name=name: calls.append((name, n)) for name in "ab"}
    found = measure.in_turns(runs, 3, 0.0)
    warm = [("a", 1), ("a", 1), ("b", 1), ("b", 1)]
    assert calls == warm + [("a", 1), ("b", 1)] * 3
    assert [len(t.seconds) for t in found.values()] == [3, 3]


def test_paired_ratio_is_blind_to_what_slows_a_whole_turn():
    assert measure.paired_ratio([1.0, 50.0, 3.0], [2.0, 100.0, 6.0]) == 0.5


@pytest.mark.slow
def test_the_whole_benchmark_at_tiny_sizes():
    params = [*tiny.BINDINGS, *SETTINGS]
    config.load([], params)
    with Progress(console=Console(file=io.StringIO())) as progress:
        results = suite.measure(suite.Settings(), [], params, progress)
    assert progress.tasks[0].completed == progress.tasks[0].total
    loaded = json.loads(json.dumps(results, allow_nan=False))
    assert set(loaded) == {
        *("machine", "settings", "config", "rates", "updates", "stacking"),
        *("extraction", "exported", "default_xla", "seconds", "verdicts"),
    }
    assert len(loaded["updates"]) == 4 * 2
    assert len(loaded["extraction"]) == 2 * 2
    assert len(loaded["exported"]) == 2
    assert [v["claim"] for v in loaded["verdicts"]] == [
        "unordered_fraction",
        "stacking",
        "xla",
        "exported_1",
    ]
    for row in loaded["updates"] + loaded["extraction"] + loaded["exported"]:
        assert row["flops_per_second"] == row["flops"] / row["median_seconds"]
        assert 0.0 < row["matmul_fraction"] < 10.0
        assert 0.0 < row["unordered_fraction"] < 10.0
    both = {(r["work"], r["xla"]): r["flops"] for r in loaded["updates"]}
    assert both["1 critic + 2 behaviour", True] == (
        both["critic", False] + 2 * both["behaviour", False]
    )
    for others, words in ((0.0, ("holds ", "FAILS ")), (1.0, ("holds?", "FAILS?"))):
        results["machine"]["cores_taken_by_others"] = others
        lines = table.render(results).splitlines()
        assert max(map(len, lines)) <= table.WIDTH
        assert sum(line.startswith(words) for line in lines) == 4
        assert ("The machine was not idle" in lines[2]) == (others > 0)


def test_the_table_has_room_for_slow_machines():
    row = dict.fromkeys(["median_seconds", "minimum_seconds", "compile_seconds"], 12.3)
    row |= {"size": "quickstart", "work": "1 critic + 1 behaviour", "num_seeds": 10}
    row |= {"xla": True, "matmul": {"flops_per_second": 1.2e12}}
    row |= {"flops_per_second": 1.2e12, "matmul_fraction": 1, "unordered_fraction": 1}
    for line in table.updates([row]).splitlines():
        assert len(line) <= table.WIDTH


@pytest.mark.parametrize(
    ("fraction", "ratio", "on_seconds", "holds"),
    [(0.7, 1.02, 2.0, True), (0.69, 1.04, 0.5, False)],
)
def test_verdicts_follow_the_figures(fraction, ratio, on_seconds, holds):
    row = {"size": "paper", "num_seeds": 1, "work": verdicts.HEADLINE_WORK}
    row |= {"matmul_fraction": 0.5 if holds else 0.9}
    off = {"xla": False, "median_seconds": 1.0, "unordered_fraction": fraction, **row}
    on = {"xla": True, "median_seconds": on_seconds, "unordered_fraction": 0.9, **row}
    call = {"size": "paper", "num_candidates": 64, "batch_size": 64}
    results = {
        "settings": {"sizes": {"paper": ()}},
        "exported": [call | {"matmul_fraction": fraction + 0.14}],
        "updates": [off, on],
        "stacking": [{"size": "paper", "ratio": ratio}],
        "default_xla": False,
    }
    assert [v["holds"] for v in verdicts.judge(results)] == [holds] * 4


def test_settings_without_repeats_are_refused():
    config.load([], [*SETTINGS, "benchmark.repeats = 0"])
    with pytest.raises(UserError, match="benchmark.repeats is 0; expected an integer"):
        suite.Settings()


def test_launch_refuses_a_json_file_without_a_folder(tmp_path):
    file = tmp_path / "none" / "b.json"
    done = tiny_run.run_warm(tiny_run.script("benchmark.py", f"--json={file}"))
    tiny_run.check_refused(done, "its folder does not exist")
