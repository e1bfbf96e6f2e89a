"""Writes report.html: one page a person can read, from a run's files alone."""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Sequence
from typing import Any

import idql_tf
from idql_tf import files
from idql_tf.errors import UserError
from idql_tf.evaluation import facts, maze_plot, names, page, plots, reading, records
from idql_tf.evaluation import summary as summaries
from idql_tf.evaluation.records import RunFiles
from idql_tf.evaluation.summary import interval, number, percent, primary

_HEADER = ("", "Score", "95 % interval", "IQM", "Return", "Success", "Per seed")


def write(
    run_dirs: Sequence[str | pathlib.Path], output: str | pathlib.Path | None = None
) -> pathlib.Path:
    """Writes a report on one run, or a comparison of several.

    Args:
      run_dirs: run directories (contract C3), at least one.
      output: the page's path; by default report.html in the only run.

    Returns:
      The path written. The page needs no other file and no network.

    Raises:
      UserError: a directory is not a run, `output` is needed or is another file than
        such a page, or the page cannot be written there.
    """
    if not run_dirs:
        raise UserError("no run directory given, expected one or more; add --run_dir")
    if output is None and len(run_dirs) > 1:
        raise UserError(
            f"{len(run_dirs)} runs and no output file; say where with --output"
        )
    path = pathlib.Path(output or pathlib.Path(run_dirs[0]) / "report.html")
    if output is not None:
        files.check_replaceable(path, "<!DOCTYPE html>", "--output")
    runs = [records.read_run(run_dir) for run_dir in run_dirs]
    page_text = render(runs)
    try:
        files.write_atomically(path, page_text)
    except (OSError, ValueError) as error:  # ValueError: '.' has no file name.
        raise UserError(
            f"the page cannot be written to '{path}' "
            f"({getattr(error, 'strerror', None) or error}); name a file with --output"
        ) from error
    return path


def render(runs: Sequence[RunFiles]) -> str:
    """The page's HTML for one run or several."""
    pairs = [(run, summaries.summarize(run)) for run in runs]
    if len(pairs) == 1:
        run, summary = pairs[0]
        kind = "online finetuning" if records.is_online(run) else "offline training"
        with_what = names.name(run, single=summary["headline"]["idql"] is None)
        title = f"{facts.task(run)}: {kind} with {with_what}"
        body = _header(title, facts.headline(run, summary)) + _run_sections(
            run, summary
        )
    else:
        title = f"Comparison of {len(pairs)} runs"
        listed = ", ".join(run.name for run in runs)
        body = _header(title, listed) + _comparison(pairs)
        for run, summary in pairs:
            body += page.element("h2", run.name, "run")
            body += page.element("p", facts.headline(run, summary), "facts")
            body += _run_sections(run, summary)
    today = datetime.date.today().isoformat()
    footer = f"Written by idql_tf {idql_tf.__version__} on {today}."
    return page.document(title, body + page.element("footer", footer, "small"))


def _header(title: str, subtitle: str) -> str:
    kind = page.element("p", "Training report", "kind")
    heading = page.element("h1", title) + page.element("p", subtitle, "facts")
    return f"<header>{kind}{heading}</header>"


def _run_sections(run: RunFiles, summary: dict[str, Any]) -> str:
    return "\n".join(
        (
            _result(run, summary),
            _learning(run, summary),
            _episodes(run),
            _training(run),
            _data(run, summary),
            _reproduce(run, summary),
        )
    )


def _result(run: RunFiles, summary: dict[str, Any]) -> str:
    parts = [page.element("h2", "Result")]
    parts += [page.element("p", reading.paragraph(summary), "reading")]
    parts += [page.element("p", note, "note") for note in summary["notes"]]
    if not summary["methods"]:
        return "\n".join(parts)
    rows = [_row(entry) for entry in summary["methods"]]
    if summary["dataset_score"] is not None:
        score = number(summary["dataset_score"])
        rows.append(("The data itself", score, "", "", "", "", ""))
    parts.append(page.table(_HEADER, rows))
    parts.append(page.element("p", _how_to_read(summary), "small"))
    caption = "Dots are seeds, the thick tick is their mean"
    caption += ", the pale bar the 95 % interval" if _has_interval(summary) else ""
    caption += (
        "; the dashed line is the data's own score."
        if (summary["dataset_score"] is not None and summary["reference"])
        else "."
    )
    parts.append(page.figure(plots.headline(run, summary), caption))
    return "\n".join(parts)


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    main = entry[primary(entry)]
    return (
        entry["label"],
        number(entry["score"]["mean"]),
        interval(main["interval"]),
        number(main["iqm"]),
        number(entry["return"]["mean"]),
        percent(entry["success"]["mean"]),
        " / ".join(number(value) for value in main["per_seed"].values()),
    )


def _how_to_read(summary: dict[str, Any]) -> str:
    text = (
        "N is the number of candidate actions drawn from the behaviour model at every "
        "step; with N = 1 nothing is chosen: the behaviour model acts. "
        f"{summary['reference_note']} {summaries.basis(summary)} "
        "Every method starts from the same states. "
        "The interval is a percentile bootstrap of the mean over seeds"
    )
    text += (
        "; with three seeds it is their range." if len(summary["seeds"]) == 3 else "."
    )
    return f"{text} IQM is the mean of the middle half of the seeds."


