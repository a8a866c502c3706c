"""The study's command, in a form of a second: resumes, reports, refuses."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from bench import largebatch
from bench.study import net, plan, record, report, share, task, train
from bench.study.arms import Rates
from collectives import InvalidArgument

TINY = task.Size("tiny", 512, 100, 3, (64, 512), (1, 2), 512)
META = {
    "command": "python -m bench.largebatch",
    "layout": "1 rank",
    "hardware": {"cpu": "a cpu"},
    "versions": {"python": "3", "numpy": "2"},
    "date": "2020-01-02",
}
EMPTY = asdict(record.Record(META, TINY.describe()))


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Make the reduced form tiny; return the path of its file, and the runs made."""
    made = []

    def counted(run, data):
        made.append(run)
        return train.train(run, data)

    monkeypatch.setattr(share, "world", share.Alone)
    monkeypatch.setattr(share, "train", counted)
    monkeypatch.setattr(task, "REDUCED", TINY)
    return str(tmp_path / "study.json"), made


def test_a_study_runs_to_its_report_and_a_restart_runs_nothing(tiny, capsys, tmp_path):
    path, made = tiny
    page = tmp_path / "page.rst"
    assert largebatch.main(["--json", path]) == 0
    shown = capsys.readouterr().out
    assert len(made) == 10 + 2 + 11 * 2
    assert "Not finished" not in shown
    assert "This is the tiny form" in shown
    assert largebatch.main(["--json", path, "--rst", str(page)]) == 0
    assert len(made) == 34
    assert page.read_text("utf-8") in capsys.readouterr().out
    assert page.read_text("utf-8") in shown


def test_a_stopped_study_goes_on_where_it_was(tiny, capsys):
    path, made = tiny
    assert largebatch.main(["--json", path]) == 0
    whole = record.read(path)
    kept = whole.rows[:-5] + whole.rows[-4:]
    record.write(path, replace(whole, rows=kept))
    assert largebatch.main(["--report", path]) == 0
    assert "1 runs are left" in capsys.readouterr().out
    made.clear()
    assert largebatch.main(["--json", path]) == 0
    assert [plan.key(run) for run in made] == [plan.key(whole.rows[-5])]
    again = {plan.key(row): row.errors for row in record.read(path).rows}
    assert again == {plan.key(row): row.errors for row in whole.rows}


def test_another_task_is_not_gone_on_with(tiny, capsys):
    path, made = tiny
    record.write(path, record.Record(META, TINY.describe(), record.TASK | {"noise": 9}))
    assert largebatch.main(["--json", path]) == 2
    assert "name another file" in capsys.readouterr().err
    record.write(path, record.Record(META, task.FULL.describe()))
    assert largebatch.main(["--json", path]) == 2
    assert not made


def test_a_run_follows_from_its_random_seed():
    data, rates = task.data(TINY), Rates(0.05, 30.0)
    one, two, other = (
        train.train(train.Run("M5", 64, seed, rates, 3), data) for seed in (1, 1, 2)
    )
    assert one.errors == two.errors
    assert one.loss == two.loss != other.loss
    assert one.updates == 24


def test_a_run_that_diverges_stops_and_counts_as_guessing():
    found = train.train(
        train.Run("M3", 64, 1, Rates(float("inf"), 0.0), 3), task.data(TINY)
    )
    assert found.diverged
    assert found.error == 95
    assert found.updates < 24
    assert found.loss is None


def test_the_loss_falls():
    run = train.Run("M5", 64, 1, Rates(0.05, 30.0), 3)
    learner, data = train.Learner(run), task.data(TINY)[0]
    losses = [learner.update(data, np.arange(64), 0.0) for _ in range(20)]
    assert losses[0] == pytest.approx(np.log(20), rel=0.05)
    assert losses[-1] < 0.5 * losses[0]


