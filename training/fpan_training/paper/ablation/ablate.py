"""`fpan-train ablate`: the paper's tables I to III on our data, from trainings to the page, in one command."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fpan_training.data.check import check, check_labelled
from fpan_training.data.folder import DataError, name_of
from fpan_training.files import write_whole
from fpan_training.modules.segm.weights import WeightConfig
from fpan_training.modules.training import Preset
from fpan_training.paper.ablation.inputs import Inputs
from fpan_training.paper.ablation.plan import BUDGETS, ROWS, Budget, jobs
from fpan_training.paper.ablation.records import Results, records
from fpan_training.paper.ablation.report import Setting, write_report
from fpan_training.paper.ablation.runs import measure_run, test_sets, train

_PLAN = "plan.json"


@dataclass(frozen=True)
class Ablation:
    """Trains SEGM, +PPM, +LOM, +DOM, +UVM and other kinds of network, all on the same budget, and writes the tables.

    Stop it whenever you like: run again, it goes on in the middle of the run where it was. More seeds can be asked for
    later; another budget or other data need another folder of runs.
    """

    inputs: Inputs
    """Folders that the other commands made."""
    runs: Path
    """Folder for the runs: checkpoints, logs and counts."""
    out: Path = Path("docs/results/ablation.md")
    """Page to write; CSV and picture go beside it."""
    preset: Preset = "cpu"
    """Budget: ``smoke`` takes seconds, ``cpu`` about two hours on two cores, ``paper`` GPUs."""
    rows: tuple[str, ...] = tuple(row.name for row in ROWS)
    """Rows of table I. The first of them is what the others are compared with."""
    peers: tuple[str, ...] = ("bisenet", "unet", "rtformer_slim")
    """Other kinds of network, for tables II and III."""
    seeds: int = 3
    """Trainings of the first and of the last row."""
    seeds_between: int = 1
    """Of each row between."""
    seeds_of_peers: int = 1
    """Of each other kind of network."""
    lambdas: WeightConfig = field(default_factory=lambda: WeightConfig(lambda_o=1.0, lambda_p=1.0))
    """Eq. 2 in the rows that have it."""
    shares: tuple[float, float] = (0.25, 0.25)
    """What part of an epoch's pictures the routed and the posed set make up, in the rows that have them."""

    def __call__(self) -> Path:
        """Trains and measures what is not yet, and returns the page's path.

        Raises:
            DataError: inputs are missing, or the folder of runs belongs to other settings.
        """
        rows = tuple(row for row in ROWS if row.name in self.rows)
        if len(rows) != len(self.rows):
            raise ValueError(f"rows are among {', '.join(row.name for row in ROWS)}, not {', '.join(self.rows)}")
        budget = BUDGETS[self.preset]
        if unknown := sorted(set(self.peers) - set(budget.networks)):
            raise ValueError(f"no network is called {', '.join(unknown)}; there are: {', '.join(budget.networks)}")
        self.inputs.check(rows)
        check_labelled(*{folder for row in rows for folder in self.inputs.training_sets(row)[:1]}, self.inputs.clean)
        check(*{folder for row in rows for folder in self.inputs.training_sets(row)[1:]})
        self._keep_plan(budget)
        sets = test_sets(self.inputs)
        todo = jobs(rows, self.peers, self.seeds, self.seeds_between, self.seeds_of_peers)
        measured, costs = {}, {}
        for number, job in enumerate(todo, 1):
            print(f"run {number} of {len(todo)}: {job.name}")
            train(job, self.inputs, budget, self.lambdas, self.shares, self.runs / job.name)
            measured[job], costs[job.architecture] = measure_run(self.runs / job.name, sets)
        results = Results(measured, costs)
        setting = Setting(
            f"fpan-train ablate --preset {self.preset} --seeds {self.seeds} --peers {' '.join(self.peers)} ...",
            budget,
            self.lambdas,
            self.shares,
            {test.name: len(test.folder) for test in sets},
        )
        return write_report(records(results, rows, self.peers), results, rows, setting, self.out)

    def _keep_plan(self, budget: Budget) -> None:
        """Refuses to mix runs of different settings in one folder."""
        inputs = {name: value and name_of(value) for name, value in asdict(self.inputs).items()}
        plan = {"inputs": inputs, "lambdas": self.lambdas, "shares": self.shares, "budget": budget}
        text = json.dumps(plan, default=asdict, indent=2) + "\n"
        file = self.runs / _PLAN
        if file.is_file() and file.read_text(encoding="utf-8") != text:
            raise DataError(f"{file} was written under other settings: take another --runs")
        self.runs.mkdir(parents=True, exist_ok=True)
        write_whole(file, text.encode())
