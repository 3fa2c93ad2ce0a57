"""What a person sees of receipts and of evidence against a log."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from relayjax import records
from relayjax.audit import follow, read_ledger, signer_of
from relayjax.errors import ConfigError, WorkdirError
from relayjax.files import write_many
from relayjax.ledger.audit import verify_log
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.disk import CHECKPOINT, read
from relayjax.ledger.entry import Entry
from relayjax.ledger.evidence import Evidence, verify_evidence
from relayjax.ledger.merkle import Tree, leaf_hash
from relayjax.ledger.note import parse_note, signer_key
from relayjax.ledger.policy import NONE, Endpoint, Policy
from relayjax.ledger.proof import Receipt, verify_receipt_under
from relayjax.records import Record, Submit
from relayjax.workdir import Workdir


def write_receipts(workdir: Path, out: Path, participant: str | None, console: Console) -> list[Path]:
    """Writes a receipt for every contribution, NAME-ROUND-ENTRY.tlog-proof; says the log's verifier key.

    Args:
      workdir: The run's.
      out: The directory to write to.
      participant: Whose contributions; None for everybody's.
      console: Where to print.

    Raises:
      WorkdirError: There is no run, or no contribution of theirs.
      IntegrityError: The log is wrong.
    """
    directory = Workdir(workdir)
    ledger = read_ledger(directory)
    note = read(directory.ledger / CHECKPOINT)
    tree = Tree([leaf_hash(entry) for entry in ledger.entries])
    files: dict[Path, bytes] = {}
    for index, data in enumerate(ledger.entries):
        record = _record(data)
        if isinstance(record, Submit) and participant in (None, record.author):
            receipt = Receipt(index, data, tuple(tree.prove_inclusion(index)), note)
            files[out / f"{record.author}-{record.round:05}-{index:07}.tlog-proof"] = receipt.encode()
    if not files:
        raise WorkdirError(f"{workdir}: no contribution{f' of {participant}' if participant else ''} yet")
    write_many(files)
    key = signer_key(ledger.origin, ledger.signer.signing)
    console.print(f"log       {key.encode()}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"written   {len(files)} receipts to {out}", markup=False, soft_wrap=True)
    return list(files)


def check_ledger(
    workdir: Path, policy: Policy | None, seen: Path | None, workers: int, console: Console
) -> None:
    """Checks a run's log alone, however long it is: every file, hash and signature; not what they mean.

    Args:
      workdir: The run's.
      policy: Whose cosignatures it must have; if it names logs, this must be one of them.
      seen: A file that remembers its last checkpoint.
      workers: Processes to use; 0 is this one alone.
      console: Where to print.

    Raises:
      WorkdirError: There is no run.
      IntegrityError: Something is wrong; names the file and, where there is one, the entry.
    """
    directory = Workdir(workdir)
    origin, _, claim = signer_of(directory, policy)
    checkpoint = verify_log(directory.ledger, origin, claim.signer, policy, workers)
    if seen:
        follow(directory, origin, claim.keys, seen)
    signed = f"{checkpoint.size} entries, each signed by a member, in one chain"
    key = signer_key(origin, claim.signer.signing)
    for line in (
        f"ledger    {origin}: {signed}",
        f"log       {key.encode()}",
        f"root      {checkpoint.root.hex()}",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def check_receipt(file: Path, policy: Policy, console: Console) -> None:
    """Checks a receipt, without the log, and says what it proves.

    Raises:
      ConfigError: The file can't be read, or the policy names no log.
      FormatError: It is no receipt.
      IntegrityError: It proves nothing under the policy.
    """
    if not policy.logs:
        raise ConfigError("name the log that you accept: its key, or a policy with a line `log VKEY`")
    receipt = Receipt.decode(_read(file))
    checkpoint = verify_receipt_under(receipt, policy)
    record = _record(receipt.entry)
    about = f"{record.KIND} record by {record.author}"
    if isinstance(record, Submit):
        about = f"delta {record.delta} by {record.author} in round {record.round}"
    line = f"entry {receipt.index} of {checkpoint.size} of {checkpoint.origin}: {about}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"root      {checkpoint.root.hex()}", markup=False, highlight=False, soft_wrap=True)


def check_evidence(file: Path, policy: Policy, console: Console) -> None:
    """Checks evidence against a log and says what it proves.

    Raises:
      ConfigError: The file can't be read, or the policy does not name the log.
      FormatError: It is no evidence.
      IntegrityError: It proves nothing.
    """
    evidence = Evidence.decode(_read(file))
    origin = Checkpoint.decode(parse_note(evidence.first).text).origin
    keys = [log.key for log in policy.logs if log.key.name == origin]
    if not keys:
        raise ConfigError(f"the policy does not name the log {origin[:80]!r} that this is about")
    proved = verify_evidence(evidence, keys, [witness.key for witness in policy.witnesses.values()])
    console.print(proved, markup=False, highlight=False, soft_wrap=True)


def policy_of(origin: str, log_key: str) -> Policy:
    """The policy that accepts one log without witnesses.

    Args:
      origin: The log's name.
      log_key: Its Ed25519 public key, 64 hex digits.

    Raises:
      ConfigError: The key is none.
    """
    try:
        return Policy(NONE, (Endpoint(signer_key(origin, log_key)),))
    except ValueError as error:
        raise ConfigError(f"log key {log_key[:80]!r}: expected 64 hex digits") from error


def _record(entry: bytes) -> Record:
    return records.decode(Entry.decode(entry).envelope.payload)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: can't be read ({error.strerror}); name another") from error
