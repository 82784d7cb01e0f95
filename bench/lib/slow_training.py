#!/usr/bin/env python3
"""The tables and plots of bench/slow-training.sh: slow_training.py RUNS.jsonl FOLDER WINDOW

A loss is the mean of WINDOW steps."""
import json, pathlib, subprocess, sys
from statistics import median

runs_file, folder = sys.argv[1:3]
WINDOW = int(sys.argv[3])
cells = {}
for line in open(runs_file):
    run = json.loads(line)
    cells.setdefault((run["model"], run["ranks"], run["rate"]), {}).setdefault(run["who"], []).append(run)
mean = lambda values: sum(values) / len(values)


def curve(run):
    """Seconds and the mean loss of the last steps, after each step."""
    seconds, points = 0, []
    for at, (loss, millis) in enumerate(zip(run["losses"], run["step_ms"]), 1):
        seconds += millis / 1e3
        if at >= WINDOW:
            points.append([round(seconds, 3), mean(run["losses"][at - WINDOW:at])])
    return points


def seconds_to(run, target):
    return next((seconds for seconds, loss in curve(run) if loss <= target), float("inf"))


print("| model | ranks | link | who | ms a step | loss after DDP's steps | seconds to DDP's loss | DDP's seconds / these |")
print("|---|---|---|---|---|---|---|---|")
for (model, ranks, rate), cell in cells.items():
    steps = len(cell["DDP"][0]["losses"])
    target = median([mean(run["losses"][-WINDOW:]) for run in cell["DDP"]])
    plain = median([seconds_to(run, target) for run in cell["DDP"]])
    for who, runs in cell.items():
        time = median([seconds_to(run, target) for run in runs])
        reached = f"{time:.1f} | {plain / time:.2f}" if time < float("inf") else "not reached | –"
        print(f"| {model} | {ranks} | {rate} | {who} | {median([median(run['step_ms']) for run in runs]):.0f} | "
              f"{median([mean(run['losses'][steps - WINDOW:steps]) for run in runs]):.3f} | {reached} |")
    plot = pathlib.Path(folder) / f"slow-training-{model}-{ranks}-{rate}.svg"
    title = f"Model {model}, {ranks} hosts, {rate} links"
    command = [sys.executable, str(pathlib.Path(__file__).parent / "plot.py"), str(plot), title, "seconds", f"training loss, mean of {WINDOW} steps"]
    subprocess.run(command, input=json.dumps({who: curve(runs[0]) for who, runs in cell.items()}), text=True, check=True)
