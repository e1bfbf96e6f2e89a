"""Says in plain words what a run's numbers support, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from idql_tf.evaluation.statistics import MIN_SEEDS_FOR_INTERVAL
from idql_tf.evaluation.summary import interval, number, percent, primary


def paragraph(summary: dict[str, Any]) -> str:
    """One paragraph on the last evaluation of a run, from its summary."""
    entries, headline = summary["methods"], summary["headline"]
    if not entries:
        return "No evaluation has been written yet, so there is no result to report."
    idql = None if headline["idql"] is None else entries[headline["idql"]]
    single = None if headline["single"] is None else entries[headline["single"]]
    main = idql or single or entries[0]
    sentences = [_level(main)]
    if main["success"]["mean"] is not None:
        sentences.append(
            f"It succeeds in {percent(main['success']['mean'])} of its episodes."
        )
    if idql and single:
        sentences.append(_against(idql, single, headline["difference"]))
        sentences.append(_fewer(entries, idql, single, headline["difference"]))
    sentences.append(_data(main, summary["dataset_score"]))
    sentences.append(_last_against_best(main))
    return " ".join(sentence for sentence in sentences if sentence)


def signed(value: float) -> str:
    """`number` with its sign, a true minus."""
    return f"{'+' if value >= 0 else '−'}{number(abs(value))}"


_UNITS = {"offline": "critic updates", "online": "environment steps online"}


def _level(entry: dict[str, Any]) -> str:
    measure, seeds = primary(entry), len(entry["seeds"])
    unit = "a normalised score of" if measure == "score" else "a return of"
    counted = "1 seed" if seeds == 1 else f"{seeds} seeds"
    text = (
        f"After {entry['step']:,} {_UNITS[entry['phase']]}, {entry['label']} reaches "
        f"{unit} "
        f"{number(entry[measure]['mean'])}: the mean over {counted} of "
        f"{entry['episodes_per_seed']} episodes each"
    )
    bounds = entry[measure]["interval"]
    if bounds is None:
        return (
            f"{text}, without an interval, which needs {MIN_SEEDS_FOR_INTERVAL} seeds."
        )
    return f"{text}, with a 95 % interval over seeds of {interval(bounds)}."


def _against(
    idql: dict[str, Any], single: dict[str, Any], difference: dict[str, Any] | None
) -> str:
    """Compares with one candidate: paired difference, overlap of intervals."""
    measure = primary(idql)
    text = (
        "With N = 1, the same behaviour model without the critic's choice reaches "
        f"{number(single[measure]['mean'])}"
    )
    if difference is None:
        return f"{text}, but at another step or on other seeds: not comparable."
    gain, bounds = difference["mean"], difference["interval"]
    text += f", a difference of {signed(gain)}"
    if bounds is None:
        return (
            f"{text}; with fewer than {MIN_SEEDS_FOR_INTERVAL} seeds this is an "
            "indication only."
        )
    text += f" with a 95 % interval, paired by seed, of {interval(bounds)}."
    if bounds[0] <= 0 <= bounds[1]:
        text += " As it contains zero, no difference is shown."
    else:
        text += f" As it lies {'above' if bounds[0] > 0 else 'below'} zero, choosing "
        text += f"by the critic {'helps' if bounds[0] > 0 else 'hurts'} on these seeds."
    ours, theirs = idql[measure]["interval"], single[measure]["interval"]
    if ours and theirs:
        overlap = ours[0] <= theirs[1] and theirs[0] <= ours[1]
        verb = "overlap" if overlap else "do not overlap"
        text += f" The two methods' own intervals {verb}."
    return text


def _fewer(
    entries: Sequence[dict[str, Any]],
    idql: dict[str, Any],
    single: dict[str, Any],
    difference: dict[str, Any] | None,
) -> str:
    """What to try where the choice costs score: another number of candidates."""
    if not (difference and difference["interval"] and difference["interval"][-1] < 0):
        return ""
    measure = primary(idql)
    alike = [
        entry
        for entry in entries
        if entry["extraction"] == "argmax"
        and 1 < entry["num_candidates"] < idql["num_candidates"]
        and all(entry[key] == idql[key] for key in ("phase", "step", "seeds"))
        and primary(entry) == measure
    ]
    best = max((single, *alike), key=lambda entry: entry[measure]["mean"])
    if best is single:
        untried = not alike and idql["num_candidates"] > 4
        fewer = "fewer (launch/evaluate.py --num_candidates 4), or " if untried else ""
        return (
            "The more candidates, the more of the critic's errors are chosen: try "
            f"{fewer}more critic steps."
        )
    return (
        f"Of the smaller numbers evaluated N = {best['num_candidates']} is best, "
        f"with {number(best[measure]['mean'])}. It is picked by these episodes: "
        "evaluate it on others (--gin_param evaluate.evaluation_seed=...) before you "
        "rely on it."
    )


def _data(entry: dict[str, Any], score: float | None) -> str:
    if score is None or primary(entry) != "score":
        return ""
    bounds, mean = entry["score"]["interval"], entry["score"]["mean"]
    text = f"The data's own episodes average a score of {number(score)}"
    if bounds and bounds[0] <= score <= bounds[1]:
        return f"{text}, inside {entry['label']}'s interval."
    side = "below" if score < mean else "above"
    return f"{text}, {side} {entry['label']}."


def _last_against_best(entry: dict[str, Any]) -> str:
    found = entry[primary(entry)]
    if (
        found["best"] is None
        or entry["evaluations"] < 2
        or found["best_step"] == entry["step"]
    ):
        return ""
    return (
        "All of these are the last evaluation's numbers; the best evaluation "
        f"along the way was {number(found['best'])}, at step {found['best_step']:,}."
    )
