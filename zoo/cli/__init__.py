"""The subcommands of `zoo`: each parses the command line, then imports and calls what does it."""
