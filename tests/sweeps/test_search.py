import json
import os
import signal
import time
from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from devias.errors import ConfigError
from devias.sweeps.search import OUTPUT_FILE, Search, SearchError, SearchSettings, best_command
from devias.sweeps.space import Parameter, Space
from devias.sweeps.study import PrunerSettings
from devias.sweeps.trial import PRUNED_AFTER, TrialFile, open_trial
from devias.training.run_folder import claimed_folder
from helpers import write_text

SPACE = Space(
    "toy",
    ("experiment=toy",),
    ("trainer.max_epochs=3",),
    (Parameter("x", "float", low=0.0, high=1.0), Parameter("kind", "choice", choices=("a", "b"))),
)
EPOCHS = 3


def settings(folder, **changes):
    return SearchSettings(
        **{"name": "toy", "folder": folder, "space": SPACE, "trials": 6} | changes
    )


def train(words, folder):
    """As a run: its metric grows to x, and it goes on where it stood."""
    file = TrialFile.load(folder)
    trial = open_trial(file)
    known = trial.study.get_trials()[file.number].intermediate_values
    for epoch in range(len(known) + 1, EPOCHS + 1):
        trial.report(file.parameters["x"] * epoch / EPOCHS, epoch)
        with (folder / "epochs").open("a") as epochs:
            epochs.write(f"{epoch}\n")
        if trial.should_prune():
            trial.set_user_attr(PRUNED_AFTER, epoch)
            return 0
    return 0


def states(search):
    return [trial.state for trial in search.results().trials]


def files(folder):
    return {path.parent.name: TrialFile.load(path.parent) for path in folder.glob("*/trial.json")}


