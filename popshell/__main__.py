"""The way in: `popshell` and `python -m popshell`. `--version` is answered before anything else is loaded.

Modules that are being loaded are no garbage, so the collector does not look for any meanwhile: 10 ms.
"""

import gc
import sys


def main() -> int:
    """Run PopShell with the process's arguments; returns the exit code (docs/reference-cli.md)."""
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
