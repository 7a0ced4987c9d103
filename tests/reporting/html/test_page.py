import re
import shutil
import subprocess
from pathlib import Path

import pytest

from devias.reporting.html.page import write_page
from devias.reporting.html.runs import reported_runs
from devias.reporting.predictions import load_predictions, save_predictions
from devias.reporting.results import RunResult
from devias.reporting.tables import results_tables
from evaluated import evaluated_run

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)


def result(model: str, seen: float, unseen: float, seed: int = 0) -> RunResult:
    metrics = {"seen/action_top1": seen, "unseen/action_top1": unseen}
    return RunResult(
        "synthetic",
        model,
        "synthetic",
        seed,
        "abc123",
        metrics,
        intervals={name: [value - 0.05, value + 0.05] for name, value in metrics.items()},
        seconds={"fit": 61.4},
        hardware={"cpu": "<none>"},
        command=f"devias train model={model}",
    )


@pytest.fixture
def page(tmp_path):
    """The page of three runs, one of them with curves and a figure."""
    names = {"devias": (0.6, 0.4), "<b>two</b>": (0.9, 0.05), "action_vit": (0.1, 0.1)}
    results = {}
    for name, numbers in names.items():
        folder = tmp_path / "runs" / re.sub(r"\W", "", name)
        folder.mkdir(parents=True)
        results[folder / "result.json"] = result(name, *numbers)
    own = tmp_path / "runs/devias"
    (own / "figures").mkdir()
    for name in ("clips_one", "answers_unseen"):
        (own / f"figures/{name}.png").write_bytes(PIXEL)
    for name, slots in (("devias", 2), ("action_vit", 1)):
        (tmp_path / "runs" / name / "config.yaml").write_text(f"model: {{slots: {slots}}}\n")
    module, data = evaluated_run(tmp_path / "videos", videos=4)
    save_predictions(own / "predictions.parquet", data, module.predictions)
    (own / "metrics/version_0").mkdir(parents=True)
    rows = "epoch,step,loss/total,val/harmonic_mean\n0,10,2.5,\n0,20,1.5,\n0,20,,0.25\n"
    (own / "metrics/version_0/metrics.csv").write_text(rows)
    path = tmp_path / "runs/report.html"
    tables = [("Results", table) for table in results_tables([*results.values()])]
    write_page(path, reported_runs(results, load_predictions), tables)
    return path


def test_it_holds_tables_curves_figures_and_the_environment(page):
    text = page.read_text()
    for part in ("60.0", "55.0–65.0", "abc123", "fit 61 s", "devias train model=devias"):
        assert part in text
    assert "H.M. on validation" in text
    assert 'alt="Loss"' in text
    assert "<h2>Actions, seen and unseen</h2>" in text
    assert "<h2>Answers by scene</h2>" in text
    assert 'alt="clips one"' in text
    assert 'alt="answers unseen"' not in text  # drawn above, of all runs
    assert text.count("<details ") == 3


def test_it_lists_settings_that_differ_and_the_surest_mistakes(page):
    text = page.read_text()
    assert text.count("<h2>Settings that differ</h2>") == 1
    assert re.search(r">model\.slots</td><td[^>]*>2</td>", text)
    assert text.count("<h2>The surest mistakes</h2>") == 1
    assert re.search(r'<td class="name">\d\.mp4</td>', text)


def test_names_are_text_and_nothing_is_fetched(page):
    text = page.read_text()
    assert "<b>two</b>" not in text
    assert "&lt;b&gt;two&lt;/b&gt;" in text
    assert "&lt;none&gt;" in text
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert "default-src 'none'" in text


def browser() -> str:
    found = [path for name in ("chromium", "chromium-browser", "google-chrome")
             if (path := shutil.which(name))]  # fmt: skip
    if not found:
        pytest.skip("there is no Chromium")
    return found[0]


def rendered(page: Path, script: str) -> tuple[str, str]:
    """The page's content after a script in a headless browser, and the browser's messages."""
    changed = page.with_name("changed.html")
    extra = f"<script>{script}</script></body>"
    changed.write_text(page.read_text().replace("</body>", extra))
    run = subprocess.run(
        [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={page.parent / 'browser'}", "--dump-dom", changed.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return run.stdout, run.stderr


def test_a_browser_shows_it_without_errors_and_sorts_by_number(page):
    click = "document.querySelectorAll('th button')[1].click()"
    for clicks, order in ((1, ["90.0", "60.0", "10.0"]), (2, ["10.0", "60.0", "90.0"])):
        content, messages = rendered(page, ";".join([click] * clicks))
        assert re.findall(r"<span(?: class=\"best\")?>(\d+\.\d)</span>", content)[::2] == order
        assert f'aria-sort="{["", "descending", "ascending"][clicks]}"' in content
        assert "CONSOLE" not in messages


def filtered(page: Path, words: str) -> tuple[str, str]:
    typed = f"typed.value = {words!r}; typed.dispatchEvent(new Event('input'))"
    content, messages = rendered(page, f"var typed = document.querySelector('input'); {typed}")
    assert "CONSOLE" not in messages
    return content, re.search(r'role="status"[^>]*>([^<]*)<', content)[1]


def test_rows_and_runs_are_found_by_their_words(page):
    content, status = filtered(page, "DEVIAS seed")
    assert status == "1 of 3 runs"
    hidden = re.findall(r"<details[^>]*hidden", content)
    assert len(hidden) == 2
    content, status = filtered(page, "action_vit")
    shown = re.findall(r'<tr>\s*<td class="name">([^<]+)</td>', content)
    assert "action_vit" in shown
    assert "devias" not in shown
    assert re.search(r'<section[^>]*data-run="devias, seed 0"[^>]*hidden', content)
    content, status = filtered(page, "")
    assert status == ""
    assert "hidden=" not in content
