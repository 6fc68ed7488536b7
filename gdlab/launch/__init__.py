"""From a configuration to tracked runs: composed, built, carried out, kept."""