def in_child(action):
    """Do something in a process of its own → its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        action()
    except SystemExit as end:
        os._exit(end.code)
    except BaseException:
        os._exit(1)
    os._exit(0)


def exit_code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture(params=["journal", pytest.param("sqlite", marks=pytest.mark.slow)])
def storage(request, tmp_path):
    return None if request.param == "journal" else f"sqlite:///{tmp_path}/study.db"


def test_the_best_trial_is_that_of_the_highest_value(tmp_path, capsys):
    search = Search(settings(tmp_path), train)
    search.run()
    results = search.results()
    assert states(search) == ["complete"] * 5 + [results.trials[5].state]
    assert results.best.value == max(trial.value for trial in results.trials)
    assert results.best.parameters["x"] == pytest.approx(results.best.value)
    for name, file in files(tmp_path).items():
        trial = results.trials[file.number]
        assert (name, file.state) == (f"trial-{trial.number}", trial.state)
        assert (file.value, file.parameters) == (trial.value, trial.parameters)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 6
    assert told[-1].endswith(
        f"(6 of 6; best {results.best.value:.4f} in trial {results.best.number})"
    )
    assert best_command(search.settings, results.best.parameters) == [
        *("devias", "train", "experiment=toy"),
        f"x={results.best.parameters['x']}",
        f"kind={results.best.parameters['kind']}",
    ]


def test_the_words_of_a_trial_read_no_test_set_and_lie_in_its_folder(tmp_path):
    words = []
    Search(
        settings(tmp_path, trials=1, overrides=("seed=5",)),
        lambda given, folder: words.extend(given) or train(given, folder),
    ).run()
    file = TrialFile.load(tmp_path / "trial-0")
    assert words[:3] == ["experiment=toy", "trainer.max_epochs=3", "seed=5"]
    assert words[3:5] == [f"x={file.parameters['x']}", f"kind={file.parameters['kind']}"]
    assert {"test=false", "ckpt_path=auto", f"paths.run_dir={tmp_path}/trial-0"} <= {*words}


def test_a_search_goes_on_to_more_trials_as_if_it_had_not_stopped(tmp_path):
    for trials in (2, 2, 6):
        parts = Search(settings(tmp_path / "parts", trials=trials), train)
        parts.run()
    whole = Search(settings(tmp_path / "whole"), train)
    whole.run()
    found = [[t.parameters for t in search.results().trials] for search in (parts, whole)]
    assert found[0] == found[1]
    assert len(found[0]) == 6
    assert len({json.dumps(values) for values in found[0]}) == 6
    other = Search(settings(tmp_path / "other", sampler_seed=1, trials=2), train)
    other.run()
    assert [t.parameters for t in other.results().trials] != found[0][:2]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_samplers_draw_within_the_space(tmp_path, sampler):
    search = Search(settings(tmp_path, sampler=sampler, startup_trials=2), train)
    search.run()
    trials = search.results().trials
    assert all(0 <= t.parameters["x"] <= 1 and t.parameters["kind"] in "ab" for t in trials)


def test_a_grid_is_gone_through_once(tmp_path):
    parameters = (
        Parameter("x", "float", low=0.0, high=1.0, step=0.5),
        Parameter("kind", "choice", choices=("a", "b")),
    )
    space = Space("grid", (), (), parameters)
    for trials in (4, 20):
        search = Search(settings(tmp_path, space=space, sampler="grid", trials=trials), train)
        search.run()
        assert len(search.results().trials) == min(trials, 6)
    found = [(t.parameters["x"], t.parameters["kind"]) for t in search.results().trials]
    assert found == [(x, kind) for x in (0.0, 0.5, 1.0) for kind in "ab"]


def test_trials_below_the_median_end_early_and_say_so(tmp_path):
    pruner = PrunerSettings("median", startup_trials=2, warmup_epochs=1, max_epochs=EPOCHS)
    search = Search(settings(tmp_path, pruner=pruner, sampler="random", trials=12), train)
    search.run()
    pruned = [trial for trial in search.results().trials if trial.state == "pruned"]
    assert pruned
    assert {trial.epochs for trial in pruned} == {2}
    assert search.results().best.value > max(trial.value for trial in pruned)
    for trial in pruned:
        file = TrialFile.load(tmp_path / f"trial-{trial.number}")
        assert (file.state, file.note) == ("pruned", "pruned after 2 epochs")
    never = Search(
        settings(tmp_path / "all", pruner=PrunerSettings("none"), sampler="random", trials=12),
        train,
    )
    never.run()
    assert states(never) == ["complete"] * 12


def test_hyperband_gives_up_as_well(tmp_path):
    pruner = PrunerSettings("hyperband", warmup_epochs=1, max_epochs=EPOCHS)
    search = Search(settings(tmp_path, pruner=pruner, sampler="random", trials=12), train)
    search.run()
    assert {"complete", "pruned"} == set(states(search))


def test_a_trial_that_fails_is_told_and_the_others_go_on(tmp_path, capsys):
    def fails_at_one(words, folder):
        if folder.name == "trial-1":
            write_text(folder / OUTPUT_FILE, "Traceback\nERROR loss term action became NaN\n\n")
            return 1
        return train(words, folder)

    search = Search(settings(tmp_path, trials=3), fails_at_one)
    search.run()
    assert states(search) == ["complete", "failed", "complete"]
    assert search.results().trials[1].note == "ERROR loss term action became NaN"
    assert TrialFile.load(tmp_path / "trial-1").state == "failed"
    assert "trial 1: ERROR loss term action became NaN (2 of 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("start", "note"),
    [
        (lambda words, folder: -signal.SIGKILL, "it ended with SIGKILL"),
        (lambda words, folder: 3, "it ended with code 3"),
        (lambda words, folder: 0, "it has no value of val/harmonic_mean"),
    ],
)
def test_where_all_fail_the_search_ends(tmp_path, start, note):
    search = Search(settings(tmp_path), start)
    with pytest.raises(SearchError, match=f"all of the first 3 trials failed; .*{note}"):
        search.run()
    assert states(search) == ["failed"] * 3


def test_a_run_that_is_stopped_from_outside_ends_the_search_which_goes_on_with_it(tmp_path):
    search = Search(settings(tmp_path, trials=2), lambda words, folder: 128 + signal.SIGTERM)
    with pytest.raises(SearchError, match="trial 0 was stopped; the same command goes on with it"):
        search.run()
    assert states(search) == ["running"]
    again = Search(settings(tmp_path, trials=2), train)
    again.run()
    assert states(again) == ["complete", "complete"]


def dies_at(number, times=1):
    """A run whose worker is killed after its second epoch, the first so many times."""

    def start(words, folder):
        starts = len((folder / "epochs").read_text().split()) if (folder / "epochs").exists() else 0
        if folder.name == f"trial-{number}" and starts < 2 * times:
            with (folder / "epochs").open("a") as epochs:
                epochs.write("1\n2\n")
            trial = open_trial(TrialFile.load(folder))
            trial.report(0.25, 1)
            os.kill(os.getpid(), signal.SIGKILL)
        return train(words, folder)

    return start


def test_a_killed_worker_s_trial_goes_on_where_it_stood(tmp_path):
    own = settings(tmp_path, trials=3)
    killed = in_child(lambda: Search(own, dies_at(1)).run())
    assert exit_code(killed) == -signal.SIGKILL
    search = Search(own, train)
    assert states(search) == ["complete", "running"]
    search.run()
    assert states(search) == ["complete"] * 3
    values = search.study.trials[1].intermediate_values
    assert [*values] == [1, 2, 3]
    assert values[1] == 0.25  # from before
    assert search.study.trials[1].user_attrs["starts"] == 2


def test_a_trial_whose_workers_always_die_has_failed(tmp_path):
    own = settings(tmp_path, trials=2, restarts=1)
    for _ in range(2):
        killed = in_child(lambda: Search(own, dies_at(0, times=9)).run())
        assert exit_code(killed) == -signal.SIGKILL
    search = Search(own, dies_at(0, times=9))
    search.run()
    assert states(search) == ["failed", "complete"]
    assert search.results().trials[0].note == "its worker died 2 times"


def test_a_run_that_outlives_its_worker_is_waited_for(tmp_path):
    own = settings(tmp_path, trials=1)

    def leaves_a_run(words, folder):
        def held():
            with claimed_folder(OmegaConf.create({"paths": {"run_dir": str(folder)}})):
                (folder / "held").touch()
                time.sleep(1)
                (folder / "held").unlink()

        in_child(held)
        while not (folder / "held").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)

    assert exit_code(in_child(lambda: Search(own, leaves_a_run).run())) == -signal.SIGKILL

    def alone(words, folder):
        assert not (folder / "held").exists()
        return train(words, folder)

    search = Search(own, alone)
    search.run()
    assert states(search) == ["complete"]


def test_what_was_pruned_when_its_worker_died_is_only_told(tmp_path):
    def prunes_and_dies(words, folder):
        trial = open_trial(TrialFile.load(folder))
        trial.report(0.5, 1)
        trial.set_user_attr(PRUNED_AFTER, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    own = settings(tmp_path, trials=1)
    assert exit_code(in_child(lambda: Search(own, prunes_and_dies).run())) == -signal.SIGKILL
    search = Search(own, None)
    search.run()
    assert states(search) == ["pruned"]


def test_several_workers_share_the_trials(tmp_path, storage):
    own = settings(tmp_path, storage=storage, trials=8)

    def slowly(words, folder):
        write_text(folder / f"worker-{os.getpid()}")
        time.sleep(0.2)
        return train(words, folder)

    workers = [in_child(lambda: Search(own, slowly).run()) for _ in range(3)]
    assert [exit_code(worker) for worker in workers] == [0, 0, 0]
    assert states(Search(own)) == ["complete"] * 5 + states(Search(own))[5:]
    done = [path.name for path in tmp_path.glob("trial-*/worker-*")]
    assert len(done) == 8  # none twice
    assert len(set(done)) >= 2
    assert len({str(f.parameters) for f in files(tmp_path).values()}) == 8


def test_other_settings_are_another_search(tmp_path):
    Search(settings(tmp_path, trials=1, method="a"), train).run()
    elsewhere = settings(tmp_path, method="a", overrides=("data.root=/elsewhere",))
    assert states(Search(elsewhere)) == ["complete"]
    begun = r"begun with another {} \(devias train experiment=toy trainer.max_epochs=3\): choose"
    for changes, named in (
        ({"metric": "val/x"}, "metric"),
        ({"method": "b", "direction": "minimize"}, "method and direction"),
        ({"space": replace(SPACE, parameters=SPACE.parameters[:1])}, "parameters"),
    ):
        with pytest.raises(ConfigError, match=begun.format(named)):
            Search(settings(tmp_path, **{"method": "a"} | changes))


def test_a_worker_that_is_told_to_end_lets_its_run_save(tmp_path, monkeypatch):
    run = write_text(
        tmp_path / "run",
        "#!/bin/sh\ntrap 'touch saved; exit 143' TERM\ntouch begun\nwhile :; do sleep 0.05; done\n",
    )
    run.chmod(0o755)
    monkeypatch.setattr("devias.sweeps.search.sys.executable", str(run))
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    worker = in_child(lambda: Search(settings(tmp_path / "search")).run())
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    os.kill(worker, signal.SIGTERM)
    assert exit_code(worker) == 128 + signal.SIGTERM
    assert (tmp_path / "saved").exists()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_storage_that_cannot_be_opened_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"storage=sqlite:////none/x\.db cannot be opened"):
        Search(settings(tmp_path, storage="sqlite:////none/x.db"))
