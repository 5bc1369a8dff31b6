"""Run the command line: `python -m pipeline`."""

import gc
import signal
import sys

if __name__ == "__main__":
    # Modules and rows are no garbage; looking through them costs a thirtieth of a short run.
    gc.set_threshold(100_000, 20, 20)
    # Until there is somebody to catch it, Ctrl-C ends the program the plain way instead of with a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    try:
        from pipeline.cli import main

        main()
    except Exception:
        from pipeline.interpreter import advice

        # What another Python lacks shows in many ways, also as an old version of something.
        told = advice("pipeline", "ingest")
        if not told:
            raise
        sys.stderr.write(told + "\n")
        sys.exit(2)
