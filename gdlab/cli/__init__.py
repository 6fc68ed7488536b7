"""The command line: verbs, what they print, and how it is drawn on a terminal."""
