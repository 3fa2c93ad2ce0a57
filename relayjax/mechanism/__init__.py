"""What must be agreed: who is matched, accepted, paid and licensed. Pure, integers only, no I/O, no clock.

`apply(state, record)` is the whole of it: whoever holds the records can replay it and gets the same
state, bit for bit. Two rule sets stand behind one interface: `derelayl` and `relayjax`.
"""
