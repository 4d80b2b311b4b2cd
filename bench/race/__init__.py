"""What bench/peers.py is made of. Importing it, before NumPy and friends, takes one core and one thread for everybody.

timing: alternating repeats, and what the machine can do; tables: what is shown, written and drawn; nets: training
steps in every library; training, epochs, ops, kernels, footprint: the races; child: what is measured in a fresh
process.
"""

import os

import fair  # noqa: F401  before NumPy

CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(CORES)})
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "WENGERT_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
