"""The checks of tools/check: one module each, with a sentence NAME and a function run(tree)."""
