"""The paper's tables and Figure 9 as studies. gin/studies has what they run on."""

from __future__ import annotations

import gin

from idql_tf.experiments.study import Arm, Mark, Order, Panel, Study

_ALL = Panel("")


@gin.configurable
def table1(longer: str) -> Study:
    """IDQL with both budgets, IQL, filtered cloning and cloning.

    Args:
      longer: gin file of IDQL-A's budget; '' leaves it out.
    """
    arms = [_idql(), _baseline("IQL", "iql"), _baseline("BC", "bc_gaussian")]
    if longer:
        arms.insert(1, Arm("idql-a", (Mark(_ALL, "IDQL-A"),), (longer,)))
    arms.insert(-1, _baseline("IQL-1", "iql", "iql_one_parameter"))
    arms.insert(-1, _baseline("%BC", "bc_gaussian", "filtered_bc"))
    orders = [
        _order("IDQL is above IQL", "IDQL", "IQL"),
        _order("IDQL is above IQL with one parameter", "IDQL", "IQL-1"),
        _order("IQL is above cloning", "IQL", "BC"),
        _order("IDQL is above filtered cloning", "IDQL", "%BC"),
        _order("the best of N is above N = 1", "IDQL", "diffusion BC"),
    ]
    if longer:
        orders.append(_order("the longer budget adds", "IDQL-A", "IDQL"))
    return Study("IDQL and others, offline", tuple(arms), tuple(orders))


def table4() -> Study:
    """The whole family on the same critic and data."""
    arms = (
        _idql(),
        _baseline("IQL", "iql"),
        _baseline("IQL, best of N", "iql", "iql_resampling", many=True),
        _baseline("EQL", "iql", "eql"),
        _baseline("BC", "bc_gaussian"),
        _baseline("BC, best of N", "bc_gaussian", "gaussian_resampling", many=True),
        _baseline("%BC", "bc_gaussian", "filtered_bc"),
    )
    others = [a.marks[0].label for a in arms[1:]] + ["diffusion BC"]
    orders = tuple(_order(f"IDQL is above {x}", "IDQL", x) for x in others)
    return Study("The family on one critic", arms, orders)


def table5() -> Study:
    """Mazes: IDQL, IQL and cloning."""
    arms = (_idql(), _baseline("IQL", "iql"), _baseline("BC", "bc_gaussian"))
    orders = (
        _order("IDQL is above IQL", "IDQL", "IQL"),
        _order("the best of N is above N = 1", "IDQL", "diffusion BC"),
    )
    return Study("Mazes, offline", arms, orders)


def table3() -> Study:
    """Finetuning: the score before and after it."""
    arms = (
        Arm("offline", (Mark(_ALL, "offline"),)),
        Arm("max", (Mark(_ALL, "max"),), mode="max"),
        Arm("imp", (Mark(_ALL, "imp"),), mode="imp"),
    )
    orders = (
        _order("max improves on its start", "max", "offline"),
        _order("imp improves on its start", "imp", "offline"),
    )
    return Study("Finetuned online", arms, orders)


def figure9() -> Study:
    """Finetuning over its steps, beside the same updates on the dataset alone."""
    panel = Panel("finetuning", "environment steps online")

    def arm(label: str, mode: str, *params: str) -> Arm:
        mark = Mark(panel, label, every=True)
        return Arm(label, (mark,), gin_params=params, mode=mode)

    arms = (
        Arm("offline", ()),
        arm("max", "max"),
        arm("imp", "imp"),
        arm("control", "max", "finetune.offline_fraction = 1.0"),
    )
    at = panel.title
    orders = (
        Order("max improves on its start", ((at, "max", None), (at, "max", 0))),
        Order("imp improves on its start", ((at, "imp", None), (at, "imp", 0))),
        Order(
            "acting helps, not more updates: max ends above the same updates on the "
            "dataset alone",
            ((at, "max", None), (at, "control", None)),
        ),
    )
    return Study("Finetuned online", arms, orders)


def _idql() -> Arm:
    one = Mark(_ALL, "diffusion BC", None, "argmax", 1)
    return Arm("idql", (Mark(_ALL, "IDQL"), one))


def _baseline(label: str, *files: str, many: bool = False) -> Arm:
    mark = Mark(_ALL, label, None, "argmax", None if many else 1)
    paths = tuple(f"gin/baselines/{file}.gin" for file in files)
    return Arm(files[-1].replace("_", "-"), (mark,), paths)


def _order(text: str, *labels: str) -> Order:
    return Order(text, tuple((_ALL.title, label, None) for label in labels))
