"""Training on several machines: who is who by TF_CONFIG, each worker's share of every batch, and the loss of a worker.

Every worker runs the same command. Worker 0, the chief, writes; the others only compute. Nothing here changes numbers: a
batch is that of one machine, divided in rows, so one machine with the same readers (`Job.share`) gets the same weights.
"""

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from orpheus.errors import ConfigError, DataError
from orpheus.learning.engine.job import Job

START_SECONDS = 300
SILENT_SECONDS = 10
_SHAPE = '{"cluster": {"worker": ["host0:port", "host1:port"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Member:
    """One worker among all.

    Attributes:
        index: From 0; 0 is the chief.
        addresses: ``host:port`` of every worker in that order.
    """

    index: int = 0
    addresses: tuple[str, ...] = ("localhost:0",)

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self.addresses)


def parse(text: str | None) -> Member:
    """The worker that TF_CONFIG makes of this process.

    Raises:
        ConfigError: not set, not JSON, or not of the shape that TensorFlow's multi-worker training has.
    """

    def wrong(what: str) -> ConfigError:
        return ConfigError(f"TF_CONFIG: {what}; --strategy multi-worker needs TF_CONFIG='{_SHAPE}'")

    if not text:
        raise wrong("not set")
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise wrong(f"not JSON ({error})") from None
    cluster = values.get("cluster") if isinstance(values, dict) else None
    task = values.get("task") if isinstance(values, dict) else None
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise wrong("has no cluster or no task")
    if unknown := sorted(set(cluster) - {"chief", "worker"}):
        raise wrong(f"cluster.{unknown[0]} has no part in this kind of training")
    for job, addresses in cluster.items():
        good = isinstance(addresses, list) and all(isinstance(a, str) and re.fullmatch(r".+:\d+", a) for a in addresses)
        if not good:
            raise wrong(f"cluster.{job}={addresses!r} is no list of host:port")
    chiefs, addresses = cluster.get("chief", []), (*cluster.get("chief", []), *cluster.get("worker", []))
    if len(chiefs) > 1:
        raise wrong(f"cluster.chief has {len(chiefs)} addresses, and there is one chief")
    if len(addresses) < 2:
        raise wrong(f"names {len(addresses)} worker(s), and several machines are at least two")
    if len(set(addresses)) < len(addresses):
        raise wrong("names an address twice")
    kind, index = task.get("type"), task.get("index")
    if kind not in cluster or not isinstance(index, int) or not 0 <= index < len(cluster[kind]):
        raise wrong(f"task={json.dumps(task)} is none of the cluster's")
    return Member(index + (len(chiefs) if kind == "worker" else 0), addresses)


def connect(*, seconds: int = START_SECONDS) -> tf.distribute.Strategy:
    """MultiWorkerMirroredStrategy by TF_CONFIG; returns when all workers have met. Call it before any other TensorFlow.

    Args:
        seconds: How long to wait for the others.

    Raises:
        ConfigError: TF_CONFIG is wrong, its port is taken, or a worker did not come.
    """
    # Only this module has the message types, whose place differs from version to version.
    from tensorflow.python.eager import context

    member = parse(os.environ.get("TF_CONFIG"))
    kinds = json.loads(os.environ["TF_CONFIG"])["cluster"]
    _check_port(member.addresses[member.index])
    jobs = [context.coordination_config_pb2.CoordinatedJob(name=kind, num_tasks=len(kinds[kind])) for kind in kinds]
    leader = "chief" if kinds.get("chief") else "worker"
    # TensorFlow would wait an hour for a worker that never comes.
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{leader}/replica:0/task:0",
        coordinated_jobs=jobs,
        cluster_register_timeout_in_ms=seconds * 1000,
        heartbeat_timeout_in_ms=SILENT_SECONDS * 1000,
        shutdown_barrier_timeout_in_ms=SILENT_SECONDS * 1000,
    )
    missing = (
        f"TF_CONFIG: the {member.workers} workers {', '.join(member.addresses)} did not meet within {seconds} s; start the "
        "same command on all of them, and see that they reach each other"
    )
    _meet(member, seconds, missing)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise ConfigError(f"{missing} ({_first_line(error)})") from None


