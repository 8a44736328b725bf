"""Metadata of the package; the tools are configured in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="xdistil",
    version="0.1.0",
    description="Staged distillation of large multilingual encoders into tiny, fast students",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    entry_points={"console_scripts": ["xdistil=xdistil.cli.main:run"]},
    packages=find_packages(include=["xdistil", "xdistil.*"]),
    package_data={"xdistil.evaluation.page": ["page.css", "page.html", "page.js"]},
    install_requires=[
        "absl-py>=2.1",
        "filelock>=3.12",
        "flax>=0.12,<0.13",
        "grain>=0.2.16,<0.3",
        "huggingface_hub>=2.4,<3",
        "jax>=0.10.2,<0.13",
        "matplotlib>=3.9,<4",
        "ml-collections>=1.1,<2",
        "numpy>=2.0",
        "optax>=0.2.6,<0.3",
        "orbax-checkpoint>=0.12,<0.13",
        "safetensors>=0.7,<1",
        "seqeval>=1.2.2,<2",
        "tensorboardX>=2.6,<3",
        "tokenizers>=0.23.3,<0.24",
        "tqdm>=4.66,<5",
        "transformers>=5.23,<6",
    ],
    extras_require={
        "cuda": ["jax[cuda13]>=0.10.2,<0.13"],
        "tpu": ["jax[tpu]>=0.10.2,<0.13"],
        "onnx": ["onnx>=1.17,<2", "onnxruntime>=1.20,<2"],
        "parquet": ["pyarrow>=17"],
        "sentencepiece": ["sentencepiece>=0.2", "protobuf>=5"],
        "wandb": ["wandb>=0.31"],
        "trackio": ["trackio>=0.43"],
        "test": [
            "hypothesis>=6.100",
            "onnx>=1.17,<2",
            "onnxruntime>=1.20,<2",
            "mypy>=1.15",
            "pytest>=8.3",
            "pytest-xdist>=3.7",
            "ruff>=0.12",
            "scipy>=1.11",
        ],
        "parity": ["torch==2.13.0", "sentencepiece>=0.2", "protobuf>=5"],
        "bench": ["torch==2.13.0"],
        "docs": ["furo>=2025.12", "myst-parser>=5,<6", "sphinx>=8.2,<10"],
    },
)
