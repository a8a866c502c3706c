#!/bin/sh
# Start RANKS ranks of COMMAND under MPICH, filling the nodes one after the other:
#   python -m mpi_hosts.generate --system mn1 --format mpich > mn1.mpich
#   sh mpi_hosts/mpich.sh mn1.mpich 1024 python -m trainer.run
set -eu
if [ $# -lt 3 ]; then
    echo "usage: mpich.sh HOSTFILE RANKS COMMAND [ARGUMENT ...]" >&2
    exit 2
fi
hostfile=$1 ranks=$2
shift 2
# Hydra hands every environment variable to every rank.
exec mpiexec -f "$hostfile" -n "$ranks" "$@"