def _meet(member: Member, seconds: int, missing: str) -> None:
    """Return on all workers when all of them are there: TensorFlow waits for them in calls that nothing interrupts.

    The chief listens at its address until every other worker has said its number, and then tells them to go on.
    """
    host, _, port = member.addresses[0].rpartition(":")
    end = time.monotonic() + seconds
    if member.index == 0:
        there: dict[int, socket.socket] = {}
        with contextlib.ExitStack() as stack, socket.create_server(("", int(port))) as server:
            server.settimeout(0.2)
            while len(there) < member.workers - 1:
                if time.monotonic() > end:
                    absent = [a for index, a in enumerate(member.addresses) if index and index not in there]
                    raise ConfigError(f"{missing} ({', '.join(absent)}: not there)")
                with contextlib.suppress(TimeoutError, ConnectionError, ValueError):
                    caller = stack.enter_context(server.accept()[0])
                    caller.settimeout(SILENT_SECONDS)
                    there[int(caller.recv(16))] = caller
            for caller in there.values():
                caller.sendall(b"go")
        return
    while True:
        error: Exception = ConnectionError("no answer")
        try:
            with socket.create_connection((host, int(port)), timeout=SILENT_SECONDS) as caller:
                caller.sendall(str(member.index).encode())
                caller.settimeout(max(1.0, end - time.monotonic()))
                if caller.recv(16) == b"go":
                    return
        except OSError as failure:
            error = failure
        if time.monotonic() > end:
            raise ConfigError(f"{missing} ({member.addresses[0]}: {error})")
        time.sleep(0.2)


def _check_port(address: str) -> None:
    """Refuse a port that something else listens on: TensorFlow would only say that its server did not start."""
    port = int(address.rpartition(":")[2])
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except (OSError, OverflowError) as error:
            raise ConfigError(f"TF_CONFIG: cannot listen at {address} ({error}); choose another port") from None


def member(strategy: tf.distribute.Strategy) -> Member:
    """Which worker this process is; the only one without `connect`."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return Member()
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict()
    before = len(cluster.get("chief", [])) if resolver.task_type == "worker" else 0
    return Member(before + resolver.task_id, (*cluster.get("chief", []), *cluster.get("worker", [])))


def gather(strategy: tf.distribute.Strategy, numbers: list[int]) -> np.ndarray:
    """(workers, numbers) int64: what each worker has given."""
    if member(strategy).workers == 1:
        return np.array([numbers])
    row = tf.constant([numbers], tf.int64)
    rows = strategy.gather(strategy.experimental_distribute_values_from_function(lambda _: row), axis=0).numpy()
    return rows[:: len(rows) // member(strategy).workers]


def agree(strategy: tf.distribute.Strategy, facts: Mapping[str, int]) -> None:
    """See that all workers are about to train the same.

    Raises:
        ConfigError: on every worker, where a fact differs between any two.
    """
    rows = gather(strategy, list(facts.values()))
    for fact, column in zip(facts, rows.T, strict=True):
        if len(set(column.tolist())) > 1:
            found = ", ".join(f"{value} on worker {index}" for index, value in enumerate(column.tolist()))
            raise ConfigError(
                f"{fact}: {found}; all workers need the same command and config, the same records, and with --resume "
                "the same run folder"
            )


def training(
    job: Job, first_epoch: int, strategy: tf.distribute.Strategy, *, service: str | None = None
) -> tf.distribute.DistributedDataset:
    """The job's training batches, assigned to workers and replicas in rows.

    Args:
        job: Its `share` is read where it has one, else every worker reads whole batches and keeps its rows.
        first_epoch: Epochs completed before.
        strategy: Any.
        service: ``grpc://host:port`` of a tf.data service that makes the batches instead.
    """
    me = member(strategy)

    def dataset(_=None) -> tf.data.Dataset:
        if service:
            whole = _deal(job.train(first_epoch), me.workers)
            return whole.apply(_served(service, me, strategy))
        own = job.share(me.index, me.workers) if job.share and me.workers > 1 else None
        if own is not None:
            return own[0](first_epoch)
        return _deal(job.train(first_epoch), me.workers).shard(me.workers, me.index)

    if me.workers == 1:
        return strategy.experimental_distribute_dataset(dataset())
    here = strategy.num_replicas_in_sync // me.workers
    return strategy.distribute_datasets_from_function(lambda _: _deal(dataset(), here))


def validation(job: Job, strategy: tf.distribute.Strategy) -> tf.distribute.DistributedDataset | None:
    """The job's validation, every example on one replica."""
    me = member(strategy)
    if job.valid is None or me.workers == 1:
        return strategy.experimental_distribute_dataset(job.valid) if job.valid is not None else None
    own = job.share(me.index, me.workers) if job.share else None
    batches = own[1] if own is not None and own[1] is not None else job.valid.shard(me.workers, me.index)
    size = job.batch_size // strategy.num_replicas_in_sync
    return strategy.distribute_datasets_from_function(lambda _: batches.rebatch(size))


