"""What users type, with a mistake: one message, an exit code, and never a hang."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

pytestmark = pytest.mark.timeout(300)  # each launch has its own deadline

TRAIN = [sys.executable, "-m", "trainer.run"]
TINY = ["--model.width", "4", "--model.blocks", "[1,1]", "--images.size", "32"]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--recipe", "goyal2018"], ["goyal2018", "goyal2017, he2016"]),
        (["--data", "mnist"], ["mnist", "digits, imagefolder, synthetic"]),
        (["--epoch", "3"], ["--epoch 3", "perhaps you meant --epochs", "--help lists"]),
        (["--data", "imagefolder", "--data-dir", "missing"], ["missing/train"]),
        (["--batch.per_worker", "1000"], ["2000 images", "use --batch.per_worker 718"]),
        (["--virtual-workers", "0"], ["--virtual-workers", "got 0", "at least 1"]),
        (["--virtual-workers", "1438"], ["1438 images", "1437", "fewer workers"]),
        (["--virtual-workers", "9999", "--dry-run"], ["9999 images", "fewer workers"]),
        (
            ["--virtual-workers", "1024"],
            ["1,024 microbatches of 1 image", "--bn.group"],
        ),
        (["--model.blocks", "[]"], ["--model.blocks: got []", "at least 1"]),
        (["--images.crop", "none"], ["--images.crop: changes nothing", "images.size"]),
        (["--resume", "missing"], ["no checkpoint at missing"]),
        (["--start-from", "missing"], ["--start-from", "no checkpoint at missing"]),
        (["--precision", "int8"], ["int8", "float32, bfloat16, float16"]),
        (["--data-errors", "skip"], ["image files", "leave out --data-errors"]),
        (["--share-gpu"], ["--share-gpu", "add --device cuda"]),
        (["--device", "gpu"], ["gpu", "cpu, cuda"]),
    ],
)
def test_a_mistake_is_told_once_and_all_ranks_exit_with_2(
    launch, mpiexec, arguments, words
):
    code, output = launch([mpiexec, "-n", "2", *TRAIN, *arguments], **ONE_THREAD)
    assert code == 2, output
    lines = [line for line in output.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("trainer.run: "), output
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize("package", ["torch", "yaml"])
def test_a_missing_package_is_told_once(launch, mpiexec, tmp_path, package):
    absent = f"raise ModuleNotFoundError('not here', name={package!r})"
    (tmp_path / f"{package}.py").write_text(absent, "utf-8")
    code, output = launch([mpiexec, "-n", "2", *TRAIN], PYTHONPATH=str(tmp_path))
    assert code == 2, output
    cure = "pip install 'mpi-collectives[train]'"
    assert output == f"trainer.run: {package} is not installed; {cure}\n"


def no_gpu():
    return torch.version.cuda is None or not torch.cuda.is_available()


@pytest.mark.skipif(not no_gpu(), reason="here is a GPU")
@pytest.mark.parametrize("where", ["flag", "file"])
def test_a_gpu_that_is_not_there_is_a_mistake(launch, mpiexec, tmp_path, where):
    (tmp_path / "mine.yaml").write_text("device: cuda\n", "utf-8")
    flags = {
        "flag": ["--device", "cuda"],
        "file": ["--config", tmp_path / "mine.yaml", "--data", "imagefolder"],
    }
    directory = ["--data-dir", "missing"] if where == "file" else []
    command = [mpiexec, "-n", "2", *TRAIN, *flags[where], *directory]
    code, output = launch(command, **ONE_THREAD)
    assert code == 2, output
    assert output.count("\n") == output.count("trainer.run: ") == 1, output
    assert "GPU" in output or "built without CUDA" in output
    assert "missing" not in output  # no data was looked for


def test_a_missing_compiler_is_a_mistake(launch, mpiexec, tmp_path):
    nothing = {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    command = [mpiexec, "-n", "2", *TRAIN, "--compile"]
    code, output = launch(command, **ONE_THREAD, **nothing)
    assert code == 2, output
    assert output.count("\n") == output.count("trainer.run: --compile: no") == 1
    assert "install g++" in output, output


def test_ranks_that_do_not_fit_the_pretended_nodes_are_a_mistake(launch, mpiexec):
    nodes = {"COLLECTIVES_NODES": "3x2"}
    code, output = launch([mpiexec, "-n", "2", *TRAIN], **ONE_THREAD, **nodes)
    assert code == 2 and output.count("'3x2'") == 1, output


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_an_algorithm_that_these_nodes_cannot_run_is_a_mistake(
    launch, mpiexec, tmp_path, more
):
    flags = ["--algorithm", "shared", "--output", tmp_path / "out", *more]
    command = [mpiexec, "-n", "2", *TRAIN, *TINY, *flags]
    code, output = launch(command, **ONE_THREAD, COLLECTIVES_NODES="2x1")
    assert code == 2 and output.count("trainer.run: shared: ") == 1, output
    assert "choose split_rail" in output and not (tmp_path / "out").exists()


def make_folder(root, damaged):
    for part, count in {"train": 8, "val": 2}.items():
        (root / part / "thing").mkdir(parents=True)
        for i in range(count):
            pixels = np.full((40, 40, 3), 20 * i, np.uint8)
            Image.fromarray(pixels).save(root / part / "thing" / f"{i}.jpg")
    (root / damaged).write_bytes(b"no JPEG")


def train_on_damage(mpiexec, folder, *flags, damaged="train/thing/5.jpg"):
    make_folder(folder / "images", damaged)
    data = ["--data", "imagefolder", "--data-dir", folder / "images"]
    sizes = [*TINY, "--batch.per_worker", "1", "--output", folder / "out"]
    return [mpiexec, "-n", "2", *TRAIN, *data, *sizes, *flags]


def test_an_unreadable_image_is_told_before_the_run(launch, mpiexec, tmp_path):
    command = train_on_damage(mpiexec, tmp_path)
    code, output = launch(command, timeout_s=40, **ONE_THREAD)
    assert code == 2 and output.count("\n") == 1, output
    assert output.startswith("trainer.run: 1 of 10 images looked at cannot be read: ")
    assert "thing/5.jpg: no image" in output and not (tmp_path / "out").exists()


def test_unreadable_images_are_skipped_and_counted(launch, mpiexec, tmp_path):
    skip = ["--data-errors", "skip", "--epochs", "1", "--workers", "1"]
    command = train_on_damage(mpiexec, tmp_path, *skip)
    code, output = launch(command, timeout_s=60, **ONE_THREAD)
    assert code == 0, output
    told = f", 1 unreadable images skipped, such as {tmp_path}"
    assert output.count(told) == 1, output
    lines = (tmp_path / "out" / "metrics.jsonl").read_text("utf-8").splitlines()
    counts = [json.loads(line).get("unreadable") for line in lines]
    assert [count for count in counts if count is not None] == [1]


@pytest.mark.parametrize(
    ("damaged", "rank", "workers"),
    [
        ("train/thing/5.jpg", "rank 1", 0),
        ("train/thing/5.jpg", "rank 1", 1),
        ("val/thing/0.jpg", "rank 0", 1),
        ("val/thing/1.jpg", "rank 1", 0),
    ],
)
def test_an_unreadable_image_in_a_run_ends_all_ranks_with_one_line(
    launch, mpiexec, tmp_path, damaged, rank, workers
):
    late = ["--check-images", "0", "--epochs", "1", "--workers", workers]
    command = train_on_damage(mpiexec, tmp_path, *late, damaged=damaged)
    code, output = launch(command, timeout_s=60, **ONE_THREAD)
    assert code == 1 and "Traceback" not in output, output
    (line,) = [line for line in output.splitlines() if damaged in line]
    assert line.startswith(f"{rank} of 2: data imagefolder: "), output
    assert "no image of a known format; replace the file, or use --data-errors" in line
    told = (tmp_path / "out" / "metrics.jsonl").read_text("utf-8").splitlines()
    assert "eval" not in [json.loads(line)["event"] for line in told]


def test_an_exception_on_one_rank_ends_the_job_with_one_traceback(
    launch, mpiexec, tmp_path
):
    program = (
        "import sys\n"
        "from trainer import evaluate, run\n"
        "measure = evaluate.measure\n"
        "def fail(model, batches, comm, *rest, **more):\n"
        "    if comm.rank == 1: raise LookupError('the dog ate it')\n"
        "    return measure(model, batches, comm, *rest, **more)\n"
        "evaluate.measure = fail\n"
        "sys.exit(run.main())\n"
    )
    flags = [*TINY, "--max-steps", "1", "--output", tmp_path / "out"]
    command = [mpiexec, "-n", "2", sys.executable, "-c", program, *flags]
    code, output = launch(command, timeout_s=40, **ONE_THREAD)
    assert code == 1, output
    assert output.count("Traceback (most recent call last)") == 1, output
    assert "rank 1 of 2: Traceback" in output and "the dog ate it" in output
