"""A relay whose members are separate processes, which meet in a folder and trust nothing they find there."""