def _deal(batches: tf.data.Dataset, parts: int) -> tf.data.Dataset:
    """Each batch as `parts` of them, its rows in order."""
    if parts == 1:
        return batches

    def split(*batch):
        stacked = tf.nest.map_structure(lambda whole: tf.stack(tf.split(whole, parts)), batch)
        return tf.data.Dataset.from_tensor_slices(stacked)

    return batches.flat_map(split)


def _served(service: str, me: Member, strategy: tf.distribute.Strategy):
    """A dataset made by a tf.data service, which gives worker i the i-th of every `workers` elements."""
    check_service(service)
    # A service keeps the place of a name that it knows, and a run that goes on must start at its epoch.
    name = gather(strategy, [int.from_bytes(os.urandom(6), "little")])[0, 0]
    return tf.data.experimental.service.distribute(
        processing_mode=tf.data.experimental.service.ShardingPolicy.OFF,
        service=service,
        job_name=f"orpheus-{name}",
        consumer_index=me.index,
        num_consumers=me.workers,
    )


def check_service(service: str, option: str = "--data-service") -> None:
    """Refuse an address at which nothing answers: TensorFlow would wait for it for hours.

    Raises:
        ConfigError: malformed, or nobody there.
    """
    match = re.fullmatch(r"grpc://(.+):(\d+)", service)
    if not match:
        raise ConfigError(f"{option} {service}: give grpc://host:port of a dispatcher")
    try:
        socket.create_connection((match[1], int(match[2])), timeout=SILENT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"{option} {service}: nothing answers there ({error}); start the dispatcher first") from None


@contextlib.contextmanager
def watched(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """End with one line when another worker is gone.

    Raises:
        DataError: TensorFlow found a worker gone; its heart beats every few seconds, and `SILENT_SECONDS` without end it.
    """
    try:
        yield
    except (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.InternalError,
    ) as error:
        me = member(strategy)
        if me.workers == 1:
            raise
        cluster = strategy.cluster_resolver.cluster_spec().as_dict()
        named = re.findall(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)", str(error))
        others = [
            cluster[kind][int(task)] for kind, task in named if cluster[kind][int(task)] != me.addresses[me.index]
        ]
        who = f"worker {others[0]}" if others else "another worker"
        raise DataError(
            f"{who} is gone, and this one ({me.addresses[me.index]}) cannot go on without it; start all workers again "
            "with --resume and the chief's run folder"
        ) from None


def local_copies(job: Job, metrics: list[keras.metrics.Metric], strategy: tf.distribute.Strategy) -> list:
    """Metrics that hold the sums over all workers, for callbacks that only the chief has.

    Reading a distributed metric is a collective operation of all workers: the chief alone would wait for ever.
    """
    return list(metrics) if member(strategy).workers == 1 else list(job.metrics())


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
