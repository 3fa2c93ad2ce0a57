"""The typed records of the protocol: frozen dataclasses with canonical bytes, integers only.

A record's bytes are the RFC 8785 JSON of its fields plus `"kind"`. Reading is strict: unknown or
missing fields, wrong types and any other spelling of the same values are refused, so that equal
records and equal bytes are the same thing.

Units: `amount` in micro-coins; losses, scores and values in micro-nats per example; digests are
BLAKE3, 64 lower-case hexadecimal digits. Lists of pairs stand for maps, sorted by name.

| phase      | records                                                         |
|------------|-----------------------------------------------------------------|
| before     | `Genesis`, `Join`                                               |
| auction    | `Bid`, `Match` (derived)                                        |
| deposit    | `Deposit`                                                       |
| commit     | `Commit`                                                        |
| reveal     | `Submit`                                                        |
| testing    | `Draw` (derived), `Pledge` to a score                           |
| scoring    | `Score`                                                         |
| appraisal  | `Pledge` to a value (braid rounds only)                         |
| valuation  | `Value` (braid rounds only)                                     |
| settlement | `Settle` (derived)                                              |
| any        | `Close`: the ordering maintainer ends a phase for those who stay away |
| any        | `RecoveryKey`, `Rotate`, `Recover`, `Revoke`: keys and standing of a member |
| any        | `Succeed`: a vote that another maintainer orders from here on    |

A derived record states what everybody computes from the records before it; a differing one is refused.
"""

from relayjax.records.base import Pairs, Record
from relayjax.records.codec import KINDS, SIZE_LIMIT, decode, encode
from relayjax.records.commitments import commitment, possession, report_commitment
from relayjax.records.members import Credentials, Genesis, Join, Recover, RecoveryKey, Revoke, Rotate, Succeed
from relayjax.records.rounds import (
    Bid,
    Close,
    Commit,
    Deposit,
    Draw,
    Match,
    Pledge,
    Score,
    Settle,
    Submit,
    Value,
)

__all__ = [
    "KINDS",
    "SIZE_LIMIT",
    "Bid",
    "Close",
    "Commit",
    "Credentials",
    "Deposit",
    "Draw",
    "Genesis",
    "Join",
    "Match",
    "Pairs",
    "Pledge",
    "Record",
    "Recover",
    "RecoveryKey",
    "Revoke",
    "Rotate",
    "Score",
    "Settle",
    "Submit",
    "Succeed",
    "Value",
    "commitment",
    "decode",
    "encode",
    "possession",
    "report_commitment",
]
