"""What a person looks at after a run: the report, and why a member got what it got. Needs no accelerator."""
