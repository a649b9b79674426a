# make test, make demo: everything from an empty machine with Python 3.10, 3.11 or 3.12.
# Other Python: make test PYTHON=python3.11. Other place for the environment: VENV=DIR.
# torch is the CUDA build of PyPI unless pip is told of an index or folder with the CPU build:
#   PIP_EXTRA_INDEX_URL=URL make test   or   PIP_FIND_LINKS=DIR make test

VENV ?= .venv
SUPPORTED := import sys, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 13))
# 3.11 and 3.10 first: PyBullet has no wheel for 3.12, so pip compiles it there
# (some ten minutes), and does so with the numpy that is there, without which images are slow
PYTHON ?= $(firstword $(foreach p,python3.11 python3.10 python3 python3.12,\
	$(if $(shell $(p) -c '$(SUPPORTED)' 2>/dev/null && echo yes),$(p))))
COMPILES := import sys, sysconfig, shutil, pathlib; sys.exit(sys.version_info >= (3, 12) and not (\
	shutil.which("c++") and pathlib.Path(sysconfig.get_path("include"), "Python.h").exists()))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DEMO := out/demo

export OMP_NUM_THREADS ?= 1
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE # set by another environment, it would hide this one's libraries

SIGHTS := ur5
POLICIES := ur5 dofbot
PLANNERS := ur5
BODIES := hopper walker
CHECKPOINTS := ur5 ur5e kuka_iiwa dofbot ur5_position ur5e_position

.PHONY: test demo lint install clean checkpoints policies planners sight bodies latent_ode
.DELETE_ON_ERROR:

test: lint
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: $(READY)
	@mkdir -p $(DEMO)
	$(BIN)/invdyn launch grasp_sim headless:=true report:=$(DEMO)/report.json
	@ls $(DEMO)/report.json $(DEMO)/grasp.mp4 $(DEMO)/summary.png

install: $(READY)

$(READY): constraints.txt requirements.txt setup.py
	@$(or $(PYTHON),false) -c '$(SUPPORTED)' 2>/dev/null || { echo "Python 3.10, 3.11 or 3.12 with venv is \
	needed: install python3 and python3-venv, or give a path with PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -c '$(COMPILES)' || { echo "On Python 3.12 PyBullet is compiled: install g++ and \
	python3-dev, or use Python 3.11 or 3.10 with PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) setuptools numpy
	$(PIP) --use-pep517 --no-build-isolation pybullet
	$(PIP) -r requirements.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { $(BIN)/python -c 'import cv2' 2>&1 | tail -n 1 >&2; \
	echo "OpenCV cannot start; if libGL.so.1 is missing, install the package libgl1" >&2; exit 2; }
	@touch $@

# What config/checkpoints was made with: ten simulated minutes per arm, about half an hour in all.
# The families are those that 'invdyn compare' names on these data.
FAMILY_dofbot := hybrid
FAMILY_ur5_position := hybrid
FAMILY_ur5e_position := hybrid
checkpoints: $(CHECKPOINTS:%=out/data/%.json)

out/data/%.json: $(READY)
	$(BIN)/invdyn collect sim --arm $(*:%_position=%) $(if $(findstring _position,$*),--unit rad --minutes 3) --out out/data/$*
	$(BIN)/invdyn train --config config/train/$(or $(FAMILY_$*),rigid_body).yaml --data out/data/$* --out config/checkpoints/$*
	$(BIN)/invdyn evaluate --checkpoint config/checkpoints/$* --data out/data/$* --report $@

# What config/block_pose was made with: about forty minutes per arm on one core.
sight: $(SIGHTS:%=out/sight/%/block_pose.json)

out/sight/%/block_pose.json: $(READY)
	$(BIN)/invdyn train_block_pose --arm $* --out $(@D) --resume
	@mkdir -p config/block_pose/$*
	cp $(@D)/meta.json $(@D)/model.safetensors $@ config/block_pose/$*

# What config/policies was made with: less than half an hour per arm on one core.
policies: $(POLICIES:%=out/policies/%/curve.json)

out/policies/%/curve.json: $(READY)
	$(BIN)/invdyn train_grasp --arm $* --out $(@D)
	@mkdir -p config/policies/$*
	cp $(@D)/meta.json $(@D)/model.safetensors $@ config/policies/$*

# What config/planners was made with: about ten minutes per arm on one core.
planners: $(PLANNERS:%=out/planners/%/meta.json)

out/planners/%/meta.json: $(READY)
	$(BIN)/invdyn collect teacher --arm $* --episodes 500 --out out/data/lessons_$*
	$(BIN)/invdyn train_planner --data out/data/lessons_$* --out $(@D) \
		--horizon 16 --modes 32 --width 256 --down-dims 256 128
	@mkdir -p config/planners/$*
	cp $(@D)/meta.json $(@D)/model.safetensors config/planners/$*

# What config/timeseries/checkpoints/*_identified_body was made with: about two minutes per body on one core.
bodies: $(BODIES:%=out/bodies/%/meta.json)

out/bodies/%/meta.json: $(READY)
	$(BIN)/invdyn collect sim --arm $* --seed 123 --out out/data/$*
	$(BIN)/invdyn train --config config/timeseries/$*_identified_body.yaml --data out/data/$* --out $(@D)
	@mkdir -p config/timeseries/checkpoints/$*_identified_body
	cp $(@D)/meta.json $(@D)/model.safetensors config/timeseries/checkpoints/$*_identified_body

# What config/timeseries/checkpoints/hopper_latent_ode was made with: an hour of one core.
latent_ode: $(READY)
	$(BIN)/invdyn collect sim --arm hopper --seed 123 --out out/data/hopper
	$(BIN)/invdyn train --config config/timeseries/latent_ode.yaml --data out/data/hopper --out out/latent_ode/first
	$(BIN)/invdyn train --config config/timeseries/latent_ode.yaml --data out/data/hopper --out out/latent_ode/second \
	  --start out/latent_ode/first --epochs 200 --learning-rate 2e-3 --shares '[0.1,0.1,0.1,0.1,0.1,0.2,0.2,0.3,0.5]'
	@mkdir -p config/timeseries/checkpoints/hopper_latent_ode
	cp out/latent_ode/second/meta.json out/latent_ode/second/model.safetensors config/timeseries/checkpoints/hopper_latent_ode

clean:
	rm -rf $(VENV) build install log out *.egg-info .mypy_cache .pytest_cache .ruff_cache
