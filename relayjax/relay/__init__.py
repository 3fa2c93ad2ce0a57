"""A relay whose members all live in one process: it composes the layers below and decides nothing itself."""
