"""A tf.data service that makes training batches on machines of their own: `python -m tools.data_service dispatcher`."""

import argparse
import contextlib
import logging
import os
import re
import signal
import sys
import threading

from orpheus.base import cli
from orpheus.errors import ConfigError

log = logging.getLogger("tools.data_service")


def parser() -> cli.Parser:
    result = cli.parser(
        "tools.data_service",
        "Start the dispatcher of a tf.data service, or the worker that makes batches for it; ends with Ctrl-C. "
        "orpheus.train --data-service then reads from it. The records need the same path on the worker.",
        example="python -m tools.data_service worker --dispatcher host0:5000 --address host1:5001",
    )
    result.add_argument(
        "kind",
        choices=("dispatcher", "worker"),
        help="dispatcher or worker: one of each; with several workers order is lost",
    )
    result.add_argument(
        "--port", type=int, default=5000, metavar="N", help="port on which a dispatcher listens; 0: any"
    )
    result.add_argument("--dispatcher", metavar="HOST:PORT", help="address of the worker's dispatcher; needed by it")
    result.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="address where a worker listens, as the machines that train reach it; localhost and any port if not given",
    )
    return result


def body(arguments: argparse.Namespace) -> int:
    if arguments.kind == "worker" and not arguments.dispatcher:
        raise ConfigError("--dispatcher is missing: a worker needs HOST:PORT of its dispatcher")
    if arguments.kind == "dispatcher" and (arguments.dispatcher or arguments.address):
        raise ConfigError("--dispatcher and --address are a worker's; a dispatcher has --port")
    for option, value in (("--dispatcher", arguments.dispatcher), ("--address", arguments.address)):
        if value and not re.fullmatch(r".+:\d+", value):
            raise ConfigError(f"{option} {value}: give HOST:PORT")
    import tensorflow as tf

    service, server = tf.data.experimental.service, None
    try:
        if arguments.kind == "dispatcher":
            server = service.DispatchServer(service.DispatcherConfig(port=arguments.port))
            print(f"--data-service {server.target}", flush=True)
        else:
            from orpheus.learning.engine import multi_worker

            multi_worker.check_service(f"grpc://{arguments.dispatcher}", "--dispatcher")
            port = int(arguments.address.rpartition(":")[2]) if arguments.address else 0
            server = service.WorkerServer(
                service.WorkerConfig(
                    dispatcher_address=arguments.dispatcher, worker_address=arguments.address, port=port
                )
            )
            print(f"makes batches for {arguments.dispatcher}", flush=True)
    except (tf.errors.OpError, RuntimeError) as error:
        where = arguments.address or f"port {arguments.port}"
        raise ConfigError(f"cannot listen at {where} ({str(error).splitlines()[0]}); choose another") from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    sys.stdout.flush()
    os._exit(cli.EXIT_OK)  # a server would first wait for those that it serves


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
