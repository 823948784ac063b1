"""The `bundlebee` command, a file a verb."""
