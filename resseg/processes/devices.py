"""The devices of all processes become those of one mesh."""

from resseg.processes.joining import START
from resseg.processes.membership import Membership
from resseg.processes.relay import start_relay

# Of JAX's own watch, which ends processes without a word: ours knows sooner.
_HEARTBEAT = 86_400  # seconds


def start_jax(membership: Membership) -> None:
    """Starts JAX as one of several processes; before it is used for anything."""
    import jax

    host, port, processes, process = membership
    # SIGTERM is ours: it would be taken away.
    jax.config.update("jax_enable_preemption_service", False)
    if process > 0:
        host, port = "127.0.0.1", start_relay(host, port)
    if ":" in host:
        host = f"[{host}]"
    jax.distributed.initialize(
        f"{host}:{port}",
        processes,
        process,
        # Each has the devices that it is shown; Slurm's own way would be the first.
        cluster_detection_method="deactivate",
        initialization_timeout=int(START),
        heartbeat_timeout_seconds=_HEARTBEAT,
    )
