"""Every command with arguments that are right, or all but its file, and the function that does its work."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SMALL = ["yinyang", "--samples", "2", "--dt", "1ms", "--format", "float64", "--setup", "5-120-3"]
CORE = ["yinyang", "--target", "spinnaker2", "--set", "time_step=1ms"]
CHIP = ["chip", "--sizes", "5,10,3", "--samples", "2"]

COMMANDS = {
    "yinyang": ("validation.spinnaker2.yinyang.campaign", SMALL),
    "attribute": ("validation.attribution.changes.changed", ["attribute", *CORE, "--samples", "2"]),
    "converge": (
        "validation.attribution.convergence.converge",
        ["converge", *CORE, "--samples", "2", "--dt", "1ms"],
    ),
    "recommend": (
        "validation.attribution.recommendation.candidates",
        ["recommend", "0.9", *CORE, "--samples", "2"],
    ),
    "compare": (
        "validation.runs.compared",
        ["compare", "random", "--samples", "2", "--target", "timestepped", "--set", "time_step=1ms"],
    ),
    "targets": ("validation.registry.kind", ["targets"]),
    "tasks": ("validation.registry.kind", ["tasks"]),
    "template": ("validation.example.example", ["template"]),
    "localise": (
        "eventsolve.io.records.read",
        ["localise", str(ROOT / "setup.cfg"), "--target", "spinnaker2"],
    ),
    "check": ("eventsolve.io.records.read", ["check", str(ROOT / "setup.cfg")]),
    "diagnose": ("eventsolve.io.records.read", ["diagnose", str(ROOT / "setup.cfg")]),
    "chip": ("validation.spinnaker2.cli.chip._built", CHIP),
    "export": ("validation.loihi2.target.export", ["export", "digits"]),
    "loihi2": ("validation.loihi2.recommendation.over_steps", ["loihi2", "digits", "--samples", "2"]),
    "train task": (
        "validation.training.trained",
        ["train", "task", "random", "--set", "layers=1", "--samples", "2", "--out", "network.json"],
    ),
    "train yinyang": ("validation.tasks.yin_yang.campaign.start", ["train", "yinyang"]),
    "train recipes": ("rich.table.Table.add_row", ["train", "recipes"]),
    "train search": ("validation.tasks.yin_yang.search.search", ["train", "search"]),
    "calibrate": (
        "eventsolve.io.records.read",
        ["calibrate", str(ROOT / "setup.cfg"), "--free", "tau_mem"],
    ),
    "sbp record": ("validation.sbp.record.recorded", ["sbp", "record", "--out", "record.json"]),
    "sbp train": ("validation.sbp.training.trained", ["sbp", "train", "--epochs", "1"]),
}
