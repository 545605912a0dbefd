"""What is wrong with files, arrays, sentences and labels; the loader and the doctor both ask."""
