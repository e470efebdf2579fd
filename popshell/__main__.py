"""The way in: `popshell` and `python -m popshell`. `--version` is answered before anything else is loaded.

Modules that are being loaded are no garbage, so the collector does not look for any meanwhile: 10 ms.
"""

import gc
import os
import sys


def main() -> int:
    """Run PopShell with the process's arguments; returns the exit code (docs/reference-cli.md)."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the parent process: there is no input and no reader
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (for as long as we run)
    code = 0
    try:
        code = _run()
        sys.stdout.flush()
    except OSError as error:  # a full disk, or the reader is gone: the interpreter must not try once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # 141: as a shell says that SIGPIPE ended a program, 128 and its number
        return 141 if isinstance(error, BrokenPipeError) else code or 3
    return code


def _run() -> int:
    if sys.argv[1:] in (["--version"], ["-V"]):
        from popshell import __version__

        sys.stdout.write(f"popshell {__version__}\n")
        return 0
    gc.disable()
    from popshell.cli import run

    gc.freeze()  # nor later
    gc.enable()
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