def test_microbatches_do_not_show(monkeypatch):
    run = train.Run("M5", 512, 1, Rates(0.05, 30.0), 3)
    data, weights = task.data(TINY)[0], []
    for size in (32, 96, 512):
        monkeypatch.setattr(train, "MICROBATCH", size)
        learner = train.Learner(run, dtype=np.float64)
        learner.update(data, np.arange(512), 0.5)
        weights.append(learner.weights)
    np.testing.assert_allclose(weights[0], weights[2], rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(weights[1], weights[2], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("ranks", [2, 3, 8, 11])
def test_parts_of_a_batch_add_up_to_the_whole(ranks):
    run = train.Run("M5", 256, 1, Rates(0.05, 30.0), 3)
    data, which = task.data(TINY)[0], np.arange(256)[::-1]
    alone = train.Learner(run, dtype=np.float64)
    loss = alone.update(data, which, 0.5)
    parts = [
        train.Learner(run, dtype=np.float64, part=(rank, ranks))
        for rank in range(ranks)
    ]
    losses = [learner.update(data, which, 0.5) for learner in parts]
    assert sum(losses) == pytest.approx(loss, rel=1e-12)
    gradients = [learner.gradient - learner.decay * begun(run) for learner in parts]
    whole = alone.gradient - alone.decay * begun(run)
    np.testing.assert_allclose(sum(gradients), whole, rtol=1e-9, atol=1e-12)
    assert np.abs(gradients[0] - whole).max() > 1e-3


def begun(run):
    return net.begin(run.seed, zero_gamma=True, dtype=np.float64)


def test_a_best_rate_at_the_edge_is_told():
    found = made_up(flat, task.FULL)
    text = " ".join(report.text(found).split())
    assert text.count("at the edge of what was tried") == 2
    found.tuning[2] = replace(found.tuning[2], error=9.0)
    text = " ".join(report.text(found).split())
    assert "so 0.05; LARS" in text
    assert text.count("at the edge of what was tried") == 1


def made_up(error, size=TINY):
    """A finished record whose errors are those of a function of (arm, batch, seed)."""
    tuning = [outcome(run, 50.0) for run in plan.tuning(size)]
    runs = plan.runs(size, plan.tuned(tuning))
    rows = [outcome(run, error(run.arm, run.batch, run.seed)) for run in runs]
    return record.Record(META, size.describe(), tuning=tuning, rows=rows)


def outcome(run, error):
    rate = plan.key(run)[3]
    return train.Outcome(
        run.arm, run.batch, run.seed, rate, error, [error], 0.5, False, 9, 1.0
    )


def flat(arm, batch, seed):
    return 10.0 + 0.1 * seed


def failing(arm, batch, seed):
    return flat(arm, batch, seed) + 20.0 * (arm in ("M1", "M2", "M3") and batch > 4000)


def test_the_report_says_first_that_nothing_failed():
    text = report.text(made_up(flat, task.FULL))
    assert text.splitlines()[3].startswith("**Not reproducible at this scale**")
    assert "No threshold was moved" in " ".join(text.split())
    assert "no evidence" not in text


def test_the_report_counts_what_held():
    text = " ".join(report.text(made_up(failing, task.FULL)).split())
    assert "**3 of 4 criteria held: i, ii, iii.**" in text
    assert "(iv) where M5 first fails, M7 or M8 recovers >= 50% of the gap: **" in text


def test_the_report_fits_a_page_and_its_lines():
    lines = report.text(made_up(failing, task.FULL)).splitlines()
    assert len(lines) < 66
    prose = [line for line in lines if not line.startswith(("M", "=", "arm"))]
    assert max(map(len, prose)) <= 88
    assert sum(line.startswith("M") for line in lines) == 12


def test_ties_of_tuning_go_to_the_smallest_rate():
    tuning = [outcome(run, 50.0) for run in plan.tuning(task.FULL)]
    assert plan.tuned(tuning) == Rates(0.0125, 7.5)
    best = replace(tuning[3], error=9.0)
    assert plan.tuned([*tuning, best]).sgd == best.rate


def test_a_file_is_read_as_it_was_written(tmp_path):
    path, whole = str(tmp_path / "study.json"), made_up(flat)
    record.write(path, whole)
    assert asdict(record.read(path)) == asdict(whole)
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.json"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "is not {meta"),
        (json.dumps(dict.fromkeys(record.PARTS, {})), "size has other fields"),
        (json.dumps(EMPTY | {"tuning": [1]}), "tuning has other fields"),
        (json.dumps(EMPTY | {"rows": {}}), "rows has other fields"),
    ],
)
def test_a_strange_file_is_refused_with_the_cure(tmp_path, content, said):
    path = tmp_path / "study.json"
    path.write_text(content, "utf-8")
    with pytest.raises(
        InvalidArgument, match=f"{said}.*python -m bench.largebatch --json"
    ):
        record.read(str(path))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--report", "a.json", "--full"], "leave --full out"),
        (["--report", "nowhere.json"], "cannot read 'nowhere.json'"),
        (["--json", "no/where/study.json"], "no writable directory"),
        (["--plot", "out.pdf"], "ends in .svg or .png"),
        (["--arms"], "unrecognized arguments"),
    ],
)
def test_what_cannot_be_obeyed_is_told_in_one_line(tiny, capsys, words, said):
    assert largebatch.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not tiny[1]
