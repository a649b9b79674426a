# make test, make demo, make docs: everything from an empty machine with Python 3.10 to 3.13.
# Another Python: make test PYTHON=python3.11. Another environment: VENV=DIR.
# torch is PyPI's CUDA build unless pip is given an index or folder with the CPU build:
#   PIP_EXTRA_INDEX_URL=URL make test   or   PIP_FIND_LINKS=DIR make test

VENV ?= .venv
SUPPORTED := import sys, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 14))
# 3.11 and 3.10 first: PyBullet has no wheel for 3.12 and 3.13, so pip compiles it there (about ten
# minutes), against the installed numpy, without which its camera images are slow
PYTHON ?= $(firstword $(foreach p,python3.11 python3.10 python3 python3.12 python3.13,\
	$(if $(shell $(p) -c '$(SUPPORTED)' 2>/dev/null && echo yes),$(p))))
COMPILES := import sys, sysconfig, shutil, pathlib; sys.exit(sys.version_info >= (3, 12) and not (\
	shutil.which("c++") and pathlib.Path(sysconfig.get_path("include"), "Python.h").exists()))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DEMO := out/demo
WORKERS ?= auto # processes that run the tests, each with a DDS domain of its own
# a file runs in one process, which prepares its fixtures once, in the order of test/conftest.py
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

export OMP_NUM_THREADS ?= 1
# set by another environment, this would hide the libraries of this one
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE

BLOCK_POSE_ARMS := ur5 ur5e dofbot
POLICY_ARMS := ur5 ur5e dofbot
PLANNER_ARMS := ur5 ur5e
PLANAR_BODIES := hopper walker
CHECKPOINTS := ur5 ur5e kuka_iiwa dofbot ur5_position ur5e_position

.PHONY: test test-fast demo docs lint install clean checkpoints policies planners block_pose identified_bodies latent_ode
.DELETE_ON_ERROR:

test: lint
	$(PYTEST)

test-fast: lint # all but the slow tests
	$(PYTEST) -m "not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: $(READY)
	@mkdir -p $(DEMO)
	$(BIN)/invdyn launch grasp_sim headless:=true report:=$(DEMO)/report.json overwrite:=true
	@ls $(DEMO)/report.json $(DEMO)/grasp.mp4 $(DEMO)/summary.png

docs: $(READY) # out/site/index.html, for a browser without a network
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@ls out/site/index.html

install: $(READY)

$(READY): constraints.txt requirements.txt $(wildcard requirements/*.txt) setup.py
	@$(or $(PYTHON),false) -c '$(SUPPORTED)' 2>/dev/null || { echo "Python 3.10, 3.11, 3.12 or 3.13 with venv \
	is needed: install python3 and python3-venv, or give a path with PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -c '$(COMPILES)' || { echo "On Python 3.12 and 3.13 PyBullet is compiled: install \
	g++ and python3-dev, or use Python 3.11 or 3.10 with PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) setuptools numpy
	$(PIP) --use-pep517 --no-build-isolation pybullet
	$(PIP) -r requirements.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@$(BIN)/invdyn install_models >/dev/null
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { $(BIN)/python -c 'import cv2' 2>&1 | tail -n 1 >&2; \
	echo "OpenCV cannot start; if libGL.so.1 is missing, install the package libgl1" >&2; exit 2; }
	@# for the tests of pages, which skip without it
	@! command -v npm >/dev/null || npm install --silent --no-save --prefix $(VENV) axe-core@4.14.1 || true
	@touch $@

# Recreates config/checkpoints: ten simulated minutes per arm, about half an hour in all.
# The families are those that `invdyn compare` selects on these data.
FAMILY_dofbot := hybrid
FAMILY_ur5_position := hybrid
FAMILY_ur5e_position := hybrid
checkpoints: $(CHECKPOINTS:%=out/data/%.json)

out/data/%.json: $(READY)
	$(BIN)/invdyn collect sim --arm $(*:%_position=%) $(if $(findstring _position,$*),--unit rad --minutes 3) --out out/data/$* --overwrite
	$(BIN)/invdyn train --config config/train/$(or $(FAMILY_$*),rigid_body).yaml --data out/data/$* --out config/checkpoints/$* --overwrite
	$(BIN)/invdyn evaluate --checkpoint config/checkpoints/$* --data out/data/$* --report $@ --overwrite

# Recreates config/block_pose: about forty minutes per arm on one core.
block_pose: $(BLOCK_POSE_ARMS:%=out/block_pose/%/block_pose.json)

out/block_pose/%/block_pose.json: $(READY)
	$(BIN)/invdyn train_block_pose --arm $* --out $(@D) --resume
	@mkdir -p config/block_pose/$*
	cp $(@D)/meta.json $(@D)/model.safetensors $@ config/block_pose/$*

# Recreates config/policies: less than half an hour per arm on one core.
policies: $(POLICY_ARMS:%=out/policies/%/curve.json)

out/policies/%/curve.json: $(READY)
	$(BIN)/invdyn train_grasp --arm $* --out $(@D) --overwrite --evaluation.eval-freq 40000
	@mkdir -p config/policies/$*
	cp $(@D)/meta.json $(@D)/model.safetensors $@ config/policies/$*

# Recreates config/planners: about ten minutes per arm on one core.
planners: $(PLANNER_ARMS:%=out/planners/%/meta.json)

out/planners/%/meta.json: $(READY)
	$(BIN)/invdyn collect expert --arm $* --episodes 600 --out out/data/expert_$* --overwrite
	$(BIN)/invdyn train_planner --data out/data/expert_$* --out $(@D) --overwrite \
		--horizon 16 --num-components 32 --width 256 --down-dims 256 128
	@mkdir -p config/planners/$*
	cp $(@D)/meta.json $(@D)/model.safetensors config/planners/$*

# Recreates config/timeseries/checkpoints/*_identified_body: about two minutes per body on one core.
identified_bodies: $(PLANAR_BODIES:%=out/identified_bodies/%/meta.json)

out/identified_bodies/%/meta.json: $(READY)
	$(BIN)/invdyn collect sim --arm $* --seed 123 --out out/data/$* --overwrite
	$(BIN)/invdyn train --config config/timeseries/$*_identified_body.yaml --data out/data/$* --out $(@D) --overwrite
	@mkdir -p config/timeseries/checkpoints/$*_identified_body
	cp $(@D)/meta.json $(@D)/model.safetensors config/timeseries/checkpoints/$*_identified_body

# Recreates config/timeseries/checkpoints/hopper_latent_ode: an hour on one core.
latent_ode: $(READY)
	$(BIN)/invdyn collect sim --arm hopper --seed 123 --out out/data/hopper --overwrite
	$(BIN)/invdyn train --config config/timeseries/latent_ode.yaml --data out/data/hopper --out out/latent_ode/first --overwrite
	$(BIN)/invdyn train --config config/timeseries/latent_ode.yaml --data out/data/hopper --out out/latent_ode/second --overwrite \
	  --init-from out/latent_ode/first --epochs 200 --learning-rate 2e-3 \
	  --observed-fractions '[0.1,0.1,0.1,0.1,0.1,0.2,0.2,0.3,0.5]'
	@mkdir -p config/timeseries/checkpoints/hopper_latent_ode
	cp out/latent_ode/second/meta.json out/latent_ode/second/model.safetensors config/timeseries/checkpoints/hopper_latent_ode

clean:
	rm -rf $(VENV) build install log out *.egg-info .mypy_cache .pytest_cache .ruff_cache
