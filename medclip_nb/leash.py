"""Children that end with the process that started them, however that ended: nothing goes on in secret after a `kill -9`.

`python -m medclip_nb.leash MODULE ARGUMENT ...` runs a module until its standard input is closed, as the death of whoever holds
the other end does; then it ends, with all its descendants.
"""

import multiprocessing
import os
import runpy
import sys
import threading


def end_with_parent() -> None:
    """For the initializer of a process pool: this worker ends when the process that owns the pool does."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def kill_tree(pid: int) -> None:
    """Kills a process and its descendants, those too that have sessions of their own, as kernels do."""
    import psutil

    try:
        parent = psutil.Process(pid)
        family = [*parent.children(recursive=True), parent]  # itself last: it may be the one that does this
    except psutil.NoSuchProcess:
        return
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def _watch(end: int) -> None:
    while os.read(end, 1024):
        pass
    kill_tree(os.getpid())


if __name__ == "__main__":
    leash = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # what runs here reads nothing from the leash
    threading.Thread(target=_watch, args=(leash,), daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
