"""A Python that has imported what is slow to import, and forks for each call.

    python warm.py serve SOCKET                      until its standard input ends
    python warm.py call SOCKET -c CODE [ARGUMENT]    as `python -c CODE`, in a fork of the server
    python warm.py call SOCKET FILE [ARGUMENT]       as `python FILE`

A call has a process of its own, with the caller's folder, environment, standard streams and exit
code; only the imports are shared, which cost each process that trains eight seconds of a core. Of
the environment, what a library reads while it is imported is the server's.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys


def call(address: str, arguments: list[str]) -> int:
    """Have the server run a call; its exit code."""
    message = json.dumps({"argv": arguments, "cwd": os.getcwd(), "env": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [len(message).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(message)
        answer = connection.recv(16)
    return int(answer) if answer else 1


def serve(address: str) -> dict[str, object] | None:
    """Answer calls, each in a process of its own; in that process, return what to run."""
    import gc

    import tgqformer.evaluation.report
    import tgqformer.storefront
    import tgqformer.training.trainer  # noqa: F401

    os.setsid()
    gc.freeze()  # or each fork's first collection walks, and copies, all that was imported
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            readable, _, _ = select.select([listener, sys.stdin], [], [], 5)
            if sys.stdin in readable:
                os.killpg(0, 9)  # itself, and any call that is still under way
            if listener in readable:
                connection, _ = listener.accept()
                if not os.fork():
                    listener.close()
                    return attend(connection)
                connection.close()
            while reap() is not None:
                pass


def attend(connection: socket.socket) -> dict[str, object]:
    """Start one call and tell the caller how it ended; return in the call's own process."""
    head, files, _, _ = socket.recv_fds(connection, 4, 3)
    message = b""
    while len(message) < int.from_bytes(head, "big"):
        message += connection.recv(1 << 16)
    child = os.fork()
    if not child:
        connection.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        found: dict[str, object] = json.loads(message)
        return found
    for file in files:
        os.close(file)
    while (status := reap()) is None:
        if select.select([connection], [], [], 0.01)[0]:
            os.kill(child, 9)  # the caller is gone
    code = os.waitstatus_to_exitcode(status)
    connection.sendall(str(code if code >= 0 else 128 - code).encode())
    os._exit(0)


def reap() -> int | None:
    """The status of a child that has ended, if any."""
    try:
        child, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return status if child else None


def run(argv: list[str], cwd: str, env: dict[str, str]) -> None:
    """Be the call."""
    import runpy

    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    if argv[0] == "-c":
        sys.argv, sys.path[0] = ["-c", *argv[2:]], ""
        exec(compile(argv[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = argv, os.path.dirname(os.path.abspath(argv[0]))
        runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    if sys.argv[1] == "call":
        sys.exit(call(sys.argv[2], sys.argv[3:]))
    if work := serve(sys.argv[2]):
        run(**work)  # type: ignore[arg-type]
