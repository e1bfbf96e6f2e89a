import base64
import html.parser
import json
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import tiny_run
from synthetic_run import write_run

from idql_tf.errors import UserError
from idql_tf.evaluation import facts, maze_plot, plots, records, report

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
VOID = {"meta", "img", "br"}


class Page(html.parser.HTMLParser):
    """Checks that tags nest, and keeps texts, pictures and references."""

    def __init__(self, text):
        super().__init__()
        self.open, self.pictures, self.references, self.texts = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        assert tag != "script"
        if tag == "img":
            assert attrs["alt"]
            self.pictures.append(attrs["src"])
        self.references += [attrs[k] for k in ("href", "src") if k in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def run_dir(tmp_path):
    return write_run(tmp_path / "umaze")


def test_page_is_whole_and_needs_nothing_else(run_dir):
    path = report.write([run_dir])
    assert path == run_dir / "report.html"
    page = Page(path.read_text())
    assert len(page.pictures) == 5  # headline, curves, returns, maze, training
    for reference in page.references:
        head, data = reference.split(",", 1)
        assert head == "data:image/svg+xml;base64"
        picture = ElementTree.fromstring(base64.b64decode(data))
        assert picture.tag.endswith("svg")
        assert "http" not in picture.get("href", "")
    assert "@import" not in path.read_text() and "url(" not in page.text
    for text in (
        "IDQL (N = 64)",
        "Behaviour cloning (N = 1)",
        "The data itself",
        "measured refs (ours)",
        "Expectile.tau = 0.9",
        "3f3f3f",
        "tensorflow 2.15.1",
        "python launch/train.py --dataset minari:d4rl-like/maze2d/umaze-v0",
        "50 episodes per seed at step 50,000.",
        "value V of a body at rest",
        "online network with dropout, its held-out loss that of the averaged network",
    ):
        assert text in page.text, text
    assert str(run_dir.parent) not in path.read_text()


def test_reproduce_names_the_environment_where_the_run_needed_one(tmp_path):
    without = records.read_run(write_run(tmp_path / "without"))
    run = records.read_run(write_run(tmp_path / "with", env_id="my mod:Ant-v0"))
    summary = {"seeds": [0, 1], "methods": []}
    assert "--env_id" not in "".join(facts.commands(without, summary))
    train, report_again = facts.commands(run, summary)
    assert train.split("\\\n")[1].startswith(
        "    --env_id 'my mod:Ant-v0' --seeds 0,1 "
    )
    assert "--env_id" not in report_again


def test_a_finetuned_run_is_told_as_one(tmp_path):
    folder = write_run(tmp_path / "tuned")
    spec = json.loads((folder / "spec.json").read_text())
    spec["finetuned_from"] = "/home/somebody/runs/my base"
    (folder / "spec.json").write_text(json.dumps(spec))
    run = records.read_run(folder)
    entry = {"step": 700, "episodes_per_seed": 5, "extraction": "argmax"}
    summary = {"seeds": [0, 1], "methods": [entry | {"num_candidates": 4}]}
    assert "700 environment steps online" in facts.headline(run, summary)
    first = facts.commands(run, summary)[0]
    assert first.startswith(
        "python launch/finetune.py --run_dir 'runs/my base' --mode max"
    )
    assert "--num_env_steps 700 --output_dir runs/tuned" in first
    assert "somebody" not in facts.specification(run)


def test_a_later_evaluation_keeps_its_own_colour(tmp_path):
    methods = [("argmax", 16), ("argmax", 1)]
    run = records.read_run(write_run(tmp_path / "run", methods=methods))
    palette = {m.num_candidates: colour for m, colour in plots.colours(run).items()}
    assert palette == {16: plots.BLUE, 1: plots.VERMILLION, 64: plots.OTHERS[0]}


def test_text_is_escaped(tmp_path):
    run_dir = write_run(tmp_path / "a<b>&", dataset="npz:<script>x.npz", maze=False)
    (run_dir / "config.gin").write_text("name = '<img src=x>'\n")
    page = Page(report.write([run_dir]).read_text())
    assert "npz:<script>x.npz" in page.text
    assert "name = '<img src=x>'" in page.text


def test_same_run_same_pictures(run_dir):
    run = records.read_run(run_dir)
    assert plots.learning_curves(run) == plots.learning_curves(run)
    assert maze_plot.maze(run) == maze_plot.maze(run)


def test_run_without_evaluations_says_so(run_dir):
    for name in ("evaluations.csv", "metrics.csv", "maze.npz", "config.gin"):
        (run_dir / name).unlink()
    page = Page(report.write([run_dir]).read_text())
    assert "there is no result to report" in page.text
    assert "evaluations.csv: nothing in it yet" in page.text
    assert "metrics.csv: nothing in it yet" in page.text
    assert "config.gin is missing" in page.text
    assert page.pictures == []


@pytest.mark.parametrize("name", ["evaluations.csv", "metrics.csv"])
def test_every_way_a_kill_can_cut_a_file_gives_a_report(tmp_path, name):
    run_dir = write_run(
        tmp_path / "run", candidates=(1, 64), evaluations=1, episodes=2, maze=False
    )
    text = (run_dir / name).read_text()
    for size in (0, 3, len(text) - 45, len(text) - 20, len(text) - 1):
        (run_dir / name).write_text(text[:size])
        assert "line(s) skipped" in report.write([run_dir]).read_text() or (
            size == 0 or text[size - 1] == "\n"
        )


def test_one_seed_one_method_no_reference(tmp_path):
    run_dir = write_run(
        tmp_path / "run", seeds=(4,), candidates=(1,), reference=None, evaluations=1
    )
    page = Page(report.write([run_dir]).read_text())
    assert "- (needs 3 seeds)" in page.text
    assert "No reference scores are known" in page.text
    assert "thick tick is their mean." in page.text


def test_comparison_keeps_references_apart(tmp_path):
    first = write_run(tmp_path / "first", maze=False)
    other = {"minimum": -5.0, "maximum": 99.0, "source": "D4RL-v2 refs"}
    second = write_run(tmp_path / "second", maze=False, reference=other)
    third = write_run(tmp_path / "third", maze=False, candidates=(1,))
    (third / "evaluations.csv").unlink()
    output = tmp_path / "new" / "both.html"
    report.write([first, second, third], output)
    page = Page(output.read_text())
    assert "Scores by measured refs (ours)" in page.text
    assert "Scores by D4RL-v2 refs" in page.text
    assert "are not comparable" in page.text
    assert len(page.pictures) == 2 + 4 + 4 + 1


def test_bad_requests(tmp_path, run_dir):
    with pytest.raises(UserError, match="no run directory"):
        report.write([])
    with pytest.raises(UserError, match="--output"):
        report.write([run_dir, run_dir])
    with pytest.raises(UserError, match="not a run directory"):
        report.write([tmp_path])


def _encrypted(archive):
    """As what its directory says of the first file."""
    flags = archive.index(b"PK\x01\x02") + 8
    return archive[:flags] + bytes([archive[flags] | 1]) + archive[flags + 1 :]


@pytest.mark.parametrize(
    "damage", [lambda x: b"", lambda x: x[:3], lambda x: x[:4_000], _encrypted]
)
def test_a_damaged_maze_file_costs_one_picture(run_dir, damage):
    content = (run_dir / "maze.npz").read_bytes()
    (run_dir / "maze.npz").write_bytes(damage(content))
    page = Page(report.write([run_dir]).read_text())
    assert "maze.npz cannot be read" in page.text
    assert len(page.pictures) == 4


def test_a_diverged_seed_does_not_stop_the_report(run_dir):
    path = run_dir / "evaluations.csv"
    cells = [line.split(",") for line in path.read_text().splitlines()]
    for row in cells[1:]:
        if row[2] == "1":
            row[6] = row[8] = "nan"
    path.write_text("\n".join(",".join(row) for row in cells) + "\n")
    assert "(needs 3 seeds)" in Page(report.write([run_dir]).read_text()).text


def test_a_failed_write_leaves_the_old_page(run_dir):
    report.write([run_dir]).write_text("old")
    (run_dir / "spec.json").write_text("[]")
    with pytest.raises(UserError):
        report.write([run_dir])
    assert (run_dir / "report.html").read_text() == "old"
    assert not list(run_dir.glob(".*.part"))


def test_public_name_hides_folders():
    assert facts.public_name("d4rl:/home/me/data/x.hdf5") == "d4rl:x.hdf5"
    assert facts.public_name(r"npz:C:\data\x.npz") == "npz:x.npz"
    assert facts.public_name("minari:D4RL/door/human-v2") == "minari:D4RL/door/human-v2"


def test_rebin_keeps_the_mass():
    shares = plots.rebin([0, 1, 3], [2, 6], np.array([-1.0, 0.5, 2.0, 5.0]))
    np.testing.assert_allclose(shares, [1 / 8, 4 / 8, 3 / 8])


def test_maze_cells_follow_the_robotics_convention(run_dir):
    # Centre of cell (i, j): x = (j + 0.5 - W / 2) s, y = (H / 2 - i - 0.5) s.
    x, y = maze_plot.cell_edges({"maze_map": np.zeros((3, 5)), "cell_size": 2.0})
    np.testing.assert_allclose((x[:-1] + x[1:]) / 2, [-4, -2, 0, 2, 4])
    np.testing.assert_allclose((y[:-1] + y[1:]) / 2, [2, 0, -2])


def test_launch_script(run_dir, tmp_path):
    script = [sys.executable, str(REPOSITORY / "launch" / "report.py")]
    environment = os.environ | {"PYTHONPATH": ""}
    options = {
        "capture_output": True,
        "text": True,
        "env": environment,
        "cwd": tmp_path,
    }
    done = subprocess.run([*script, "--run_dir", str(run_dir)], **options)
    assert (done.returncode, done.stderr) == (0, "")
    assert (run_dir / "report.html").is_file()
    bad = tiny_run.run_warm(tiny_run.script("report.py", "--run_dir=nowhere"))
    tiny_run.check_refused(bad, "'nowhere' is not a run directory")
    bad = tiny_run.script("report.py", f"--run_dir={run_dir}", params=["Foo.bar=1"])
    tiny_run.check_refused(tiny_run.run_warm(bad), "--gin_param Foo.bar=1: ", "Foo")


def test_room_needs_no_tensorflow():
    code = "import sys, idql_tf.evaluation.report; print('tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.stdout.strip() == "False"


def test_an_empty_specification_still_gives_a_page(run_dir):
    (run_dir / "spec.json").write_text("{}")
    assert len(Page(report.write([run_dir]).read_text()).pictures) == 5


@pytest.mark.parametrize("name", ["evaluations.csv", "metrics.csv"])
@pytest.mark.parametrize("content", [bytes(range(256)) * 3, b"a,b,c\n1,2,3\n"])
def test_tables_that_are_none(run_dir, name, content):
    (run_dir / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        report.write([run_dir])


def test_lines_that_cannot_be_are_skipped(run_dir):
    with (run_dir / "evaluations.csv").open("a") as file:
        file.write("offline,50000,0,argmax,64,99999999999999999999999,1,2,3,1\n")
        file.write("offline,50000,0,argmax,64,0,1e308,2,1e308,1\n")
        file.write("offline,50000,0,$\\frac,64,0,1,2,1,1\n")
        file.write('offline,50000,"0,argmax,64,0,1,2,1,1\n\x00\n')
    with (run_dir / "metrics.csv").open("a") as file:
        file.write("offline,99999999999999999999,0,critic/q_loss,1\n")
        file.write("offline,300,0,critic/q_loss,inf\n")
    text = Page(report.write([run_dir]).read_text()).text
    assert "evaluations.csv: 5 incomplete line(s)" in text
    assert "metrics.csv: 1 incomplete line(s)" in text


def test_no_finite_return_at_all(run_dir):
    path = run_dir / "evaluations.csv"
    cells = [line.split(",") for line in path.read_text().splitlines()]
    for row in cells[1:]:
        row[6] = row[8] = "nan"
    path.write_text("\n".join(",".join(row) for row in cells) + "\n")
    text = Page(report.write([run_dir]).read_text()).text
    assert "a return of -" in text and "without a finite return" in text


def test_a_binary_configuration_costs_only_itself(run_dir):
    (run_dir / "config.gin").write_bytes(bytes(range(256)))
    page = Page(report.write([run_dir]).read_text())
    assert "config.gin cannot be read as text" in page.text
    assert len(page.pictures) == 5


def test_empty_arrays_of_a_maze_cost_one_picture(run_dir):
    with np.load(run_dir / "maze.npz") as file:
        arrays = {
            name: array[:0] if array.ndim else array for name, array in file.items()
        }
    np.savez(run_dir / "maze.npz", **arrays)
    page = Page(report.write([run_dir]).read_text())
    assert "maze.npz holds arrays that do not fit" in page.text
    assert len(page.pictures) == 4


@pytest.mark.parametrize("output", [".", "taken", "file/page.html"])
def test_pages_that_cannot_be_written(run_dir, tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"written to '{output}'.*--output"):
        report.write([run_dir], output)
    assert not list(tmp_path.rglob("*.partial"))


def test_names_of_runs_are_no_formulas(tmp_path):
    first = write_run(tmp_path / r"a$\b$", maze=False, evaluations=1, episodes=2)
    second = write_run(tmp_path / "b$c", maze=False, evaluations=1, episodes=2)
    report.write([first, second], tmp_path / "both.html")