def _learning(run: RunFiles, summary: dict[str, Any]) -> str:
    picture = plots.learning_curves(run, summary["dataset_score"])
    if picture is None:
        return ""
    caption = "Evaluation during training: mean over seeds (thick), each seed (thin)"
    caption += ", 95 % interval (band)." if _has_interval(summary) else "."
    parts = [page.element("h2", "Learning curves"), page.figure(picture, caption)]
    last_k = f"mean_of_last_{summaries.LAST_K}"
    rows = []
    for entry in summary["methods"]:
        found = entry[primary(entry)]
        at = "-" if found["best_step"] is None else f"{found['best_step']:,}"
        rows.append(
            (
                entry["label"],
                number(found["mean"]),
                number(found[last_k]),
                number(found["best"]),
                at,
                str(entry["evaluations"]),
            )
        )
    header = ("", "Last", f"Mean of last {summaries.LAST_K}", "Best", "Best at step")
    parts.append(page.table((*header, "Evaluations"), rows, lead=None))
    text = "The last evaluation is the result; the best is picked after the fact and "
    parts.append(page.element("p", f"{text}therefore flatters.", "small"))
    return "\n".join(parts)


def _episodes(run: RunFiles) -> str:
    returns, maze, note = plots.return_distributions(run), None, ""
    try:
        maze = maze_plot.maze(run)
    except UserError as error:  # One bad picture must not cost the page.
        note = page.element("p", str(error), "note")
    if returns is None and maze is None:
        return note
    return "\n".join(
        (
            page.element("h2", "Episodes"),
            page.figure(
                returns,
                "Returns of single episodes in the last evaluation, all seeds "
                "together; the line marks the mean.",
            ),
            page.figure(
                maze,
                "The critic's value V of a body at rest at each point of the maze, "
                "mean over seeds, with episodes of the trained policies. Circles are "
                "starts, the star is the goal.",
            ),
            note,
        )
    )


def _training(run: RunFiles) -> str:
    picture = plots.training_metrics(run)
    if picture is None:
        return ""
    caption = (
        "What training logged: mean over seeds (thick) and each seed (thin). "
        "The behaviour model's training loss is that of the online network with "
        "dropout, its held-out loss that of the averaged network without, so their "
        "levels differ for this reason too. A held-out loss that rises while the "
        "training loss falls is a sign of overfitting."
    )
    return page.element("h2", "Training") + page.figure(picture, caption)


def _data(run: RunFiles, summary: dict[str, Any]) -> str:
    title = page.element("h2", "Data, scores and versions")
    return title + page.pairs(facts.provenance(run, summary))


def _reproduce(run: RunFiles, summary: dict[str, Any]) -> str:
    how = (
        "From the repository's root, with the configuration below saved as config.gin:"
    )
    parts = [
        page.element("h2", "Reproduce"),
        page.element("p", how),
        page.element("pre", "\n".join(facts.commands(run, summary))),
    ]
    if run.config:
        parts.append(page.folded("Configuration (config.gin)", run.config))
    else:
        parts.append(page.element("p", "config.gin is missing from this run.", "note"))
    parts.append(page.folded("Specification (spec.json)", facts.specification(run)))
    return "\n".join(parts)


def _comparison(pairs: Sequence[tuple[RunFiles, dict[str, Any]]]) -> str:
    """One table and figure per score reference: scores of two never mix."""
    groups: dict[str, list[tuple[RunFiles, dict[str, Any]]]] = {}
    for run, summary in pairs:
        groups.setdefault((summary["reference"] or {}).get("source", ""), []).append(
            (run, summary)
        )
    parts = [page.element("h2", "Comparison")]
    if len(groups) > 1:
        text = "Scores with different references are not comparable: one table each."
        parts.append(page.element("p", text, "note"))
    header = (
        "Run",
        "Most candidates",
        "95 % interval",
        "N = 1",
        "The data",
        "Difference",
        "Seeds",
    )
    for source, members in groups.items():
        title = f"Scores by {source}" if source else "Returns (no score reference)"
        rows = [_comparison_row(run, summary) for run, summary in members]
        parts += [page.element("h3", title), page.table(header, rows, lead=None)]
        by_task: dict[str, list[RunFiles]] = {}
        for run, _ in members:
            by_task.setdefault(facts.task(run), []).append(run)
        for task, runs in by_task.items():
            caption = f"{task}: means over seeds; solid most candidates, dashed one."
            parts.append(page.figure(plots.comparison(runs), caption))
    return "\n".join(parts)


def _comparison_row(run: RunFiles, summary: dict[str, Any]) -> tuple[str, ...]:
    entries, headline = summary["methods"], summary["headline"]
    idql = None if headline["idql"] is None else entries[headline["idql"]]
    single = None if headline["single"] is None else entries[headline["single"]]
    main, base = ((e[primary(e)] if e else None) for e in (idql, single))
    gain = headline["difference"]
    return (
        run.name,
        number(main["mean"]) if main else "-",
        interval(main["interval"]) if main else "-",
        number(base["mean"]) if base else "-",
        number(summary["dataset_score"]),
        reading.signed(gain["mean"]) if gain else "-",
        str(len(summary["seeds"])),
    )


def _has_interval(summary: dict[str, Any]) -> bool:
    return any(e[primary(e)]["interval"] for e in summary["methods"])
