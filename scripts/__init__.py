"""The engine: runs the snippets of modules/ and puts code, output, figures and numbers into the pages."""

__version__ = "0.1.0"
