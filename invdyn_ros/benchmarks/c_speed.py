"""Time of a call of exported C source."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

from invdyn_ros.models.exports.c_source import c_source
from invdyn_ros.models.rigid_body import RigidBody

BLOCKS, CALLS = 100, 10_000
TIMING = """
#define _POSIX_C_SOURCE 199309L
#include <time.h>
#include "arm.c"

double mean_call(long count) /* [us], at changing states, so that no call is left out */
{
    double q[N] = {0}, action[N];
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (long i = 0; i < count; i++) {
        q[i % N] += 1e-3;
        arm_inverse_dynamics(q, q, q, action);
        q[0] += 1e-12 * action[0];
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (1e6 * (end.tv_sec - start.tv_sec) + 1e-3 * (end.tv_nsec - start.tv_nsec)) / count;
}
"""


def c_call_times(model: RigidBody) -> list[float]:
    """Return times of a call [us], each the mean of a block of calls; none without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for suffix, text in zip((".c", ".h"), c_source(model, "arm"), strict=True):
            (folder / f"arm{suffix}").write_text(text, encoding="utf-8")
        (folder / "timing.c").write_text(TIMING, encoding="utf-8")
        library = folder / "timing.so"
        options = ["-O2", "-shared", "-fPIC", "-o", str(library), str(folder / "timing.c"), "-lm"]
        subprocess.run([compiler, *options], check=True)
        mean_call = ctypes.CDLL(str(library)).mean_call
        mean_call.restype, mean_call.argtypes = ctypes.c_double, [ctypes.c_long]
        return [float(mean_call(CALLS)) for _ in range(BLOCKS)]
