#!/usr/bin/env bash
# A Slurm of one node on this machine, for tests: munged, slurmctld and slurmd, all of
# them on loopback and in one folder. Needs root; runs in containers without systemd.
#
#   tools/setup_slurm.sh start FOLDER   install what is missing, start, await the node
#   tools/setup_slurm.sh stop FOLDER    end the jobs and what was started
#
# Between them, `export SLURM_CONF=FOLDER/slurm.conf` lets sbatch and squeue find it.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

readonly USAGE="usage: $0 start|stop FOLDER"
readonly WAIT=${SLURM_SETUP_WAIT:-60} # seconds until the node must be idle
readonly PARTITION=main

fail() {
    echo "setup_slurm: $*" >&2
    exit 1
}

install_packages() {
    command -v sbatch slurmctld slurmd munged >/dev/null && return
    command -v apt-get >/dev/null ||
        fail "slurm and munge are missing and there is no apt-get to install them"
    echo "setup_slurm: installing slurm-wlm and munge with apt-get"
    local log=$1/apt.log
    export DEBIAN_FRONTEND=noninteractive
    {
        apt-get update &&
            apt-get install --yes --no-install-recommends slurm-wlm munge
    } >"$log" 2>&1 || fail "apt-get failed: $(tail -n 1 "$log") (all of it: $log)"
}

# Prints $1 different ports nobody listens on.
free_ports() {
    local port wanted=$1
    for port in $(shuf --input-range=20000-29999 --head-count=200); do
        ((wanted > 0)) || return 0
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            wanted=$((wanted - 1))
        fi
    done
}

write_config() {
    local folder=$1 ports memory
    mapfile -t ports < <(free_ports 2)
    memory=$(awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo)
    cat >"$folder/slurm.conf" <<END
ClusterName=loopback
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# What is put back into the queue starts again after cred_expire seconds, 5 at least.
AuthInfo=socket=$folder/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
# No cgroups and no database: containers have neither.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# What a job takes of memory is looked up each second; one that exceeds it is ended.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
# A job that is cut is put back into the queue.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=30
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=$((memory / 2))
SlurmdParameters=config_overrides
NodeName=loopback NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 CPUs=2 RealMemory=$memory
PartitionName=$PARTITION Nodes=loopback Default=YES MaxTime=INFINITE State=UP
END
}

start() {
    local folder=$1
    [[ ! -e $folder/slurm.conf ]] ||
        fail "$folder holds a slurm.conf: stop it, or name another folder"
    mkdir -p "$folder"/{state,spool}
    install_packages "$folder"
    write_config "$folder"
    export SLURM_CONF=$folder/slurm.conf

    (umask 077 && head -c 128 /dev/urandom >"$folder/munge.key")
    # --force: the folder may be closed to others, as temporary ones are.
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
        --pid-file="$folder/munge.pid" --log-file="$folder/munge.log" \
        --seed-file="$folder/munge.seed" >"$folder/munge.out" 2>&1 ||
        give_up "$folder" "munged" "$folder/munge.out"
    slurmctld >"$folder/slurmctld.out" 2>&1 ||
        give_up "$folder" "slurmctld" "$folder/slurmctld.log"
    slurmd -N loopback >"$folder/slurmd.out" 2>&1 ||
        give_up "$folder" "slurmd" "$folder/slurmd.log"

    local end=$((SECONDS + WAIT))
    until [[ $(sinfo --noheader --format=%T 2>/dev/null) == idle ]]; do
        ((SECONDS < end)) ||
            give_up "$folder" "the node (idle after $WAIT s)" "$folder/slurmctld.log"
        sleep 0.2
    done
    echo "setup_slurm: node idle; export SLURM_CONF=$SLURM_CONF"
}

# Says in one line what did not start, with the last line that looks like its reason.
give_up() {
    local folder=$1 what=$2 log=$3 reason
    reason=$(grep -ihE 'error|fatal' "$log" 2>/dev/null | tail -n 1 || true)
    stop "$folder"
    fail "could not start $what: ${reason:-no reason given} (see $log)"
}

# Ends a process by the file that holds its id, waiting for it.
end_process() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && [[ -n $pid ]] || return 0
    kill "$pid" 2>/dev/null || true
    for _ in {1..100}; do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    rm -f "$1"
}

stop() {
    local folder=$1
    [[ -e $folder/slurm.conf ]] || fail "$folder holds no slurm.conf: nothing to stop"
    export SLURM_CONF=$folder/slurm.conf
    if [[ -e $folder/slurmctld.pid && -e $folder/slurmd.pid ]]; then
        timeout 10 scancel --partition="$PARTITION" 2>/dev/null || true
        for _ in {1..100}; do
            [[ -n $(timeout 5 squeue --noheader 2>/dev/null) ]] || break
            sleep 0.2
        done
    fi
    end_process "$folder/slurmd.pid"
    end_process "$folder/slurmctld.pid"
    end_process "$folder/munge.pid"
    mv "$folder/slurm.conf" "$folder/slurm.conf.stopped"
}

[[ $# -eq 2 ]] || fail "$USAGE"
[[ $(id -u) -eq 0 ]] || fail "must be run by root"
case $1 in
start) start "$(realpath --canonicalize-missing "$2")" ;;
stop) stop "$(realpath --canonicalize-missing "$2")" ;;
*) fail "$USAGE" ;;
esac
