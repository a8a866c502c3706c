#!/bin/sh
# Start RANKS ranks of COMMAND under Open MPI, filling the nodes one after the other:
#   sh mpi_hosts/openmpi.sh mpi_hosts/mn1.hosts 1024 python -m trainer.run
set -eu
if [ $# -lt 3 ]; then
    echo "usage: openmpi.sh HOSTFILE RANKS COMMAND [ARGUMENT ...]" >&2
    exit 2
fi
hostfile=$1 ranks=$2
shift 2
# Open MPI gives remote ranks only the variables named here.
named='\(COLLECTIVES\|NCCL\|UCX\)_[A-Z0-9_]*\|CUDA_LAUNCH_BLOCKING\|OMP_NUM_THREADS'
for name in $(env | sed -n "s/^\($named\)=.*/\1/p"); do
    set -- -x "$name" "$@"
done
# No binding to single cores: the threads and data workers of a rank would share one.
exec mpirun --hostfile "$hostfile" --map-by slot --bind-to none -n "$ranks" "$@"
