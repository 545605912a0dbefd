"""The subcommands of `zoo`: each parses what was typed and hands over to what does the work, imported only then."""
