"""How many times fewer parameters and bytes than mBERT has the paper's kind of student in int8?

    python benchmarks/sizes.py --vocabulary=86000 --embedding=50 --hidden=200

A BiLSTM with random weights, its projection as wide as mBERT, written as ONNX with every weight
that can be in int8. The gate of scores, which may leave parts in float32, is not asked: random
weights have no scores. mBERT's bytes are those of its parameters in float32, 4 each.
"""

import argparse
import tempfile
from pathlib import Path

import jax
import numpy as np
from measure import add_output, print_table, write_result
from xdistil.deploy.graphs.model import build_graph

from xdistil.data.examples import Task
from xdistil.deploy.quantize import choose_int8, list_weights, write_candidate
from xdistil.models.families.bert import Encoder, EncoderConfig
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.types import count_parameters

TASK = Task("tagging", ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER"))
MBERT = EncoderConfig(vocabulary_size=119_547)  # whose other sizes are the defaults, BERT-base's


def main() -> None:
    """Counts parameters, writes the file and weighs it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--vocabulary", type=int, default=86_000)
    parser.add_argument("--embedding", type=int, default=50)
    parser.add_argument("--hidden", type=int, default=200)
    add_output(parser)
    flags = parser.parse_args()
    teacher = Encoder(MBERT, TASK.kind, len(TASK.labels))
    shapes = jax.eval_shape(teacher.init_params, jax.random.key(0))
    large = count_parameters(shapes)["total"]
    config = BiLSTMConfig(flags.vocabulary, flags.embedding, flags.hidden, MBERT.hidden_size)
    student = BiLSTM(config, len(TASK.labels))
    params = jax.tree.map(np.asarray, student.init_params(jax.random.key(0)))
    small = count_parameters(params)["total"]
    candidate = choose_int8("int8", list_weights(build_graph(student, params, TASK)))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model.onnx"
        write_candidate(build_graph(student, params, TASK, candidate.storage), candidate, place)
        size = place.stat().st_size
    result = {
        "mbert_parameters": large,
        "student_parameters": small,
        "fewer_parameters": large / small,
        "int8_bytes": size,
        "fewer_bytes": 4 * large / size,
    }
    write_result(flags.output, flags, result)
    rows = [
        ("mBERT, float32", f"{large:,}", f"{4 * large:,}"),
        ("student, int8", f"{small:,}", f"{size:,}"),
        ("times fewer", f"{large / small:.1f}", f"{4 * large / size:.1f}"),
    ]
    print_table(("", "parameters", "bytes"), rows)


if __name__ == "__main__":
    main()
