"""The paper's ablations as studies: Figures 4 to 8. gin/studies has their numbers.

Each function gives a `Study`; the text of a claim says what the paper claims.
"""

from __future__ import annotations

from collections.abc import Sequence

import gin

from idql_tf.errors import UserError, check_count, check_number
from idql_tf.experiments.study import Arm, Mark, Order, Panel, Study

_EXTRACTIONS = ("argmax", "implicit", "softmax")  # the paper's
_SCHEDULES = ("vp", "cosine", "linear")


@gin.configurable
def figure4(candidates: Sequence[int], choices_at: int) -> Study:
    """Objectives by extractions, and the two networks over N.

    Args:
      candidates: N of the networks' comparison, growing.
      choices_at: N of the extractions'.
    """
    _check("figure4.candidates", candidates, 2)
    check_count("figure4.choices_at", choices_at)
    networks = Panel("networks", "candidates N")
    choices = Panel(f"objectives, N = {choices_at}")
    of_all = tuple(sorted(candidates))

    def over_n(label: str) -> tuple[Mark, ...]:
        return tuple(Mark(networks, label, n, "argmax", n) for n in of_all)

    def by_choice(name: str) -> tuple[Mark, ...]:
        return tuple(
            Mark(choices, f"{name}, {m}", None, m, choices_at) for m in _EXTRACTIONS
        )

    arms = (
        Arm("expectile", over_n("LN-ResNet") + by_choice("expectile")),
        Arm(
            "quantile",
            by_choice("quantile"),
            gin_params=("Critic.objective = @Quantile()",),
        ),
        Arm(
            "exponential",
            by_choice("exponential"),
            gin_params=("Critic.objective = @Exponential()",),
        ),
        Arm("mlp", over_n("MLP"), gin_params=("Behavior.network = @Mlp",)),
    )
    middle, most = of_all[(len(of_all) - 1) // 2], of_all[-1]
    at = networks.title
    orders = [
        Order(
            "the MLP gets worse where N grows",
            ((at, "MLP", middle), (at, "MLP", most)),
        ),
        Order(
            "the LN-ResNet does not",
            ((at, "LN-ResNet", most), (at, "LN-ResNet", middle)),
            or_equal=True,
        ),
        Order(
            f"at N = {most} the LN-ResNet is above the MLP",
            ((at, "LN-ResNet", most), (at, "MLP", most)),
        ),
    ]
    for name in ("expectile", "quantile", "exponential"):
        orders.append(
            Order(
                f"{name}: the best candidate is no worse than one by its implicit "
                "weight (the paper evaluates argmax)",
                tuple(
                    (choices.title, f"{name}, {m}", None)
                    for m in ("argmax", "implicit")
                ),
                or_equal=True,
            )
        )
    return Study("Objectives, extractions and networks", arms, tuple(orders))


@gin.configurable
def figure5(steps: Sequence[int], schedules_at: int) -> Study:
    """Diffusion steps under vp, and the three schedules at one of them.

    Args:
      steps: T of the first panel, growing.
      schedules_at: T of the second panel, one of `steps`.
    """
    _check("figure5.steps", steps, 1)
    if schedules_at not in steps:
        raise UserError(
            f"figure5.schedules_at is {schedules_at!r}; expected one of figure5.steps "
            f"{tuple(steps)}"
        )
    over_t = Panel("vp schedule", "diffusion steps T")
    by_schedule = Panel(f"schedules at T = {schedules_at}")

    def arm(schedule: str, num_steps: int) -> Arm:
        marks = [Mark(over_t, "IDQL", num_steps)] if schedule == "vp" else []
        if num_steps == schedules_at:
            marks.append(Mark(by_schedule, schedule))
        params = (
            f"Behavior.schedule = @{schedule}",
            f"Behavior.num_diffusion_steps = {num_steps}",
        )
        return Arm(f"{schedule}-{num_steps}", tuple(marks), gin_params=params)

    arms = [arm("vp", t) for t in sorted(steps)]
    arms += [arm(schedule, schedules_at) for schedule in _SCHEDULES[1:]]
    orders = [
        Order(
            f"at T = {schedules_at}: vp, then cosine, then linear",
            tuple((by_schedule.title, name, None) for name in _SCHEDULES),
        )
    ]
    orders += [
        Order(
            f"T = {schedules_at} is enough: no worse than T = {t}",
            ((over_t.title, "IDQL", schedules_at), (over_t.title, "IDQL", t)),
            or_equal=True,
        )
        for t in sorted(steps)
        if t != schedules_at
    ]
    return Study("Diffusion steps and schedules", tuple(arms), tuple(orders))


@gin.configurable
def figure6(batch_sizes: Sequence[int]) -> Study:
    """The behaviour model's batch size, for many candidates and for one.

    Args:
      batch_sizes: of the behaviour model, growing.
    """
    _check("figure6.batch_sizes", batch_sizes, 2)
    panel = Panel("behaviour batch", "batch size")
    ordered = sorted(batch_sizes)
    arms = tuple(
        Arm(
            f"batch-{size}",
            (Mark(panel, "best of N", size), Mark(panel, "N = 1", size, "argmax", 1)),
            gin_params=(f"IdqlLearner.behavior_batch_size = {size}",),
        )
        for size in ordered
    )
    largest, least = ordered[-1], ordered[0]
    order = Order(
        "the largest batch is better than the smallest",
        ((panel.title, "best of N", largest), (panel.title, "best of N", least)),
    )
    return Study("Batch size of the behaviour model", arms, (order,))


@gin.configurable
def figure7(weights: Sequence[str]) -> Study:
    """The diffusion model's loss weighted by advantages, against none.

    Args:
      weights: files of gin/ablations without awr_.
    """
    many, one = Panel("best of N"), Panel("N = 1")

    def marks(label: str) -> tuple[Mark, ...]:
        return Mark(many, label), Mark(one, label, None, "argmax", 1)

    arms = [Arm("none", marks("no weights"))]
    orders = []
    for name in weights:
        file = f"gin/ablations/awr_{name}.gin"
        arms.append(Arm(name, marks(name), gin_files=(file,)))
        orders.append(
            Order(
                f"{name} weights do not beat none and the best of N",
                ((many.title, "no weights", None), (many.title, name, None)),
                or_equal=True,
            )
        )
    return Study("Advantage-weighted diffusion models", tuple(arms), tuple(orders))


@gin.configurable
def figure8(
    num_blocks: Sequence[int],
    dropout_rates: Sequence[float],
    blocks_at: int,
    dropout_at: float,
) -> Study:
    """The LN-ResNet's blocks, layer norm and dropout, one changed at a time.

    Args:
      num_blocks: residual blocks of the first panel, growing.
      dropout_rates: of the third panel, growing.
      blocks_at: blocks where something else is changed.
      dropout_at: dropout rate where something else is changed.
    """
    _check("figure8.num_blocks", num_blocks, 1)
    for rate in dropout_rates:
        check_number("a rate of figure8.dropout_rates", rate, most=0.99)
    over_blocks = Panel("blocks", "residual blocks")
    by_norm = Panel("layer norm")
    over_dropout = Panel("dropout", "dropout rate")
    ways: dict[tuple[int, bool, float], list[Mark]] = {}
    for blocks in sorted({*num_blocks, blocks_at}):
        mark = Mark(over_blocks, "IDQL", blocks)
        ways.setdefault((blocks, True, dropout_at), []).append(mark)
    for norm, label in ((True, "layer norm"), (False, "none")):
        mark = Mark(by_norm, label)
        ways.setdefault((blocks_at, norm, dropout_at), []).append(mark)
    rates = sorted({*dropout_rates, dropout_at})
    for rate in rates:
        mark = Mark(over_dropout, "IDQL", rate)
        ways.setdefault((blocks_at, True, rate), []).append(mark)
    arms = tuple(
        Arm(
            f"blocks-{blocks}-{'norm' if norm else 'plain'}-dropout-{rate:g}",
            tuple(marks),
            gin_params=(
                f"LnResnet.num_blocks = {blocks}",
                f"LnResnet.layer_norm = {norm}",
                f"LnResnet.dropout_rate = {rate}",
            ),
        )
        for (blocks, norm, rate), marks in ways.items()
    )
    at = over_dropout.title
    orders = [
        Order(
            "layer norm helps",
            tuple((by_norm.title, label, None) for label in ("layer norm", "none")),
        )
    ]
    if 0.0 in rates and len(rates) > 1:
        some = dropout_at or rates[1]
        orders.append(
            Order(
                f"dropout {some:g} helps",
                ((at, "IDQL", some), (at, "IDQL", 0.0)),
            )
        )
    return Study("Blocks, layer norm and dropout", arms, tuple(orders))


def _check(name: str, counts: Sequence[int], at_least: int) -> None:
    for count in counts:
        check_count(f"a number of {name}", count)
    if len(set(counts)) < max(at_least, len(counts)):
        raise UserError(
            f"{name} is {tuple(counts)}; expected {at_least} or more, all different"
        )
