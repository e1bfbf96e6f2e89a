"""Figure 1: what becomes of two good modes under AWR, and under IDQL.

One state, actions of two numbers in three modes, reward a1 + a2, V its 90 % expectile.
Advantage-weighted regression fits one Gaussian to the weighted actions; IDQL draws
from a diffusion model of all of them and takes the implicit actor's choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import gin
import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from idql_tf.behavior.updates import Behavior
from idql_tf.critic.objectives import Expectile
from idql_tf.errors import UserError, check_count, check_number, check_seeds
from idql_tf.evaluation import plots
from idql_tf.experiments.bandits import implicit_value
from idql_tf.experiments.claims import Claim, Result
from idql_tf.experiments.density_model import sample, train

_MOST_DRAWN = 1_500


@gin.configurable("figure1")
def run(
    modes: Sequence[Sequence[float]],
    stddev: float,
    tau: float,
    temperatures: Sequence[float],
    num_data: int,
    num_samples: int,
    training_steps: int,
    batch_size: int,
    seeds: Sequence[int],
) -> Result:
    """Fits both and measures how much of each lies off the data's modes.

    Args:
      modes: centres of the actions' clusters.
      stddev: of a cluster, on both axes.
      tau: of the expectile.
      temperatures: inverse temperatures of AWR.
      num_data: actions drawn as data.
      num_samples: actions drawn from each policy.
      training_steps: of the diffusion model.
      batch_size: the same.
      seeds: of the diffusion model, trained in one program.
    """
    _check(modes, stddev, temperatures, seeds)
    counts = (num_data, num_samples, training_steps, batch_size)
    names = ("num_data", "num_samples", "training_steps", "batch_size")
    for name, count in zip(names, counts, strict=True):
        check_count(f"figure1.{name}", count)
    rng = np.random.default_rng(0)
    centres = np.asarray(modes, np.float32)
    which = rng.integers(len(centres), size=num_data)
    data = centres[which] + stddev * rng.standard_normal((num_data, 2))
    data = np.clip(data, -1.0, 1.0).astype(np.float32)
    objective = Expectile(tau)
    value = implicit_value(objective, data.sum(1).astype(np.float64))

    policies: dict[str, np.ndarray] = {}
    for temperature in temperatures:
        weights = np.exp(temperature * (data.sum(1) - value))
        mean = np.average(data, 0, weights)
        deviation = np.sqrt(np.average((data - mean) ** 2, 0, weights))
        drawn = mean + deviation * rng.standard_normal((num_samples, 2))
        policies[f"AWR, temperature {temperature:g}"] = drawn[None]
    sizes: tuple = (1, 2, tuple(seeds))
    behavior = Behavior(*sizes)
    train(behavior, data, training_steps, batch_size)
    candidates = sample(behavior, num_samples)
    policies["diffusion model of the data"] = candidates
    chosen = []
    for drawn in candidates:
        advantage = tf.constant(drawn.sum(1) - value)
        weights = objective.implicit_weight(advantage).numpy()
        p = weights / weights.sum()
        chosen.append(drawn[rng.choice(num_samples, num_samples, p=p)])
    policies["IDQL, implicit actor"] = np.stack(chosen)

    rows = []
    for name, drawn in policies.items():
        distance = np.linalg.norm(drawn[:, :, None] - centres, axis=-1).min(-1)
        for member, far in enumerate(distance):
            rows.append(
                {
                    "policy": name,
                    "member": member,
                    "off_modes": float((far > 3 * stddev).mean()),
                    "mean_reward": float(drawn[member].sum(-1).mean()),
                }
            )
    figure = _draw(data, policies, centres, 3 * stddev)
    return Result(figure, rows, _claims(rows, value))


def _check(
    modes: Sequence[Sequence[float]],
    stddev: float,
    temperatures: Sequence[float],
    seeds: Sequence[int],
) -> None:
    if np.ndim(modes) != 2 or np.shape(modes)[1] != 2 or np.max(np.abs(modes)) > 1:
        raise UserError(
            f"figure1.modes is {modes!r:.60}; expected pairs of numbers within [-1, 1]"
        )
    check_number("figure1.stddev", stddev, least=1e-3)
    for temperature in temperatures:
        check_number("a temperature of figure1.temperatures", temperature, most=100)
    check_seeds("figure1.seeds", seeds)


def _claims(rows: list[dict], value: float) -> list[Claim]:
    def of(prefix: str, key: str) -> list[float]:
        return [row[key] for row in rows if row["policy"].startswith(prefix)]

    awr, idql = of("AWR", "off_modes"), of("IDQL", "off_modes")
    means = of("IDQL", "mean_reward")
    return [
        Claim(
            "AWR's Gaussian puts most of its mass off the modes (over 3 deviations "
            "from the nearest)",
            ", ".join(f"{x:.0%}" for x in awr) + ", by temperature",
            min(awr) > 0.5,
        ),
        Claim(
            "IDQL's samples stay on the modes (at most 10 % off them)",
            ", ".join(f"{x:.1%}" for x in idql) + ", by seed",
            max(idql) <= 0.1,
        ),
        Claim(
            "the implicit actor's mean reward is V (within 0.1)",
            ", ".join(f"{x:.2f}" for x in means) + f", by seed; V = {value:.2f}",
            max(abs(x - value) for x in means) < 0.1,
        ),
    ]


def _draw(
    data: np.ndarray, policies: dict[str, np.ndarray], centres: np.ndarray, near: float
) -> Figure:
    panels = {"the data": data[None]} | policies
    with matplotlib.rc_context(plots.STYLE):
        figure = Figure(figsize=(2.4 * len(panels), 3.1), layout="constrained")
        for axes, (name, drawn) in zip(
            figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0],
            panels.items(),
            strict=True,
        ):
            x, y = drawn[0][:_MOST_DRAWN].T
            colour = plots.VERMILLION if name.startswith("AWR") else plots.BLUE
            colour = plots.GREY if name == "the data" else colour
            axes.plot(x, y, ".", color=colour, ms=2, alpha=0.4, mew=0)
            circle = np.linspace(0, 2 * np.pi, 60)
            for centre in centres:
                axes.plot(
                    centre[0] + near * np.cos(circle),
                    centre[1] + near * np.sin(circle),
                    color=plots.INK,
                    lw=0.9,
                )
            axes.set_title(name, fontsize=8.5)
            axes.set_box_aspect(1)
            axes.set_xlim(-1.25, 1.25)
            axes.set_ylim(-1.25, 1.25)
            axes.set_xlabel("first action")
        figure.axes[0].set_ylabel("second action")
        return figure
