"""Figure 2: values and implicit actors of the three objectives on a bandit.

Rewards of a continuous bandit fall into three noisy clusters. V over each objective's
parameter, and the mean and spread of the reward under the implicit actor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gin
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from idql_tf.critic.objectives import Expectile, Exponential, Objective, Quantile
from idql_tf.errors import UserError, check_count, check_number
from idql_tf.evaluation import plots
from idql_tf.experiments.bandits import implicit_actor
from idql_tf.experiments.claims import Claim, Result

# The paper's linex has no cap.
_NO_CAP = 1e300


@gin.configurable("figure2")
def run(
    cluster_means: Sequence[float],
    cluster_shares: Sequence[float],
    noise_stddev: float,
    num_samples: int,
    num_parameters: int,
    largest_alpha: float,
) -> Result:
    """Draws rewards and solves for V over each objective's parameter.

    Args:
      cluster_means: rewards of the clusters.
      cluster_shares: of the samples, in the same order.
      noise_stddev: of the reward within a cluster.
      num_samples: rewards drawn.
      num_parameters: points of every curve.
      largest_alpha: of the exponential objective.
    """
    if len(cluster_means) != len(cluster_shares) or abs(sum(cluster_shares) - 1) > 1e-6:
        raise UserError(
            f"figure2.cluster_shares is {cluster_shares!r:.60}; expected a share "
            f"of each of {len(cluster_means)} clusters, together 1"
        )
    check_number("figure2.noise_stddev", noise_stddev)
    check_count("figure2.num_samples", num_samples, 2)
    check_count("figure2.num_parameters", num_parameters, 2)
    check_number("figure2.largest_alpha", largest_alpha, least=0.2)
    rng = np.random.default_rng(0)
    cluster = rng.choice(len(cluster_means), num_samples, p=cluster_shares)
    rewards = np.asarray(cluster_means)[cluster]
    rewards = rewards + noise_stddev * rng.standard_normal(num_samples)
    taus = np.linspace(0.5, 0.99, num_parameters)
    alphas = np.geomspace(0.1, largest_alpha, num_parameters)
    families: dict[str, tuple[str, np.ndarray, Callable[[float], Objective]]] = {
        "expectile": ("tau", taus, Expectile),
        "quantile": ("tau", taus, Quantile),
        "exponential": ("alpha", alphas, lambda a: Exponential(a, _NO_CAP)),
    }
    rows = []
    for family, (_, parameters, make) in families.items():
        for parameter in parameters.tolist():
            value, p = implicit_actor(make(parameter), rewards)
            mean = float(p @ rewards)
            stddev = float(np.sqrt(p @ (rewards - mean) ** 2))
            rows.append(
                {
                    "objective": family,
                    "parameter": parameter,
                    "value": value,
                    "actor_mean": mean,
                    "actor_stddev": stddev,
                }
            )
    of = {
        family: {
            key: np.array([r[key] for r in rows if r["objective"] == family])
            for key in ("parameter", "value", "actor_mean", "actor_stddev")
        }
        for family in families
    }
    return Result(_draw(rewards, of), rows, _claims(rewards, of))


def _claims(rewards: np.ndarray, of: dict[str, dict[str, np.ndarray]]) -> list[Claim]:
    spread = np.ptp(rewards)
    steps = {f: np.diff(c["value"]).max() / spread for f, c in of.items()}
    expectile, quantile, exponential = of.values()
    rises = np.diff(expectile["value"]).min() > 0
    # Where a step of the inverse CDF falls on tau, either side of it is right.
    share_below = np.searchsorted(np.sort(rewards), quantile["value"]) / len(rewards)
    off_cdf = np.abs(share_below - quantile["parameter"]).max()
    # At the largest alpha, log-mean-exp is below the maximum by log(n) / alpha at most.
    short = (rewards.max() - exponential["value"][-1]) / spread
    off_mean = max(np.abs(c["value"] - c["actor_mean"]).max() for c in of.values())
    widths = {f: float(np.mean(c["actor_stddev"])) for f, c in of.items()}
    return [
        Claim(
            "expectile: V rises with tau without a jump (largest step < 5 % of the "
            "range)",
            f"rises: {rises}; {steps['expectile']:.1%}",
            bool(rises and steps["expectile"] < 0.05),
        ),
        Claim(
            "quantile: V follows the inverse CDF (the share of rewards below it is "
            "tau, within 0.1 %), jumps included",
            f"off by {off_cdf:.2%}; largest step {steps['quantile']:.1%}",
            bool(off_cdf < 0.001 and steps["quantile"] > 2 * steps["expectile"]),
        ),
        Claim(
            "exponential: V approaches the maximum (within 5 % at the largest alpha)",
            f"{short:.1%} short",
            bool(short < 0.05),
        ),
        Claim(
            "the implicit actor's mean reward is V (Theorem 4.1, within 0.001)",
            f"off by {off_mean:.1e} at most",
            bool(off_mean < 1e-3),
        ),
        Claim(
            "the quantile's actor is concentrated, the expectile's broad",
            f"stddev {widths['quantile']:.2f} against {widths['expectile']:.2f}",
            widths["quantile"] < 0.5 * widths["expectile"],
        ),
    ]


def _draw(rewards: np.ndarray, of: dict[str, dict[str, np.ndarray]]) -> Figure:
    with matplotlib.rc_context(plots.STYLE):
        figure = Figure(figsize=(12, 3.2), layout="constrained")
        panels = figure.subplots(1, 4, sharey=True)
        panels[0].hist(
            rewards, bins=80, orientation="horizontal", color=plots.GREY, density=True
        )
        panels[0].set_title("rewards of the data")
        panels[0].set_xlabel("density")
        panels[0].set_ylabel("reward")
        for axes, (family, curve), colour in zip(
            panels[1:], of.items(), plots.RUN_COLOURS, strict=False
        ):
            x = curve["parameter"]
            mean, stddev = curve["actor_mean"], curve["actor_stddev"]
            axes.fill_between(
                x,
                mean - stddev,
                mean + stddev,
                color=colour,
                alpha=0.2,
                lw=0,
                label="actor: mean, deviation",
            )
            axes.plot(x, curve["value"], color=colour, label="V")
            axes.axhline(rewards.max(), color=plots.GREY, ls=":", lw=1.2)
            axes.set_title(family)
            if family == "exponential":
                axes.set_xscale("log")
                axes.set_xlabel("alpha")
            else:
                axes.set_xlabel("tau")
            axes.legend(loc="lower right", handlelength=1.6, fontsize=8)
        return figure
