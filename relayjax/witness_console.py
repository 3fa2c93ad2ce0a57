"""What a person sees of `relayjax witness` and `relayjax cosign`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType

from rich.console import Console

from relayjax.audit import introduction
from relayjax.authority import claim_of
from relayjax.errors import ConfigError, FormatError, IntegrityError, WorkdirError
from relayjax.files import write_atomic
from relayjax.identity import Keys
from relayjax.ledger.disk import CHECKPOINT, read, read_checkpoint
from relayjax.ledger.note import signer_key
from relayjax.ledger.policy import Policy
from relayjax.ledger.tiled import TileReader
from relayjax.ledger.witness_client import gather
from relayjax.ledger.witness_server import WitnessServer, listen
from relayjax.ledger.witness_store import Witness
from relayjax.workdir import Workdir


def read_policy(file: Path) -> Policy:
    """Reads a policy file.

    Raises:
      ConfigError: It can't be read or is no policy.
    """
    try:
        return Policy.decode(file.read_bytes(), str(file))
    except OSError as error:
        raise ConfigError(f"{file}: can't be read ({error.strerror}); see docs/ledger.md for one") from error
    except FormatError as error:
        raise ConfigError(str(error)) from error


def serve(directory: Path, name: str, keys: Keys, policy: Policy, address: str, console: Console) -> None:
    """Serves as a witness until it is told to stop (SIGINT, SIGTERM); says what others must know of it.

    Args:
      directory: Where the witness remembers.
      name: Under which it cosigns.
      keys: Its own.
      policy: Its logs are those that the witness serves.
      address: HOST:PORT to listen on.
      console: Where to print.

    Raises:
      ConfigError: No log is named, or the address is none.
      WorkdirError: The address is taken, or another witness serves from the directory.
      IntegrityError: What the witness remembers is damaged.
    """
    if not policy.logs:
        raise ConfigError("the policy names no log; add a line `log VKEY` for each log to witness")
    where = listen(address)
    witness = Witness(directory, name, keys, [log.key for log in policy.logs])
    try:
        lock = threading.Lock()

        def report(line: str) -> None:
            with lock:
                console.print(line, markup=False, highlight=False, soft_wrap=True)

        try:
            server = WitnessServer(where, witness, report)
        except OSError as error:
            raise WorkdirError(f"{address}: {error.strerror}; listen on another address") from error
        with server:
            report(f"witness   {witness.key.encode()}")
            report(f"logs      {', '.join(log.key.name for log in policy.logs)}")
            report(f"listening on http://{where[0]}:{server.server_address[1]}/")
            _until_told(server)
    finally:
        witness.close()


def cosign(workdir: Path, policy: Policy, console: Console) -> bool:
    """Asks a policy's witnesses to cosign a run's log, and publishes what they give in its checkpoint.

    Args:
      workdir: The run's; nobody may be writing it.
      policy: Names the witnesses, each with its address.
      console: Where to print.

    Returns:
      Whether the checkpoint has the quorum now.

    Raises:
      ConfigError: No witness has an address.
      WorkdirError: There is no run, or somebody writes it.
      IntegrityError: The log is wrong.
    """
    if not any(witness.url for witness in policy.witnesses.values()):
        raise ConfigError("no witness of the policy has an address; add it behind its key")
    directory = Workdir(workdir)
    directory.require()
    with directory.locked():
        origin, genesis = introduction(directory.ledger)
        if genesis is None:
            raise WorkdirError(f"{workdir}: the log is empty; start the run first")
        signer = claim_of(directory.ledger, origin, genesis).signer
        note, checkpoint = read_checkpoint(directory.ledger, origin, signer.signing)
        key = signer_key(origin, signer.signing)
        reader = TileReader(lambda name: read(directory.ledger / name), checkpoint.size)
        gathered = gather(note, policy, reader.prove_consistency)
        write_atomic(directory.ledger / CHECKPOINT, gathered.note)
    console.print(f"log       {key.encode()}", markup=False, highlight=False, soft_wrap=True)
    for name, problem in gathered.problems.items():
        console.print(f"{name!r}: {problem}", markup=False, highlight=False, soft_wrap=True)
    try:
        policy.verify(gathered.note, key)
    except IntegrityError as error:
        console.print(f"not accepted yet: {error.problem}", markup=False, soft_wrap=True)
        return False
    console.print(f"{checkpoint.size} entries, cosigned as the policy {policy.quorum!r} asks", markup=False)
    return True


def _until_told(server: WitnessServer) -> None:
    """Serves until a signal; `shutdown` waits for the loop, so it can't be called from a signal's handler."""
    told = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        told.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        told.wait()
    finally:
        server.shutdown()
        thread.join()
        for number, handler in before.items():
            signal.signal(number, handler)
