"""What every phase of a run reads."""

from dataclasses import dataclass
from pathlib import Path

import jax
from jax.sharding import Mesh

from xdistil.config import Experiment
from xdistil.data.subwords import PREDICTION_SUBWORDS
from xdistil.evaluation import metrics
from xdistil.evaluation.results import ScoreName
from xdistil.experiment.build import Prepared
from xdistil.runtime.preemption import PreemptionGuard
from xdistil.runtime.run_log import RunLog


@dataclass(frozen=True)
class Setting:
    """An experiment with all that was made ready for it."""

    experiment: Experiment
    workdir: Path
    prepared: Prepared
    run_log: RunLog
    mesh: Mesh
    stop: PreemptionGuard

    @property
    def writes(self) -> bool:
        """Whether this process writes the files of the workdir: the first one does."""
        return jax.process_index() == 0

    @property
    def prediction_rows(self) -> int:
        """Rows in a batch of predictions, a multiple of the devices."""
        rows = PREDICTION_SUBWORDS // self.experiment.data.row_length // self.mesh.size
        return max(1, rows) * self.mesh.size

    @property
    def main_score(self) -> ScoreName:
        """The score that chooses: macro_f1 of tagging, accuracy of classification."""
        return metrics.MAIN_SCORE[self.prepared.corpus.task.kind]
